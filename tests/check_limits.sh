#!/bin/sh
# check_limits: every limit but one is tried by a test which names it in EXPECT_LIMIT (tests/limit_expect.h). Run from the
# repository root.
set -u
bad=0
rows=0
for program in edge router; do
    upper=$(echo "$program" | tr a-z A-Z)
    for name in $(sed -n 's/^LIMIT(\([A-Z_]*\),.*/\1/p' "$program/limit_rows.h"); do
        rows=$((rows + 1))
        # Nothing says how much of it is used (ARCHITECTURE.md, known gaps); test_sending and test_handle try it.
        [ "$name" = CREDIT ] && continue
        # One call may take several lines.
        if ! cat tests/test_*.c | tr '\n' ' ' | grep -qE "EXPECT_LIMIT\([^;]*\b$upper, *$name,"; then
            echo "$program/limit_rows.h: no test expects what is exported of $name"
            bad=1
        fi
    done
done
[ "$rows" -gt 30 ] || { echo "only $rows limits found: nothing was checked"; bad=1; }
exit $bad
