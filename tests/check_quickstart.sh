#!/bin/bash
# check_quickstart: what the README says of deploy/quickstart holds. Run from the repository root.
set -u
LAHAR_QUICKSTART_RUN=$(mktemp -d)
LAHAR_QUICKSTART_PORT=$((20000 + RANDOM % 10000))
export LAHAR_QUICKSTART_RUN LAHAR_QUICKSTART_PORT
trap 'deploy/quickstart stop >/dev/null; rm -rf "$LAHAR_QUICKSTART_RUN"' EXIT
fail() { echo "$*"; exit 1; }

# A taken port is named, and nothing stays behind.
python3 -c "import socket,sys,time; s=socket.create_server(('127.0.0.1', $((LAHAR_QUICKSTART_PORT + 20)))); print('listening', flush=True); time.sleep(300)" >"$LAHAR_QUICKSTART_RUN/taken" &
taken=$!
until grep -q listening "$LAHAR_QUICKSTART_RUN/taken"; do sleep 0.1; done
said=$(deploy/quickstart --check 2>&1) && fail "a taken port was not noticed: $said"
[[ $said == *"port $((LAHAR_QUICKSTART_PORT + 20)) is taken"* ]] || fail "a taken port is not named: $said"
kill $taken

# One that is taken without anybody listening is found by the daemon only: its own words are shown.
python3 -c "import socket,time; s=socket.socket(); s.bind(('127.0.0.1', $((LAHAR_QUICKSTART_PORT + 2)))); print('bound', flush=True); time.sleep(300)" >"$LAHAR_QUICKSTART_RUN/taken" &
taken=$!
until grep -q bound "$LAHAR_QUICKSTART_RUN/taken"; do sleep 0.1; done
said=$(deploy/quickstart --check 2>&1) && fail "a daemon that does not start was not noticed: $said"
[[ $said == *"cannot listen on"*"e1 has ended"* ]] || fail "why a daemon did not start is not shown: $said"
kill $taken

said=$(deploy/quickstart 2>&1) || fail "quickstart failed: $said"
[[ $said == *"delivered in"*"delivered in"* ]] || fail "no message went there and back: $said"
again=$(deploy/quickstart 2>&1) && fail "a second start was not refused: $again"
[[ $again == *"running already"* ]] || fail "a second start is not explained: $again"

# The two commands that it names work: what alice types arrives at bob.
alice=$(grep -o '/[^ ]*lahar --config .* --user alice [0-9]*' <<<"$said")
bob=$(grep -o '/[^ ]*lahar --config .* --user bob [0-9]*' <<<"$said")
[ -n "$alice" ] && [ -n "$bob" ] || fail "the commands to chat by hand are not named: $said"
(sleep 8) | $bob >"$LAHAR_QUICKSTART_RUN/bob.out" 2>&1 &
for ((i = 0; i < 50; i++)); do grep -q "online as" "$LAHAR_QUICKSTART_RUN/bob.out" && break; sleep 0.1; done
chat=$( (sleep 1; echo "a line by hand"; sleep 1) | $alice 2>&1)
[[ $chat == *"delivered to"* ]] || fail "alice's line was not delivered: $chat"
grep -q "a line by hand" "$LAHAR_QUICKSTART_RUN/bob.out" || fail "bob did not see it: $(cat "$LAHAR_QUICKSTART_RUN/bob.out")"

pids=$(cat "$LAHAR_QUICKSTART_RUN"/*.pid | cut -d' ' -f1)
[ "$(wc -w <<<"$pids")" = 5 ] || fail "not five processes: $pids"
deploy/quickstart stop >/dev/null || fail "stop failed"
for pid in $pids; do kill -0 "$pid" 2>/dev/null && fail "process $pid is still there after stop"; done
exit 0
