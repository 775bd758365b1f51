"""See bench/compare."""

import argparse
import os
import sys

import cases
import render
import stand


def parse():
    parser = argparse.ArgumentParser(prog="bench/compare", formatter_class=argparse.RawDescriptionHelpFormatter, description="""\
Measures Lahar, with CURVE off and on, side by side with the bare relay, nats-server, mosquitto and Redis pub/sub: the same
workload, generator and pinning for all, round by round, so that what disturbs the machine disturbs all. Prints each run, then
medians, and Lahar's ratios beside the goals. Writes bench/results/compare.jsonl (each run's result), bench/RESULTS.md and, with
lahar-bench report, bench/RESULTS.html.

All server processes run on core 0, the generator on core 1. Messages per CPU second count the CPU time of all threads of all
processes of a server, Lahar's Redis too. Rate limits are lifted and windows and queues of everyone are made wide enough that
nothing is dropped by a default limit. Packages that are missing are installed (deploy/packages bench).""",
        epilog="cases: " + ", ".join(case.name for case in cases.CASES) + "\nservers: " + ", ".join(cases.EVERYBODY)
        + "\nexit codes: 0 measured, whatever the figures are; 2 could not be measured; 3 Lahar broke a promise")
    parser.add_argument("--cases", help="some of them, by commas; * at the end is any ending (all)")
    parser.add_argument("--servers", help="some of them, by commas (all)")
    parser.add_argument("--rounds", type=int, default=5, help="of all cases (5)")
    parser.add_argument("--seconds", type=int, default=5, help="measured of each run (5)")
    parser.add_argument("--idle-rounds", type=int, default=1, help="of idle connections, with fresh servers each (1)")
    parser.add_argument("--build", metavar="DIR", help="a release build; without it one is made in build/bench")
    parser.add_argument("--port", type=int, default=18700, help="the first port that is tried (18700)")
    parser.add_argument("--add", action="store_true", help="keep the results of other cases that were measured before")
    parser.add_argument("--no-save", action="store_true", help="print only: write no files")
    parser.add_argument("--keep", action="store_true", help="keep the servers' configurations and logs")
    parser.add_argument("--render", action="store_true", help="measure nothing; make RESULTS.md and RESULTS.html from bench/results")
    return parser.parse_args()


def chosen(all_names, wanted):
    if not wanted:
        return list(all_names)
    found = []
    for pattern in wanted.split(","):
        fitting = [name for name in all_names if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))]
        if not fitting:
            raise stand.Trouble(f"there is no '{pattern}'; there are {', '.join(all_names)}")
        found += [name for name in fitting if name not in found]
    return found


STARTERS = {
    "relay": lambda s: s.relay(),
    "nats-server": lambda s: s.nats(),
    "mosquitto": lambda s: s.mosquitto(),
    "redis pub/sub": lambda s: s.redis_pubsub(),
    "lahar": lambda s: s.cluster("lahar"),
    "lahar+curve": lambda s: s.cluster("lahar+curve", curve=True),
}


