#!/bin/sh
# check_layers BUILD: the arrows drawn in ARCHITECTURE.md, checked. Run from the repository root.
set -u
folders="base proto presence mailbox edge router client cli"
bad=0
complain() { echo "$*"; bad=1; }
sources() { for folder in "$@"; do find "$folder" -maxdepth 1 -name '*.[ch]' 2>/dev/null; done; }

# layer FOLDER USES...: FOLDER may include from itself and USES, and from nowhere else.
checked=0
layer() {
    for used in $(sources "$1" | xargs -r grep -ho '^#include "[a-z_]*/' | cut -d'"' -f2 | tr -d / | sort -u); do
        checked=1
        case " $* " in *" $used "*) ;; *) complain "$1/ must not include $used/" ;; esac
    done
}
layer base
layer proto base
layer presence base
layer mailbox base
layer edge base proto
layer router base proto presence mailbox
layer client base proto
layer cli base proto client
[ "$checked" = 1 ] || complain "no includes found: nothing was checked"

# only LIBRARY FILES...: LIBRARY's headers appear in FILES and nowhere else.
only() {
    library=$1
    for file in $(sources $folders | xargs -r grep -l "^#include <$library"); do
        case " $* " in *" $file "*) ;; *) complain "$file must not include <$library>" ;; esac
    done
}
only zmq proto/port.c proto/zap.c
only hiredis base/redis.c
only yaml base/conf.c
only openssl edge/certs.c edge/tls.c edge/sslmem.c edge/websock.c client/transport.c client/secure.c cli/mint.c
only curses cli/chat_screen.c cli/chat_draw.c
only sodium edge/token.c edge/ticket.c
only jansson edge/token.c

# No file is so long that one cannot hold it in the head.
for file in $(sources $folders bench) $(find tests -name '*.[ch]'); do
    lines=$(wc -l <"$file")
    [ "$lines" -le 640 ] || complain "$file has $lines lines; about 600 is the limit"
done

# foo.c exports foo_* (or main) and nothing else.
seen=0
for object in $(find "$1" -name '*.c.o' -path '*CMakeFiles*' ! -path '*tests*' ! -path '*.pb-c.c.o'); do
    seen=1
    module=$(basename "$object" .c.o)
    for symbol in $(nm -g --defined-only "$object" | awk '{print $3}'); do
        case $symbol in "${module}"_* | "$module" | main | __asan* | __odr_asan* | *__*) ;; *) complain "$module.c exports $symbol" ;; esac
    done
done
[ "$seen" = 1 ] || complain "no objects under $1: nothing was checked"
exit $bad
