"""bench/RESULTS.md, from the files in bench/results alone."""

import json
import os
import tempfile
from statistics import median

import cases
import stand


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def spread(values, digits):
    """median (least to most)"""
    if not values:
        return "-"
    if len(values) == 1:
        return number(values[0], digits)
    return f"{number(median(values), digits)} ({number(min(values), digits)} to {number(max(values), digits)})"


def table(head, rows, right_from=1):
    lines = ["| " + " | ".join(head) + " |",
             "|" + "|".join("---:" if i >= right_from else "---" for i in range(len(head))) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# ---- ratios ------------------------------------------------------------------------------------------


def by_round(results, case, server, measure):
    found = {}
    for result in results:
        if result["case"] == case and result["server"] == server:
            value = cases.value_of(result, measure)
            if value:
                found[result["round"]] = value
    return found


def goal_values(results, goal, ours):
    """What the goal is about, a value for each round that has both."""
    mine = by_round(results, goal.case, ours, goal.measure)
    if goal.peer is None:
        return list(mine.values())
    theirs = by_round(results, goal.case, goal.peer, goal.measure)
    return [mine[r] / theirs[r] for r in mine if r in theirs]


def bound_of(goal, ours):
    if ours == "lahar" or not goal.curve:
        return goal.bound
    return goal.bound * cases.CURVE_MAY if goal.sense == "at least" else goal.bound / cases.CURVE_MAY


def goal_rows(results):
    titles = {case.name: case.title for case in cases.CASES}
    rows = []
    for goal in cases.GOALS:
        for ours in ("lahar", "lahar+curve") if goal.curve else ("lahar",):
            values = goal_values(results, goal, ours)
            if not values:
                continue
            bound = bound_of(goal, ours)
            reached = median(values) >= bound if goal.sense == "at least" else median(values) <= bound
            digits = 2 if goal.peer else 0
            rows.append([goal.number, titles[goal.case], cases.MEASURES[goal.measure].name, ours, goal.peer or "-",
                         f"{goal.sense} {round(bound, 3):,}", spread(values, digits), "reached" if reached else "**not reached**"])
    return rows


GOAL_HEAD = ["", "case", "measure", "of", "against", "goal", "measured", ""]


# ---- what did not arrive -----------------------------------------------------------------------------


def message_class(case):
    options = list(case.options)
    return options[options.index("--class") + 1] if "--class" in options else None


def loss_rows(results, about):
    promises = about.get("promises", {})
    rows = []
    for case in cases.CASES:
        for server in case.servers:
            mine = [r for r in results if r["case"] == case.name and r["server"] == server and "messages" in r]
            if not mine:
                continue
            def total(name):
                return sum(r["messages"].get(name) or 0 for r in mine)
            other = [f"{name.replace('_', ' ')} {total(name):,}" for name in
                     ("doubled", "misrouted", "altered", "out_of_order", "false_nacks", "unknown", "busy")
                     if total(name) > 0]
            if total("lost") == 0 and not other and not any(r.get("broken") for r in mine):
                continue
            promise = promises.get(server, {}).get(message_class(case), "")
            rows.append([case.title, server, promise, f"{total('lost'):,} of {total('sent'):,}", ", ".join(other) or "-",
                         f"{sum(r.get('broken') or 0 for r in mine):,}"])
    return rows


# ---- sections ----------------------------------------------------------------------------------------


def case_table(results, case):
    measures = cases.measures_of(case)
    rows = []
    for server in case.servers:
        columns = [list(by_round(results, case.name, server, measure).values()) for measure in measures]
        if any(columns):
            digits = [cases.MEASURES[measure].digits for measure in measures]
            mine = [r for r in results if r["case"] == case.name and r["server"] == server]
            shares = [r["generator_cpu_share"] for r in mine if r.get("generator_cpu_share") is not None]
            rates = [r["per_second"] for r in mine if r.get("per_second") is not None]
            rows.append([server, *(spread(column, digit) for column, digit in zip(columns, digits)),
                         number(median(rates)) if rates else "-",
                         f"{100 * median(shares):.0f} %" if shares else "-"])
    if not rows:
        return ""
    head = ["", *(f"{m.name}{', ' + m.unit if m.unit not in ('', 'B') else ''}" for m in map(cases.MEASURES.get, measures)),
            "messages/s", "generator"]
    return f"### {case.title}\n\n{table(head, rows)}\n"


def memory_rows(results):
    """Of idle connections: which process holds how much."""
    rows = []
    for result in results:
        if result.get("workload") != "idle" or not result.get("connections"):
            continue
        grown = {}
        for process in result.get("servers", []):
            grown[process["name"]] = grown.get(process["name"], 0) + process["resident_after"] - process["resident_before"]
        memory = result.get("memory", {})
        rows.append([result.get("transport", ""), result["server"],
                     ", ".join(f"{name} {number(bytes_ / result['connections'])}" for name, bytes_ in grown.items()),
                     number(memory.get("kernel_per_connection")), number(result.get("held_cpu_us_per_second"), 2)])
    return rows


def session_text(session):
    machine, names = session["machine"], session["versions"]
    lines = [f"{session['date']}, commit {session['commit']}; {machine['cpu']}, {machine['cores']} cores, "
             f"{machine['memory_gib']} GiB, {machine['system']}, kernel {machine['kernel']}; load when it began "
             f"{machine['load']:.1f}.", "",
             "Versions: " + ", ".join(f"{name} {version}" for name, version in names.items()) + ".", "",
             f"    {session['command']}", ""]
    if session.get("commands"):
        lines += ["<details><summary>What was started, and the servers' settings</summary>", "", "```"]
        lines += [f"{name}: {command}" for name, command in session["commands"].items()]
        for name, text in session.get("configurations", {}).items():
            lines += ["", f"# {name}", *text]
        lines += ["```", "", "</details>", ""]
    return "\n".join(lines)


def compare_section():
    results, about = stand.load("compare")
    if not results:
        return ""
    text = ["## Against the others\n\n"
            "Servers share one core, the generator has another; bodies of 100 bytes between random users; messages per CPU second\n"
            "that all threads of all server processes spent, Lahar's Redis too. Medians of the rounds, least and most in\n"
            "brackets; ratios are of runs of the same round. `lahar` has CURVE off on its links, as the peers encrypt no second\n"
            "hop; `lahar+curve` has it on, and 0.8 of each goal is asked of it.\n\n"
            "### Goals\n\n" + table(GOAL_HEAD, goal_rows(results), right_from=6) + "\n"]
    text += [case_table(results, case) for case in cases.CASES]
    rows = memory_rows(results)
    if rows:
        text.append("### Where the memory is\n\n" +
                    table(["", "", "resident bytes per connection, by program", "kernel", "CPU µs per connection and second"],
                          rows, right_from=3) + "\n")
    disturbed = sum(result.get("others_share", 0) > stand.DISTURBED for result in results)
    if disturbed:
        text.append(f"In {disturbed} of {len(results)} runs other programs used more than "
                    f"{100 * stand.DISTURBED:.0f} % of the machine.\n\n")
    rows = loss_rows(results, about)
    text.append("### What did not arrive\n\n" +
                (table(["case", "server", "what its class promises", "did not arrive", "also", "promises broken"], rows, right_from=3)
                 if rows else "Nothing: every message of every run arrived, once and unchanged.\n") + "\n")
    for failure in about.get("failures", []):
        text.append(f"Round {failure['round']}: {failure['case']} against {failure['server']} could not be run: {failure['why']}\n\n")
    text.append("### How\n\n" + "\n".join(session_text(session) for session in about["sessions"]) + "\n")
    return "".join(text)


def scale_section():
    results, about = stand.load("scale")
    if not results:
        return ""
    def rows(kind, key):
        groups = {}
        for result in results:
            if result["curve"] == kind:
                work = result["class"].upper() + (f" x {result['in_flight']}" if result["in_flight"] else
                                                  f", {number(result['open_loop_rate'])} messages/s")
                groups.setdefault((work, result[key]), []).append(result)
        return [[work, f"{size:,}", *(spread([cases.value_of(r, measure) for r in group], 0) for measure in ("rate", "p50", "p99"))]
                for (work, size), group in sorted(groups.items())]
    head = ["", "", "messages per CPU second", "p50, µs", "p99, µs"]
    text = "## As it grows\n\n"
    for kind, key, title in (("shards", "shards", "Shards"), ("connections", "users", "Connections")):
        found = rows(kind, key)
        if found:
            text += f"### {title}\n\n" + table(head, found) + "\n"
    return text + "### How\n\n" + "\n".join(session_text(session) for session in about["sessions"]) + "\n"


def plain_section(name, title, rows_of):
    results, about = stand.load(name)
    if not results:
        return ""
    text = f"## {title}\n\n"
    for result in results:
        text += table(["", ""], rows_of(result)) + "\n"
    sessions = about.get("sessions", [])
    return text + ("### How\n\n" + "\n".join(map(session_text, sessions)) + "\n" if sessions else "")


def million_rows(result):
    summary = result["summary"]
    return [[name, number(value, 2 if isinstance(value, float) and value < 100 else 0) if isinstance(value, (int, float)) else value]
            for name, value in summary.items()]


def presence_rows(result):
    return [[name.replace("_", " "), number(value, 1 if isinstance(value, float) else 0)]
            for name, value in result.get("presence", {}).items()]


def storm_rows(result):
    flat = {}
    for name, value in result.get("storm", {}).items():
        for key, one in value.items() if isinstance(value, dict) else [("", value)]:
            flat[f"{name} {key}".replace("_", " ").strip()] = one
    return [[name, number(value, 2 if isinstance(value, float) else 0)] for name, value in flat.items()]


def search_rows(result):
    rows = [["highest rate kept, messages/s", number(result.get("highest_rate"))]]
    return rows + [[f"{number(step['rate'])} messages/s", f"p50 {number(step['p50'])} µs, p99 {number(step['p99'])} µs"
                    f"{'' if step['kept'] else ', not kept'}"] for step in result.get("steps", [])]


def results_text():
    sections = [compare_section(), scale_section(),
                plain_section("million", "Many connections", million_rows),
                plain_section("presence", "Presence", presence_rows),
                plain_section("storm", "An edge dies", storm_rows),
                plain_section("search", "The highest rate", search_rows)]
    return ("# Results\n\nMade by `bench/compare`, `bench/scale` and `bench/million` from the files in `bench/results`; "
            "`bench/compare --render`\nmakes this file and RESULTS.html (the same with plots) anew. Nothing in it is written by hand.\n\n"
            + "".join(section for section in sections if section)).rstrip() + "\n"


def write():
    path = os.path.join(stand.ROOT, "bench", "RESULTS.md")
    with open(path, "w") as file:
        file.write(results_text())
    stand.say(f"{os.path.relpath(path)} is written")


def page(build_folder):
    """RESULTS.html, by lahar-bench report."""
    folder = os.path.join(stand.ROOT, "bench", "results")
    files = sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".jsonl"))
    path = os.path.join(stand.ROOT, "bench", "RESULTS.html")
    sessions = [session for name in ("compare", "scale", "million", "presence", "storm", "search")
                for session in stand.load(name)[1].get("sessions", [])]
    about = {"lahar_bench_about": 1, "title": "Lahar: results", "text": "Made by bench/compare; RESULTS.md has the ratios and goals."}
    if sessions:
        last = sessions[-1]
        about.update(date=last["date"], commit=last["commit"], machine={k: str(v) for k, v in last["machine"].items()},
                     versions=last["versions"], commands=[session["command"] for session in sessions])
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(json.dumps(about) + "\n")
        file.flush()
        stand.run(os.path.join(build_folder, "bench", "lahar-bench"), "report", path, file.name, *files)
    stand.say(f"{os.path.relpath(path)} is written")
