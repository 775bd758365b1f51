"""What the bench's scripts conclude from figures: claims that can be checked without measuring anything."""

import itertools
import math
import os
import random
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "bench", "stand"))
sys.dont_write_bytecode = True

import baseline  # noqa: E402
import cases  # noqa: E402
import render  # noqa: E402


class Verdicts(unittest.TestCase):
    def test_the_probability_is_that_of_counting_all_choices_of_signs(self):
        chance = random.Random(1)
        for n in range(1, 9):
            for _ in range(20):
                values = [chance.choice([-1, 1]) * chance.randint(1, 6) for _ in range(n)]
                ranks = baseline.ranks_of(values)
                positive = sum(rank for rank, value in zip(ranks, values) if value > 0)
                extreme = min(positive, sum(ranks) - positive)
                ways = sum(sum(itertools.compress(ranks, signs)) <= extreme for signs in itertools.product((0, 1), repeat=n))
                self.assertAlmostEqual(baseline.signed_rank(values), min(1, 2 * ways / 2 ** n))

    def test_the_interval_leaves_out_0_just_when_the_test_says_so(self):
        chance = random.Random(2)
        for _ in range(500):
            values = [chance.gauss(0.04, 0.05) for _ in range(9)]
            _, low, high = baseline.estimate(values, 0.02)
            self.assertEqual(baseline.signed_rank(values) <= 0.02, low > 0 or high < 0)

    def test_noise_alone_is_seldom_a_difference(self):
        chance = random.Random(3)
        said = [baseline.verdict([math.exp(chance.gauss(0, 0.05)) for _ in range(9)], 0.02, 1)[0] for _ in range(2000)]
        self.assertLess(sum(one != "no difference" for one in said), 80)

    def test_what_is_twenty_percent_dearer_is_slower_and_what_is_cheaper_faster(self):
        chance = random.Random(4)
        noise = [math.exp(chance.gauss(0, 0.03)) for _ in range(9)]
        self.assertEqual(baseline.verdict([1.2 * one for one in noise], 0.02, 1)[0], "slower")
        self.assertEqual(baseline.verdict([one / 1.2 for one in noise], 0.02, 1)[0], "faster")

    def test_seven_pairs_that_agree_are_enough_and_six_of_seven_are_not(self):
        self.assertEqual(baseline.verdict([0.9] * 7, 0.02, 1)[0], "faster")
        self.assertEqual(baseline.verdict([0.9] * 6 + [1.2], 0.02, 1)[0], "no difference")

    def test_a_difference_smaller_than_what_counts_is_none(self):
        self.assertEqual(baseline.verdict([1.005] * 9, 0.02, 1)[0], "no difference")


def run_of(case, server, round_number, **values):
    return {"case": case, "server": server, "round": round_number, **values}


class Tables(unittest.TestCase):
    def test_a_ratio_is_of_runs_of_the_same_round(self):
        rates = {"lahar": {1: 500, 2: 1000}, "nats-server": {1: 100, 2: 500, 3: 1}}
        results = [run_of("ephemeral-1000x16", server, number, per_cpu_second=rate)
                   for server, rounds in rates.items() for number, rate in rounds.items()]
        self.assertEqual(render.goal_values(results, cases.GOALS[0], "lahar"), [5, 2])

    def test_a_goal_is_reached_by_the_median(self):
        def verdict(rates):
            results = [run_of("ephemeral-1000x16", server, number, per_cpu_second=rate)
                       for number, pair in enumerate(rates) for server, rate in zip(("lahar", "nats-server"), pair)]
            return render.goal_rows(results)[0][-1]
        self.assertEqual(verdict([(5, 1), (9, 1), (1, 1)]), "reached")
        self.assertEqual(verdict([(4, 1), (9, 1), (1, 1)]), "**not reached**")

    def test_with_curve_four_fifths_of_a_goal_will_do(self):
        fastest = cases.GOALS[0]
        latency = next(goal for goal in cases.GOALS if goal.measure == "p50")
        self.assertAlmostEqual(render.bound_of(fastest, "lahar+curve"), 4)
        self.assertAlmostEqual(render.bound_of(latency, "lahar+curve"), 2.75)
        self.assertEqual(render.bound_of(latency, "lahar"), 2.2)

    def test_what_did_not_arrive_stands_beside_what_was_promised(self):
        messages = {"sent": 1000, "lost": 3}
        results = [run_of("ephemeral-1000x1", "nats-server", 1, messages=messages, broken=0),
                   run_of("ephemeral-1000x1", "relay", 1, messages={"sent": 10, "lost": 0}, broken=0)]
        rows = render.loss_rows(results, {"promises": {"nats-server": {"ephemeral": "at most once"}}})
        self.assertEqual([row[1:4] for row in rows], [["nats-server", "at most once", "3 of 1,000"]])

    def test_every_goal_is_about_a_case_and_a_server_that_takes_part_in_it(self):
        by_name = {case.name: case for case in cases.CASES}
        for goal in cases.GOALS:
            self.assertIn(goal.measure, cases.measures_of(by_name[goal.case]))
            self.assertTrue(goal.peer is None or goal.peer in by_name[goal.case].servers)
            self.assertIn("lahar", by_name[goal.case].servers)


class Scripts(unittest.TestCase):
    def test_each_explains_itself(self):
        for name in ("compare", "baseline", "scale", "million"):
            path = os.path.join(ROOT, "bench", name)
            if not os.path.exists(path):
                continue
            done = subprocess.run([path, "--help"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"bench/{name}", done.stdout)


if __name__ == "__main__":
    unittest.main()
