#!/bin/sh
# check_samples BUILD: the sample settings in deploy/ are what --print-config prints. Run from the repository root.
set -u
bad=0
compare() { # FILE PROGRAM
    "$2" --print-config | diff -u "$1" - || { echo "$1 is not what $2 --print-config prints: make it anew"; bad=1; }
}
compare deploy/edge.yaml "$1/lahar-edge"
compare deploy/router.yaml "$1/lahar-router"
compare deploy/lahar.yaml "$1/cli/lahar"
for program in lahar-edge lahar-router; do
    "$1/$program" --config "deploy/${program#lahar-}.yaml" --check-config || bad=1
done
exit $bad
