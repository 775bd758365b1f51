"""Scenarios of limits that hold for a whole cluster. See scenarios.py."""

import time

from cluster import Cluster, Swarm, bench_result, check, tcp, wait_until

LIMIT = 400  # sends a second of the site


def limited(cluster, *limits):
    cluster.lahar("site", "add", "game", "--key", cluster.path("sites", "game.pub"), *(str(word) for word in limits))


def passed(cluster):
    """Sends that each edge has let through."""
    return {e: sum(v for (m, l), v in cluster.metrics(e).items()
                   if m == "lahar_edge_sends_ended_total" and ('"passed_on"' in l or '"acked"' in l))
            for e in cluster.edge_names if cluster.processes[e].poll() is None}


def rates(cluster, seconds):
    """Of each edge, sends a second over so long."""
    before, begun = passed(cluster), time.monotonic()
    time.sleep(seconds)
    after, took = passed(cluster), time.monotonic() - begun
    return {e: (after[e] - before[e]) / took for e in after}


def a_sites_limit_holds_over_two_edges_and_goes_where_it_is_wanted(build):
    """One edge alone may use all of it; both share it; what a dead one had comes back."""
    cluster = Cluster(build, edge_lines="limits:\n  sends_per_s: 0\n")
    yield cluster
    cluster.start()
    limited(cluster, "--sends-per-s", LIMIT)
    first, second = (Swarm(cluster, [tcp(cluster, e)], 40, prefix=e) for e in ("e1", "e2"))
    for swarm in (first, second):
        swarm.all_online()
    first.tell("flow", 3 * LIMIT, 42, "ephemeral")
    time.sleep(6)
    alone = rates(cluster, 6)
    print("one of them wants it:", {e: round(r) for e, r in alone.items()})
    check(0.75 * LIMIT <= alone["e1"] <= 1.15 * LIMIT, f"e1 alone sends {alone['e1']:.0f}/s of {LIMIT}/s")
    second.tell("flow", 3 * LIMIT, 27, "ephemeral")
    time.sleep(6)
    both = rates(cluster, 6)
    print("both want it:", {e: round(r) for e, r in both.items()})
    total = sum(both.values())
    check(0.75 * LIMIT <= total <= 1.15 * LIMIT, f"both send {total:.0f}/s of {LIMIT}/s")
    check(min(both.values()) >= 0.35 * LIMIT, f"one of them is not treated as the other: {both}")
    refused = {e: cluster.metric(e, "lahar_limit_rejected_total", 'limit="site_sends_per_s"') for e in cluster.edge_names}
    check(min(refused.values()) > LIMIT, f"what was refused is not counted: {refused}")
    shares = {e: cluster.metric(e, "lahar_limit", 'limit="site_sends_per_s"') for e in cluster.edge_names}
    check(sum(shares.values()) <= LIMIT * 9 / 8, f"shares add up to more than the limit: {shares}")
    cluster.kill("e2")
    time.sleep(9)
    left = rates(cluster, 5)
    print("the other one has died:", {e: round(r) for e, r in left.items()})
    check(0.75 * LIMIT <= left["e1"] <= 1.15 * LIMIT, f"e1 sends {left['e1']:.0f}/s of {LIMIT}/s after e2's death")


def a_site_has_as_many_connections_as_its_limit_over_two_edges(build):
    cluster = Cluster(build)
    yield cluster
    cluster.start()
    limited(cluster, "--connections", 100)
    swarms = [Swarm(cluster, [tcp(cluster, e)], 100, prefix=e) for e in cluster.edge_names]

    def online():
        return sum(cluster.metric(e, "lahar_edge_sessions") for e in cluster.edge_names)
    wait_until("as many as may are online", 40, lambda: online() >= 100)
    most = 0
    for _ in range(10):
        most = max(most, online())
        time.sleep(0.5)
    check(most <= 100 * 9 / 8, f"{most:.0f} connections of a site that may have 100")
    full = sum(cluster.metric(e, "lahar_limit_rejected_total", 'limit="site_connections"') for e in cluster.edge_names)
    check(full > 0, "nobody was refused")
    # Nobody is thrown out by a lower limit, and with a higher one the others come in.
    limited(cluster, "--connections", 20)
    time.sleep(3)
    check(online() >= 100, "a lower limit has ended connections")
    limited(cluster, "--connections", 0)
    for swarm in swarms:
        swarm.all_online(90)
    print(f"at most {most:.0f} at 100, {full:.0f} refused")


def a_crowd_past_the_login_rate_is_all_in_soon_and_asks_seldom(build):
    """Three times as many as ten seconds' worth of logins, at once; each is told its turn."""
    rate, users = 100, 1500
    cluster = Cluster(build, edges=1, edge_lines=f"limits:\n  logins_per_s: {rate}\n  tickets_per_s: {rate}\n")
    yield cluster
    cluster.start()
    begun = time.monotonic()
    swarm = Swarm(cluster, [tcp(cluster, "e1")], users)
    swarm.all_online(90)
    took = time.monotonic() - begun
    refused = cluster.metric("e1", "lahar_limit_rejected_total", 'limit="logins_per_s"')
    print(f"{users} logins at {rate}/s in {took:.1f} s, {refused:.0f} refused")
    check(users / rate - 2 <= took <= 3 * users / rate, f"{users} logins at {rate}/s took {took:.1f} s")
    check(users / 2 <= refused <= 3 * users, f"{refused} times somebody was refused")
    closed = cluster.metric("e1", "lahar_edge_closed_total", 'reason="busy"')
    check(closed == refused, f"{refused} were refused, {closed} were told BUSY")


def an_overloaded_edge_keeps_newcomers_out_and_serves_who_is_in(build):
    """Turns of 1 ms count as overload here, so that a little traffic is enough."""
    cluster = Cluster(build, edges=1, edge_lines="overload:\n  turn_ms: 1\n  accepts: 20\n  logins: 200\n  ephemeral: 200\n"
                      "limits:\n  sends_per_s: 0\n")
    yield cluster
    cluster.start()
    users = {"users": 300, "warmup": 1, "in_flight": 32}
    bench = cluster.bench("unicast", tcp(cluster, "e1"), seconds=10, **users)
    wait_until("the edge is overloaded", 10, lambda: cluster.metric("e1", "lahar_edge_overload_class") >= 1, 0.05)
    swarm = Swarm(cluster, [tcp(cluster, "e1")], 50)
    wait_until("newcomers are refused", 10,
               lambda: cluster.metric("e1", "lahar_limit_rejected_total", 'limit="overload"') > 0, 0.1)
    bench_result(bench)  # fails if a connection was lost
    swarm.all_online(40)
    wait_until("the edge has recovered", 10, lambda: cluster.metric("e1", "lahar_edge_overload_class") == 0)
    refused = cluster.metric("e1", "lahar_limit_rejected_total", 'limit="overload"')
    print(f"newcomers were refused {refused:.0f} times, nobody else lost anything")
