#!/bin/bash
# check_completion BUILD: what bash completes is what the programs take, all of it and nothing else. Run from the repository root.
set -u
build=$1 bad=0
complain() { echo "$*"; bad=1; }
compopt() { return 1; } # only known while bash itself completes

# complete_words FUNCTION WORDS...: what is offered for the last word.
complete_words() {
    local function=$1
    shift
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    $function
    printf '%s\n' "${COMPREPLY[@]}" | sed '/^$/d' | sort
}
# offers "EXPECTED WORDS" FUNCTION WORDS...
offers() {
    local expected got
    expected=$(tr ' ' '\n' <<<"$1" | sed '/^$/d' | sort)
    shift
    got=$(complete_words "$@")
    [ "$expected" = "$got" ] || complain "$*: offers '${got//$'\n'/ }', not '${expected//$'\n'/ }'"
}

for program in lahar lahar-edge lahar-router lahar-bench; do
    # Each says for itself which command it is for, and loads in a shell that knows nothing else.
    said=$(bash -euc ". deploy/completion/$program && complete -p $program") || complain "deploy/completion/$program does not load"
    [[ $said == *" $program" ]] || complain "deploy/completion/$program is not for $program: $said"
    . "deploy/completion/$program"
done

# ---- nothing is missing, and nothing is made up

options() { grep -oE -e '(^|[^a-z-])--[a-z][a-z0-9-]*' | grep -oE -e '--.*' | sort -u; }
for program in lahar-edge lahar-router; do
    offers "$("$build/$program" --help | options | tr '\n' ' ')" "_${program/-/_}" "$program" ""
done

commands=$("$build/cli/lahar" --help | sed -n '/^$/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort -u)
[ "$(wc -w <<<"$commands")" -ge 8 ] || complain "no commands in lahar --help: nothing was checked"
offers "$commands --config --print-config --version --help" _lahar lahar ""
offered=$(for command in $commands; do
    complete_words _lahar lahar "$command" ""
    complete_words _lahar lahar "$command" add ""
done | grep -e '^--' | sort -u)
taken=$("$build/cli/lahar" --help | options | grep -vxE -e '--(config|print-config|version)')
for option in $(comm -3 <(echo "$offered") <(echo "$taken")); do
    complain "lahar: $option is either completed or in --help, not both"
done

if [ -x "$build/bench/lahar-bench" ]; then
    workloads=$("$build/bench/lahar-bench" --help | sed -n '/^$/,/^$/s/^  \([a-z]*\) .*/\1/p' | head -n 7 | tr '\n' ' ')
    offers "$workloads --help" _lahar_bench lahar-bench ""
    offers "$("$build/bench/lahar-bench" --help | sed -n 's/^  \(--[a-z0-9-]*\) .*/\1/p' | tr '\n' ' ')" _lahar_bench "$build/bench/lahar-bench" unicast --
    offers "$("$build/bench/lahar-bench" --help | sed -n '/^Targets/,/^$/s/^  \([a-z]*\) .*/\1/p' | tr '\n' ' ')" \
        _lahar_bench "$build/bench/lahar-bench" unicast --target ""
    offers "confirmed" _lahar_bench "$build/bench/lahar-bench" unicast --class c
    offers "" _lahar_bench "$build/bench/lahar-bench" unicast --users ""
    offers "--users" _lahar_bench "$build/bench/lahar-bench" unicast --json --us
fi

# ---- at the right places

offers "keygen kick" _lahar lahar k
offers "chat" _lahar lahar --config chat.yaml ch
offers "--plain" _lahar lahar --config x chat --site game --p
offers "" _lahar lahar chat --site game --user a
offers "confirmed" _lahar lahar send --class c
offers "add list remove" _lahar lahar site ""
offers "--closed" _lahar lahar site add game --cl
offers "" _lahar lahar site list ""
offers "link site tls" _lahar lahar keygen ""
offers "deploy/completion" _lahar lahar keygen link deploy/comp
offers "deploy/lahar.yaml" _lahar lahar --config deploy/la
offers "deploy/edge.yaml" _lahar_edge lahar-edge --config deploy/ed
offers "deploy/edge.yaml" _lahar lahar site add game --key 17=deploy/ed
exit $bad
