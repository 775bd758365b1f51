"""See bench/million."""

import argparse
import math
import os
import re
import sys
import time

import render
import stand

INSIDE = "--in-own-network"
EDGE_HOLDS = 18000  # a process has 20,000 descriptors
GOALS = {"edge CPU, µs per connection and second": ("at most", 1.0), "user memory, bytes per user": ("at most", 7000),
         "logins per second": ("at least", 4000), "logins per second, by ticket": ("at least", 8000), "messages lost": ("at most", 0), "connections lost": ("at most", 0),
         "promises broken": ("at most", 0)}


def parse():
    parser = argparse.ArgumentParser(prog="bench/million", formatter_class=argparse.RawDescriptionHelpFormatter, description="""\
One million logged-in connections on this machine, held for five minutes with heartbeats and messages between random users.

Runs in a network namespace of its own (unshare -n, as root): loopback only, no netfilter, ports from 1024 on. Edges hold at most
18,000 connections each, since a process has 20,000 descriptors; as many generator processes drive them. Users log in at full
speed. In the end each leaves and comes back by ticket, while the rest is connected. Prints logins a second, the edges' CPU time per connection and second while all are held, and resident memory per user of
edges, router and generator, beside the goals. Needs about 17 GiB for a million. Writes bench/results/million.jsonl and makes
bench/RESULTS.md and RESULTS.html anew.""")
    parser.add_argument("--users", type=int, default=1000000, help="connections (1000000)")
    parser.add_argument("--rate", type=int, default=2000, help="messages a second of all together (2000)")
    parser.add_argument("--seconds", type=int, default=300, help="held (300)")
    parser.add_argument("--shards", type=int, default=1, help="of the one router (1)")
    parser.add_argument("--logins", type=int, default=512, help="at the same time (512)")
    parser.add_argument("--class", dest="message_class", default="ephemeral", help="ephemeral or confirmed (ephemeral)")
    parser.add_argument("--half-websocket", action="store_true", help="every other connection is a WebSocket")
    parser.add_argument("--curve", action="store_true", help="with CURVE on the links")
    parser.add_argument("--server-cores", default="0-1", help="cores of the servers (0-1)")
    parser.add_argument("--generator-cores", default="0-1", help="cores of the generator (0-1)")
    parser.add_argument("--build", metavar="DIR", help="a release build; without it one is made in build/bench")
    parser.add_argument("--port", type=int, default=21700, help="the first port that is tried (21700)")
    parser.add_argument("--no-save", action="store_true", help="print only: write no files")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def grown(processes, name, users):
    """Resident bytes a user, of all processes of that name."""
    return sum(p["resident_after"] - p["resident_before"] for p in processes if p["name"].startswith(name)) / users


def summary_of(result, edges, taken):
    users, servers = result["users"], result.get("servers", [])
    edge_cpu_s = sum(p["cpu_s"] for p in servers if p["name"].startswith("lahar-edge"))
    again = result.get("again", {})
    messages, memory = result.get("messages", {}), result.get("memory", {})
    edge, router = grown(servers, "lahar-edge", users), grown(servers, "lahar-router", users)
    generator = memory.get("generator_resident_per_connection", 0)
    return {
        "connections": users,
        "transport": result.get("transport", "tcp"),
        "edges": edges,
        "generator processes": result.get("processes", 1),
        "held, s": result["seconds"],
        "logins per second": result["logins"]["per_second"],
        "logins refused as busy, and tried again": result["logins"]["refused"],
        "server CPU per login, µs": result["logins"]["cpu_us_each"],
        "logins by ticket": again.get("by_ticket", 0),
        "logins per second, by ticket": again.get("per_second", 0),
        "server CPU per login by ticket, µs": again.get("cpu_us_each", 0),
        "messages per second": result["per_second"],
        "messages sent": messages.get("sent", 0),
        "messages lost": messages.get("lost", 0),
        "connections lost": result.get("connections_lost", 0),
        "promises broken": result.get("broken", 0),
        "p50, µs": result["latency_us"]["p50"],
        "p99, µs": result["latency_us"]["p99"],
        "edge CPU, µs per connection and second": edge_cpu_s * 1e6 / users / result["seconds"],
        "user memory, bytes per user": edge + router + generator,
        "of that edges": edge,
        "of that router": router,
        "of that generator": generator,
        "Redis, bytes per user": grown(result.get("redis", []), "redis", users),
        "kernel, bytes per connection (both ends)": memory.get("kernel_per_connection", 0),
        "all memory taken, bytes per user": taken / users,
        "tracked by netfilter": stand.tracked_connections(),
    }


def shorten(the_stand):
    """For the record one edge says what all are."""
    for table in (the_stand.commands, the_stand.configurations):
        for name in [name for name in table if name.startswith("lahar/e") and name not in ("lahar/e1", "lahar/e1.yaml")]:
            del table[name]
    command = the_stand.commands["generator"]
    the_stand.commands["generator"] = re.sub(r"(tcp://[^, ]*),[^ ]*", r"\1,...", command)


def show(summary):
    for name, value in summary.items():
        goal = GOALS.get(name)
        said = ""
        if goal:
            reached = value <= goal[1] if goal[0] == "at most" else value >= goal[1]
            said = f"   goal: {goal[0]} {goal[1]:,}{'' if reached else ', NOT REACHED'}"
        digits = 2 if isinstance(value, float) and value < 100 else 0
        shown = value if isinstance(value, str) else render.number(value, digits)
        stand.say(f"  {name:42} {shown:>14}{said}")


def main():
    options = parse()
    given = [argument for argument in sys.argv[1:] if argument != INSIDE]
    if INSIDE not in sys.argv:
        stand.packages("bench")
    stand.own_network(INSIDE, options.port)
    build_folder = os.path.abspath(options.build or stand.build(stand.ROOT, os.path.join(stand.ROOT, "build", "bench")))
    edges = max(1, math.ceil(options.users / EDGE_HOLDS))
    before = stand.memory_available()
    with stand.Stand(build_folder, options.port, options.server_cores, options.generator_cores, options.keep) as the_stand:
        session = stand.session(the_stand, "bench/million", given)
        server = the_stand.cluster("lahar", curve=options.curve, shards=options.shards, edges=edges, window="1MiB",
                                   router_lines=f"limits:\n  identities: {max(200000, 2 * options.users)}\n")
        stand.say(f"{edges} edges are ready; {options.users:,} users log in")
        began = time.monotonic()
        result = the_stand.drive(server, "idle", "--class", options.message_class, "--users", options.users, "--tickets", "--rate", options.rate, "--seconds", options.seconds, "--processes", edges, "--logins",
                                 options.logins, "--login-timeout", 3600, "--warmup", 35, label=f"lahar, {options.users:,} held",
                                 timeout=7200, tries=1,
                                 transport="tcp and ws" if options.half_websocket else "tcp")
        the_stand.commands["generator"] = the_stand.last_command
        stand.say(f"done after {time.monotonic() - began:.0f} s")
        summary = summary_of(result, edges, before - the_stand.least_memory)
        shorten(the_stand)
    show(summary)
    result.update(summary=summary, server="lahar")
    if not options.no_save:
        stand.save("million", [result], {"sessions": [session]})
        render.write()
        render.page(build_folder)
    return result["exit"]


if __name__ == "__main__":
    stand.main("bench/million", main)
