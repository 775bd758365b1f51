"""See bench/baseline."""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
from statistics import median

import cases
import stand

CASES = {case.name: case for case in cases.CASES if "lahar" in case.servers and case.workload != "idle"}
USUAL = ("ephemeral-1000x16", "ephemeral-1000x1", "confirmed-1000x1", "tls-1000x1", "logins")


def parse():
    parser = argparse.ArgumentParser(prog="bench/baseline", formatter_class=argparse.RawDescriptionHelpFormatter, description="""\
Compares the tree as it is (changes included) with another commit: are the same messages now cheaper for the servers? Both are
built, and in each pair a fresh cluster of each does the same work, now one first, now the other; the generator is the same.

What is compared is the CPU time that all servers spend on a message (a login), Redis included, as the ratio within each pair,
so that what disturbs both cancels out. The test is Wilcoxon's signed-rank test on the logarithms of these ratios, exact and
two-sided: it asks nothing of how they are distributed. The ratio printed is the Hodges-Lehmann estimate (the median of all
pairwise means) with the interval that belongs to the same test. "faster" or "slower" is said only if chance alone would give
such pairs less often than --level (0.02) and the difference is at least --least percent (1); else "no difference". With 7 pairs
all must agree; more pairs see more.""",
        epilog="cases: " + ", ".join(CASES) + "\nexit codes: 0 nothing is slower; 1 something is slower; 2 could not be measured")
    parser.add_argument("commit", nargs="?", default="HEAD", help="what to compare with (HEAD)")
    parser.add_argument("--cases", default=",".join(USUAL), help="by commas (%(default)s)")
    parser.add_argument("--pairs", type=int, default=9, help="7 to 40 (9)")
    parser.add_argument("--seconds", type=int, default=3, help="measured of each run (3)")
    parser.add_argument("--level", type=float, default=0.02, help="how often chance alone may be taken for a difference (0.02)")
    parser.add_argument("--least", type=float, default=1.0, metavar="PERCENT", help="a smaller difference is none (1)")
    parser.add_argument("--curve", action="store_true", help="with CURVE on the links")
    parser.add_argument("--self-test", action="store_true",
                        help="compare the commit with itself: everything must be 'no difference' (exit code 1 if not)")
    parser.add_argument("--build", metavar="DIR", help="a release build of the tree; without it one is made in build/bench")
    parser.add_argument("--port", type=int, default=19700, help="the first port that is tried (19700)")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    options = parser.parse_args()
    if not 7 <= options.pairs <= 40:
        parser.error("--pairs: 7 to 40")
    return options


# ---- the test ----------------------------------------------------------------------------------------


