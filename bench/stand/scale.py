"""See bench/scale."""

import argparse
import math
import os
import sys

import compare
import render
import stand

INSIDE = "--in-own-network"
EDGE_HOLDS = 18000  # a process has 20,000 descriptors
GENERATOR_HOLDS = 15000
# Up to so many connections all are served by the same number of edges, so that a curve shows one thing.
ALIKE = 100000


def numbers(text):
    return [int(part.replace("_", "")) for part in text.split(",") if part]


def parse():
    parser = argparse.ArgumentParser(prog="bench/scale", formatter_class=argparse.RawDescriptionHelpFormatter, description="""\
How cost grows: messages per CPU second of all servers at 1, 2, 4 and 8 shards of one router, and at 1,000 to 100,000 connections
(or a million). Servers share core 0, the generator has core 1.

shards        1,000 users, closed loop: EPHEMERAL x 1 and x 16, CONFIRMED x 1; all clusters run at once and are driven in turn
connections   open loop at --rate, so that the same work is done however many are connected; up to 100,000 the number of edges
              is the same for all sizes

Writes bench/results/scale.jsonl and makes bench/RESULTS.md and RESULTS.html anew. More than 100,000 connections are made in a
network namespace (unshare -n), as root.""")
    parser.add_argument("--shards", type=numbers, default=[1, 2, 4, 8], help="by commas; 0 for none (1,2,4,8)")
    parser.add_argument("--connections", type=numbers, default=[1000, 10000, 100000],
                        help="by commas; 0 for none (1000,10000,100000)")
    parser.add_argument("--rate", type=int, default=20000, help="messages a second of the connections' curve (20000)")
    parser.add_argument("--rounds", type=int, default=5, help="(5)")
    parser.add_argument("--seconds", type=int, default=5, help="measured of each run (5)")
    parser.add_argument("--curve", action="store_true", help="with CURVE on the links")
    parser.add_argument("--build", metavar="DIR", help="a release build; without it one is made in build/bench")
    parser.add_argument("--port", type=int, default=20700, help="the first port that is tried (20700)")
    parser.add_argument("--no-save", action="store_true", help="print only: write no files")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(the_stand, server, results, curve, size, round_number, arguments):
    result = the_stand.drive(server, "unicast", *arguments, label=f"lahar, {size:,} {curve}", timeout=3600)
    result.update(curve=curve, server="lahar", round=round_number)
    if curve == "shards":
        result["shards"] = size
    results.append(result)
    work = f"x {result['in_flight']}" if result["in_flight"] else ""
    disturbed = ""
    if result["others_share"] > stand.DISTURBED:
        disturbed = f", disturbed: others used {100 * result['others_share']:.0f} % of the machine"
    stand.say(f"  {size:9,} {curve:11} {result['class']:9} {work:8} {render.number(result['per_cpu_second']):>9} "
              f"messages per CPU second, p99 {render.number(result['latency_us']['p99'])} µs{disturbed}")


def over_shards(the_stand, options, results):
    works = [("ephemeral", 1), ("ephemeral", 16), ("confirmed", 1)]
    servers = {count: the_stand.cluster(f"shards-{count}", curve=options.curve, shards=count) for count in options.shards}
    for round_number in range(1, options.rounds + 1):
        stand.say(f"round {round_number} of {options.rounds}")
        for message_class, in_flight in works:
            for count, server in servers.items():
                measure(the_stand, server, results, "shards", count, round_number,
                        [*compare.cases.unicast(message_class, 1000, in_flight), "--seconds", options.seconds])
    for server in servers.values():
        the_stand.stop_server(server)


def over_connections(the_stand, options, results):
    alike = [size for size in options.connections if size <= ALIKE]
    edges_alike = max(2, math.ceil(max(alike, default=0) / EDGE_HOLDS))
    for size in options.connections:
        edges = edges_alike if size <= ALIKE else math.ceil(size / EDGE_HOLDS)
        server = the_stand.cluster(f"connections-{size}", curve=options.curve, edges=edges,
                                   router_lines=f"limits:\n  identities: {max(200000, 2 * size)}\n")
        for round_number in range(1, options.rounds + 1):
            measure(the_stand, server, results, "connections", size, round_number,
                    [*compare.cases.unicast("ephemeral", size, 1), "--rate", options.rate, "--seconds", options.seconds,
                     "--processes", math.ceil(size / GENERATOR_HOLDS), "--logins", 256, "--login-timeout", 3600])
        the_stand.stop_server(server)


def main():
    options = parse()
    options.shards = [count for count in options.shards if count]
    options.connections = [size for size in options.connections if size]
    given = [argument for argument in sys.argv[1:] if argument != INSIDE]
    if INSIDE not in sys.argv:
        stand.packages("bench")
    if max(options.connections, default=0) > ALIKE:
        stand.own_network(INSIDE, options.port)
    build_folder = os.path.abspath(options.build or stand.build(stand.ROOT, os.path.join(stand.ROOT, "build", "bench")))
    results = []
    with stand.Stand(build_folder, options.port, keep=options.keep) as the_stand:
        session = stand.session(the_stand, "bench/scale", given)
        try:
            over_shards(the_stand, options, results)
            over_connections(the_stand, options, results)
        finally:
            session["commands"], session["configurations"] = {}, {}
            if results and not options.no_save:
                stand.save("scale", results, {"sessions": [session]})
    if not options.no_save:
        render.write()
        render.page(build_folder)
    return 3 if any(result["exit"] == 3 for result in results) else 0


if __name__ == "__main__":
    stand.main("bench/scale", main)