class Comparison:
    def __init__(self, options, the_stand):
        self.options, self.stand = options, the_stand
        self.results, self.failures, self.promises = [], [], {}

    def measure(self, case, server, round_number):
        options = list(case.options)
        if case.workload == "idle":
            options += ["--logins", 256, "--login-timeout", 600, "--warmup", 15]
        try:
            result = self.stand.drive(server, case.workload, *options, "--seconds", self.options.seconds, transport=case.transport)
        except stand.Trouble as trouble:
            # A peer that cannot do it is a result too.
            self.failures.append({"case": case.name, "server": server.name, "round": round_number, "why": str(trouble)})
            stand.say(f"  {case.name:18} {server.name:14} {trouble}")
            return
        result.update(case=case.name, server=server.name, round=round_number)
        if server.name in ("lahar", "mosquitto"):
            self.stand.commands[f"generator, {case.name}, {server.name}"] = self.stand.last_command
        self.results.append(result)
        self.promises[server.name] = server.promises
        parts = []
        for measure in cases.measures_of(case):
            value = cases.value_of(result, measure)
            if value is not None:
                row = cases.MEASURES[measure]
                parts.append(f"{row.name} {render.number(value, row.digits)} {row.unit}".strip())
        if result.get("generator_cpu_share") is not None:
            parts.append(f"generator {100 * result['generator_cpu_share']:.0f} %")
        if result.get("messages", {}).get("lost"):
            parts.append(f"lost {result['messages']['lost']}")
        if result["others_share"] > stand.DISTURBED:
            parts.append(f"disturbed: others used {100 * result['others_share']:.0f} % of the machine")
        if result["exit"] == 3:
            parts.append(f"PROMISES BROKEN {result.get('broken', 0)}")
        stand.say(f"  {case.name:18} {server.name:14} {', '.join(parts)}")

    def play_rounds(self, some_cases, names):
        names = [name for name in names if any(name in case.servers for case in some_cases)]
        servers = {name: STARTERS[name](self.stand) for name in names}
        for round_number in range(1, self.options.rounds + 1):
            stand.say(f"round {round_number} of {self.options.rounds}")
            for case in some_cases:
                taking_part = [name for name in names if name in case.servers]
                turned = round_number % len(taking_part)
                for name in taking_part[turned:] + taking_part[:turned]:
                    self.measure(case, servers[name], round_number)
            yield round_number
        for server in servers.values():
            self.stand.stop_server(server)

    def hold_idle(self, some_cases, names):
        for round_number in range(1, self.options.idle_rounds + 1):
            for case in some_cases:
                for name in [name for name in names if name in case.servers]:
                    server = STARTERS[name](self.stand)
                    self.measure(case, server, round_number)
                    self.stand.stop_server(server)
            yield round_number


def save(options, comparison, session):
    if options.no_save:
        return
    for result in comparison.results:
        result["session"] = session["id"]
    results, about = comparison.results, {"sessions": [session], "promises": comparison.promises,
                                          "failures": comparison.failures}
    if options.add:
        before, about_before = stand.load("compare")
        measured = {result["case"] for result in results}
        results = [result for result in before if result["case"] not in measured
                   and result.get("session") != session["id"]] + results
        still = {result.get("session") for result in results}
        about["sessions"] = [one for one in about_before.get("sessions", [])
                             if one["id"] in still and one["id"] != session["id"]] + [session]
        about["promises"] = {**about_before.get("promises", {}), **comparison.promises}
        about["failures"] = [failure for failure in about_before.get("failures", [])
                             if failure["case"] not in measured] + comparison.failures
    stand.save("compare", results, about)


def conclude(comparison):
    rows = render.goal_rows(comparison.results)
    if rows:
        widths = [max(len(str(row[i])) for row in [render.GOAL_HEAD, *rows]) for i in range(len(rows[0]))]
        stand.say("")
        for row in [render.GOAL_HEAD, *rows]:
            stand.say("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).replace("**", "").rstrip())
    for row in render.loss_rows(comparison.results, {"promises": comparison.promises}):
        stand.say(f"{row[0]}: {row[1]} ({row[2]}): {row[3]} did not arrive; also: {row[4]}; promises broken: {row[5]}")


def main():
    options = parse()
    stand.packages("bench")
    build_folder = options.build or stand.build(stand.ROOT, os.path.join(stand.ROOT, "build", "bench"))
    build_folder = os.path.abspath(build_folder)
    if options.render:
        render.write()
        render.page(build_folder)
        return 0
    by_name = {case.name: case for case in cases.CASES}
    some_cases = [by_name[name] for name in chosen(by_name, options.cases)]
    names = chosen(cases.EVERYBODY, options.servers)
    with stand.Stand(build_folder, options.port, keep=options.keep) as the_stand:
        comparison = Comparison(options, the_stand)
        session = stand.session(the_stand, "bench/compare", sys.argv[1:], peers=True)
        held = [case for case in some_cases if case.workload == "idle"]
        played = [case for case in some_cases if case.workload != "idle"]
        if played:
            for _ in comparison.play_rounds(played, names):
                save(options, comparison, session)
        if held:
            stand.say("idle connections")
            for _ in comparison.hold_idle(held, names):
                save(options, comparison, session)
    conclude(comparison)
    if not options.no_save:
        render.write()
        render.page(build_folder)
    broken = any(result["exit"] == 3 and result["target"] == "lahar" for result in comparison.results)
    return 3 if broken else 2 if not comparison.results else 0


if __name__ == "__main__":
    stand.main("bench/compare", main)
