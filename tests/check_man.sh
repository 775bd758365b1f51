#!/bin/bash
# check_man BUILD: the man pages are well-formed, and name every command and option that --help names. Run from the repository root.
set -u
build=$1 bad=0
complain() { echo "$*"; bad=1; }

plain() { groff -Kutf8 -Tascii -mandoc -P-cbou -ww "deploy/man/$1" 2>&1; }
check() { # PAGE PROGRAM
    local warnings text option
    warnings=$(groff -Kutf8 -Tutf8 -mandoc -ww -z "deploy/man/$1" 2>&1)
    [ -z "$warnings" ] || complain "$1: $warnings"
    text=$(plain "$1")
    [ "$(wc -l <<<"$text")" -ge 20 ] || complain "$1 is nearly empty"
    for option in $("$2" --help | grep -oE -e '--[a-z][a-z0-9-]*' | sort -u); do
        case $option in --help | --version) continue ;; esac
        grep -qF -e "$option" <<<"$text" || complain "$1 does not say what $option is"
    done
}
check lahar.1 "$build/cli/lahar"
check lahar-edge.8 "$build/lahar-edge"
check lahar-router.8 "$build/lahar-router"
[ ! -x "$build/bench/lahar-bench" ] || check lahar-bench.1 "$build/bench/lahar-bench"

text=$(plain lahar.1)
for command in $("$build/cli/lahar" --help | sed -n '/^$/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    grep -qE "^ +$command( |$)" <<<"$text" || complain "lahar.1 does not say what $command does"
done
# What the chat answers to /help.
for command in $(sed -n 's/^ *{"[a-z]*", [a-z]*, do_[a-z]*, *"\(\/[a-z]*\).*/\1/p' cli/chat_talk.c); do
    seen=1
    grep -qF "$command" <<<"$text" || complain "lahar.1 does not say what $command does in the chat"
done
[ "${seen:-}" = 1 ] || complain "no commands found in cli/chat_talk.c: nothing was checked"
exit $bad