def ranks_of(values):
    """Ranks of the absolute values, doubled so that ties stay whole numbers."""
    order = sorted(range(len(values)), key=lambda i: abs(values[i]))
    ranks = [0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and abs(values[order[end + 1]]) == abs(values[order[start]]):
            end += 1
        for i in range(start, end + 1):
            ranks[order[i]] = start + end + 2
        start = end + 1
    return ranks


def distribution(ranks):
    """How many of the 2^n choices of signs give each sum of positive ranks."""
    ways = [1]
    for rank in ranks:
        longer = ways + [0] * rank
        for total, count in enumerate(ways):
            longer[total + rank] += count
        ways = longer
    return ways


def signed_rank(values):
    """The two-sided probability that chance alone gives values so far from being symmetric around 0."""
    values = [value for value in values if value != 0]
    if not values:
        return 1.0
    ranks = ranks_of(values)
    positive = sum(rank for rank, value in zip(ranks, values) if value > 0)
    ways = distribution(ranks)
    extreme = min(positive, sum(ranks) - positive)
    return min(1.0, 2 * sum(ways[:extreme + 1]) / 2 ** len(values))


def estimate(values, level):
    """Hodges and Lehmann's estimate, and the interval that the test does not reject."""
    n = len(values)
    means = sorted((values[i] + values[j]) / 2 for i in range(n) for j in range(i, n))
    ways = distribution(range(1, n + 1))
    cut = total = 0
    while 2 * (total + ways[cut]) / 2 ** n <= level:
        total += ways[cut]
        cut += 1
    low, high = (means[cut - 1], means[-cut]) if cut else (-math.inf, math.inf)
    return median(means), low, high


def verdict(ratios, level, least):
    """Of ratios of cost (now to before): what is to be said, and the figures for it."""
    logs = [math.log(ratio) for ratio in ratios]
    middle, low, high = (math.exp(value) if abs(value) < 700 else (0.0 if value < 0 else math.inf)
                         for value in estimate(logs, level))
    probability = signed_rank(logs)
    if probability > level or abs(middle - 1) * 100 < least:
        return "no difference", middle, low, high, probability
    return ("faster" if middle < 1 else "slower"), middle, low, high, probability


# ---- the work ----------------------------------------------------------------------------------------


def tree_of(commit, folder):
    """Its files, in `folder`."""
    os.makedirs(folder, exist_ok=True)
    archive = subprocess.Popen(["git", "-C", stand.ROOT, "archive", commit], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", folder], stdin=archive.stdout, check=True)
    if archive.wait() != 0:
        raise stand.Trouble(f"there is no commit '{commit}'")


def built(commit):
    """A build of the commit, kept under build/baseline for the next time."""
    full = stand.run("git", "-C", stand.ROOT, "rev-parse", "--verify", f"{commit}^{{commit}}").strip()
    folder = os.path.join(stand.ROOT, "build", "baseline", full[:12])
    if not os.path.exists(os.path.join(folder, "done")):
        with tempfile.TemporaryDirectory(prefix="lahar-baseline-") as source:
            tree_of(full, source)
            stand.build(source, folder, "lahar-edge lahar-router lahar")
        with open(os.path.join(folder, "done"), "w") as file:
            file.write(full + "\n")
    return full[:12], folder


def cost_of(result, case):
    measure = cases.measures_of(case)[0]
    value = cases.value_of(result, measure)
    if not value:
        raise stand.Trouble(f"{case.name}: the run has no {cases.MEASURES[measure].name}")
    return 1 / value if measure == "rate" else value


def pair(the_stand, options, some_cases, number, folders, ratios):
    order = ("before", "now") if number % 2 else ("now", "before")
    servers = {which: the_stand.cluster(which, curve=options.curve, build_folder=folders[which]) for which in order}
    for index, case in enumerate(some_cases):
        costs, others = {}, 0
        for which in order if index % 2 else reversed(order):
            result = the_stand.drive(servers[which], case.workload, *case.options, "--seconds", options.seconds, transport=case.transport)
            if result["exit"] == 3:
                raise stand.Trouble(f"{case.name}: {which}, {result['broken']} promises were broken; what it costs does not matter")
            costs[which] = cost_of(result, case)
            others = max(others, result["others_share"])
        ratios[case.name].append(costs["now"] / costs["before"])
        disturbed = f"   disturbed: others used {100 * others:.0f} % of the machine" if others > stand.DISTURBED else ""
        stand.say(f"  {case.name:18} {ratios[case.name][-1]:.3f}{disturbed}")
    for server in servers.values():
        the_stand.stop_server(server)
        shutil.rmtree(the_stand.path(server.name))


def main():
    options = parse()
    unknown = [name for name in options.cases.split(",") if name not in CASES]
    if unknown:
        raise stand.Trouble(f"there is no case '{unknown[0]}'; there are {', '.join(CASES)}")
    some_cases = [CASES[name] for name in options.cases.split(",")]
    stand.packages("bench")
    commit, before = built(options.commit)
    now = os.path.abspath(options.build or stand.build(stand.ROOT, os.path.join(stand.ROOT, "build", "bench")))
    folders = {"before": before, "now": before if options.self_test else now}
    name_of_now = commit if options.self_test else "the given build" if options.build else stand.commit_of(stand.ROOT)
    stand.say(f"CPU time per message of {name_of_now}, divided by that of {commit}; below 1 is faster")
    ratios = {case.name: [] for case in some_cases}
    with stand.Stand(now, options.port, keep=options.keep) as the_stand:
        for number in range(1, options.pairs + 1):
            stand.say(f"pair {number} of {options.pairs}")
            pair(the_stand, options, some_cases, number, folders, ratios)
    worst = 0
    stand.say("")
    for case in some_cases:
        said, middle, low, high, probability = verdict(ratios[case.name], options.level, options.least)
        worst |= said == "slower" or (options.self_test and said != "no difference")
        stand.say(f"{case.title:42} {said:14} {middle:.3f} ({low:.3f} to {high:.3f}), by chance {probability:.3f}")
    return int(worst)


if __name__ == "__main__":
    stand.main("bench/baseline", main)
