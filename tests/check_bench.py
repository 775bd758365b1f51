"""lahar-bench as a whole, small and fast: check_bench.py LAHAR_BENCH

Drives the bare relay with several generator processes, in both loops, and looks at what they say."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

BENCH = sys.argv[1]
NEVER = ("lost", "doubled", "misrouted", "altered", "out_of_order", "unknown", "false_nacks", "foreign", "missing")


def check(claim, text):
    if not claim:
        raise SystemExit(f"check_bench: {text}")


def start(port, *options):
    return subprocess.Popen([BENCH, *options, "--target", "relay", "--servers", f"127.0.0.1:{port}", "--json", "--warmup", "0",
                             "--seconds", "1"], stdout=subprocess.PIPE, text=True)


def run(port, *options):
    process = start(port, *options)
    out = process.communicate(timeout=120)[0]
    check(process.returncode == 0, f"{options} ended with {process.returncode}")
    check(out.count("\n") == 1, "the result is not one line")
    return json.loads(out)


def judge(result, processes):
    messages = result["messages"]
    check(result["lahar_bench"] == 1 and result["processes"] == processes, "the head is wrong")
    check(messages["sent"] > 0 and messages["sent"] == messages["delivered"], f"not all came: {messages}")
    check(all(messages[name] == 0 for name in NEVER), f"what may never be: {messages}")
    check(result["broken"] == 0 and result["connections_lost"] == 0, "a promise or a connection broke")
    latency = result["latency_us"]
    check(0 < latency["p50"] <= latency["p99"] <= latency["max"], f"latencies: {latency}")
    check(latency["curve"] == sorted(latency["curve"]), "the curve does not rise")
    check(latency["count"] <= messages["delivered"], "more latencies than messages")


def start_relay():
    relay = subprocess.Popen([BENCH, "relay", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    return relay, relay.stdout.readline().split()[1]


def users_return_when_their_server_dies():
    relays = [start_relay(), start_relay()]
    try:
        (_, port), (victim, other) = relays
        result = run(f"{port},127.0.0.1:{other}", "storm", "--users", "40", "--processes", "2", "--kill-pid", str(victim.pid))
        storm = result["storm"]
        check(storm["lost"] == storm["back"] == 20, f"not all came back: {storm}")
        check(0 < storm["back_seconds"]["p50"] <= storm["back_seconds"]["max"] < 60, f"{storm}")
        check(result["connections"] == 40, f"{result['connections']} users at the end")
    finally:
        for relay, _ in relays:
            relay.kill()
            relay.wait()


def results_become_a_page(*results):
    with tempfile.TemporaryDirectory() as place:
        lines, page = os.path.join(place, "r.jsonl"), os.path.join(place, "r.html")
        with open(lines, "w") as file:
            file.writelines(json.dumps(result) + "\n" for result in results)
        check(subprocess.run([BENCH, "report", page, lines]).returncode == 0, "no page was made")
        check(os.path.getsize(page) > 10000, "the page is empty")


def the_manual_page_knows_all_options():
    text = subprocess.run([BENCH, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "deploy", "man", "lahar-bench.1")) as file:
        manual = file.read()
    names = re.findall(r"^  --([a-z0-9-]+)", text, re.MULTILINE)
    check(len(names) > 20, "no options were found: nothing was checked")
    for name in names:
        check(re.search(rf"^\.It Fl -{name}( |$)", manual, re.MULTILINE), f"lahar-bench.1 does not know --{name}")
    for name in re.findall(r"^  ([a-z]+) ", text.split("\n  --")[0], re.MULTILINE):
        check(re.search(rf"^\.It Cm {name}$", manual, re.MULTILINE), f"lahar-bench.1 does not know {name}")


def main():
    the_manual_page_knows_all_options()
    users_return_when_their_server_dies()
    relay = subprocess.Popen([BENCH, "relay", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        port = relay.stdout.readline().split()[1]
        closed = run(port, "unicast", "--users", "50", "--processes", "2", "--in-flight", "2", "--pids", str(relay.pid))
        judge(closed, 2)
        check(closed["server_cpu_s"] > 0 and closed["per_cpu_second"] > 0, "the relay cost nothing")
        opened = run(port, "unicast", "--users", "50", "--processes", "3", "--rate", "2000", "--even")
        judge(opened, 3)
        check(1500 < opened["messages"]["sent"] < 2600, f"not the rate: {opened['messages']}")
        gone = run(port, "unicast", "--users", "50", "--rate", "2000", "--offline-share", "0.5")
        check(gone["messages"]["to_offline"] > 0 and gone["messages"]["misrouted"] == 0, f"{gone['messages']}")
        check(gone["open_loop_rate"] == 2000 and gone["messages"]["sent"] > 0, "not the rate that was given")
        much = run(port, "unicast", "--users", "50", "--rate", "3e6", "--even")
        told = much["latency_us"]["count"]
        check(much["not_sent"] > 0 and told > 2.5e6, f"of what was due only {told} have a latency")
        found = run(port, "search", "--users", "50", "--p99-us", "100000", "--rate", "100000")
        check(found["open_loop_rate"] == found["highest_rate"] > 0 and found["in_flight"] == 0, f"{found['highest_rate']}")
        idle = run(port, "idle", "--users", "50", "--processes", "2")
        check(idle["logins"]["count"] == 50 and idle["connections"] == 50, f"{idle}")
        connect = run(port, "connect", "--users", "50", "--logins", "4")
        check(connect["logins"]["count"] > 50, f"{connect['logins']}")
        results_become_a_page(closed, opened, idle, connect)
        broken = start(port, "unicast", "--users", "50", "--processes", "2", "--login-timeout", "60")
        time.sleep(0.5)
        broken.send_signal(signal.SIGINT)
        broken.communicate(timeout=60)
        check(broken.returncode in (0, 2), f"interrupted, it ended with {broken.returncode}")
    finally:
        relay.kill()
        relay.wait()


main()
