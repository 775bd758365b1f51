#!/usr/bin/env python3
"""Scenarios against real daemons and a real Redis, named by what must hold.

    scenarios.py BUILD NAME     runs one; exit code 0 if it held; else says what did not, and keeps the logs
    scenarios.py --list         all names; --alone: of those that judge latencies or CPU time, which nothing may run beside

LAHAR_SCALE (default 1) divides the numbers, for slow builds: with 10, a tenth of the messages and sessions."""

import inspect
import os
import random
import signal
import sys
import time

import chat
import fair
import front_door
import tickets
import websockets
from cluster import Cluster, Failure, Swarm, check, tcp, tls, wait_until, ws, wss

SCALE = float(os.environ.get("LAHAR_SCALE", "1"))


def scaled(number):
    return max(1, int(number / SCALE))


def everyone_reaches_everyone_and_the_ledgers_close(build):
    """200 users over TCP, TLS and WebSocket on both edges, several devices for some, random pairs in both classes."""
    cluster = Cluster(build, edge_lines="limits:\n  sends_per_s: 0\n")
    yield cluster
    cluster.start()
    swarm = Swarm(cluster, [tcp(cluster, "e1"), tls(cluster, "e2"), ws(cluster, "e2"), wss(cluster, "e1")], 200, devices=3)
    swarm.all_online()
    swarm.ask("messages", scaled(50000), "confirmed", 400)
    swarm.ask("settle", 30)
    swarm.ask("messages", scaled(50000), "ephemeral", 400)
    swarm.ask("settle", 10)
    verdict = swarm.check_verdict()
    check(verdict["delivered"] == scaled(50000), f"not all were delivered: {verdict}")
    check(verdict["ephemeral_lost"] == 0, f"ephemeral messages were lost on a cluster without faults: {verdict}")
    cluster.check_ledgers()
    print(verdict)


def gids_online(cluster, gids):
    """How many of these the cluster reports online."""
    return sum('"online":true' in cluster.lahar("whereis", gid, fail=False).stdout for gid in gids)


def a_killed_edge_takes_its_sessions_offline_within_8_s_at_hardly_a_write(build):
    cluster = Cluster(build, edge_lines="limits:\n  addresses: 0\n")
    yield cluster
    cluster.start()
    swarms = [Swarm(cluster, [tcp(cluster, "e1")], scaled(5000), prefix=p) for p in ("a", "b")]
    for swarm in swarms:
        swarm.all_online(120)
    sample = random.sample([g for s in swarms for g in s.ask("gids")["gids"]], 20)
    check(gids_online(cluster, sample) == 20, "whereis does not find those who are online")
    time.sleep(2)
    for swarm in swarms:
        swarm.process.kill()
    cluster.kill("e1")
    killed = time.monotonic()
    writes = cluster.redis_writes()
    time.sleep(8 - (time.monotonic() - killed))
    online = sum(cluster.metric(r, "lahar_router_sessions_online") for r in cluster.router_names)
    check(online == 0, f"{online} sessions are reported online 8 s after their edge died")
    check(gids_online(cluster, sample) == 0, "whereis reports users online 8 s after their edge died")
    time.sleep(max(0, 10 - (time.monotonic() - killed)))
    written = cluster.redis_writes() - writes
    check(written <= 10, f"{written} writes to Redis in the first 10 s because an edge died")
    print(f"{2 * scaled(5000)} sessions; {written} writes in 10 s")


def a_killed_edge_under_load_loses_no_acked_message(build):
    cluster = Cluster(build, edge_lines="limits:\n  sends_per_s: 0\n")
    yield cluster
    cluster.start()
    both = [tcp(cluster, "e1", "e2"), tcp(cluster, "e2", "e1")]
    swarm = Swarm(cluster, both, scaled(1000))
    swarm.all_online(60)
    swarm.tell("flow", 2000, 12, "confirmed")
    time.sleep(3)
    cluster.kill("e1")
    time.sleep(4)
    cluster.start_edge("e1")
    print(swarm.hear())
    swarm.all_online(60)
    swarm.ask("settle", 45)
    verdict = swarm.check_verdict()
    check(verdict["delivered"] > 0.5 * verdict["sent"], f"too few were delivered: {verdict}")
    print(verdict)


def a_killed_router_keeps_its_users_and_nobody_is_called_offline(build):
    cluster = Cluster(build, edge_lines="limits:\n  sends_per_s: 0\n")
    yield cluster
    cluster.start()
    swarm = Swarm(cluster, [tcp(cluster, "e1"), tcp(cluster, "e2")], scaled(1000))
    swarm.all_online(60)
    logins = swarm.ask("verdict")["logins"]
    swarm.tell("flow", 1000, 14, "confirmed")
    time.sleep(3)
    cluster.kill("r1")
    time.sleep(1)
    cluster.start_router("r1")
    swarm.hear()
    swarm.ask("settle", 40)
    verdict = swarm.check_verdict()
    check(verdict["logins"] == logins, f"users had to log in again: {logins} before, {verdict['logins']} now")
    check("offline" not in verdict["reasons"], f"someone who was online was called offline: {verdict}")
    # Reachable: everybody hears one message more.
    swarm.ask("messages", scaled(2000), "confirmed", 100)
    swarm.ask("settle", 20)
    after = swarm.check_verdict()
    check(after["delivered"] - verdict["delivered"] == scaled(2000), f"not everyone is reachable: {after}")
    print(after)


def confirmed_goes_on_without_redis(build, flush=False):
    cluster = Cluster(build, edge_lines="limits:\n  sends_per_s: 0\n")
    yield cluster
    cluster.start()
    users = scaled(1000)
    swarm = Swarm(cluster, [tcp(cluster, "e1"), tcp(cluster, "e2")], users)
    swarm.all_online(60)
    wait_until("presence in Redis", 10, lambda: cluster.presence_records() == users)
    swarm.tell("flow", 500, 14, "confirmed")
    time.sleep(2)
    if flush:
        # Its keys are gone when it comes back, but not the identities.
        cluster.redis("eval", "local c='0'; repeat local r=redis.call('SCAN',c,'MATCH','lahar:{*}p*','COUNT',1000); c=r[1]; "
                      "for _,k in ipairs(r[2]) do redis.call('DEL',k) end until c=='0'; return 1", "0")
    cluster.kill("redis")
    time.sleep(10)
    cluster.start_redis()
    back = time.monotonic()
    wait_until("presence in Redis is whole again", 10, lambda: cluster.presence_records() == users)
    took = time.monotonic() - back
    swarm.hear()
    swarm.ask("settle", 30)
    verdict = swarm.check_verdict()
    check(verdict["delivered"] == verdict["sent"], f"not everything was delivered without Redis: {verdict}")
    # Logins work again.
    late = Swarm(cluster, [tcp(cluster, "e1")], 20, prefix="late")
    late.all_online(30)
    print(f"whole after {took:.1f} s; {verdict}")


def confirmed_goes_on_without_redis_whose_presence_is_gone(build):
    yield from confirmed_goes_on_without_redis(build, flush=True)


def a_lossy_link_costs_time_and_no_message(build):
    """Every hundredth batch is lost in either direction."""
    cluster = Cluster(build, edge_lines="limits:\n  sends_per_s: 0\n",
                      env={"LAHAR_EDGE_LINK_FAULT_DROP_EVERY": "100", "LAHAR_ROUTER_LINK_FAULT_DROP_EVERY": "100"})
    yield cluster
    cluster.start()
    swarm = Swarm(cluster, [tcp(cluster, "e1"), tcp(cluster, "e2")], 200)
    swarm.all_online(60)
    swarm.ask("messages", scaled(20000), "confirmed", 400)
    swarm.ask("settle", 45)
    verdict = swarm.check_verdict()
    check(verdict["delivered"] == scaled(20000), f"not everything was delivered over lossy links: {verdict}")
    lost = sum(cluster.metric(n, "lahar_link_frames_lost_total") for n in cluster.router_names + cluster.edge_names)
    check(lost > 0, "no frame was lost: the fault point does nothing")
    cluster.check_ledgers(30)
    print(f"{lost:.0f} frames lost; {verdict}")


def a_device_has_one_session(build):
    cluster = Cluster(build, edge_lines="limits:\n  sends_per_s: 0\n")
    yield cluster
    cluster.start()
    swarm = Swarm(cluster, [tcp(cluster, "e1"), tcp(cluster, "e2")], 10, devices=2, same_device=True)
    rounds = scaled(1000)
    time.sleep(3)
    result = swarm.ask("duel", rounds)
    swarm.ask("settle", 40)
    verdict = swarm.check_verdict()
    check(result["late"] == 0, f"in {result['late']} of {rounds} rounds there was not one survivor within 2 s")
    check(verdict["replaced"] >= rounds / 2, f"too few were told REPLACED: {verdict}")
    print(result, verdict)


def a_stranger_waits_until_it_is_allowed(build):
    cluster = Cluster(build, routers=1, edges=2)
    yield cluster
    cluster.start()
    # e2 comes with a key of its own that no router knows.
    cluster.terminate("e2")
    cluster.lahar("keygen", "link", cluster.path("other"))
    os.replace(cluster.path("other", "routers.allow"), cluster.path("other", "unused"))
    with open(cluster.path("keys", "routers.allow")) as known, open(cluster.path("other", "routers.allow"), "w") as copy:
        copy.write(known.read())
    cluster.write("e2.yaml", open(cluster.path("e2.yaml")).read().replace(f"{cluster.dir}/keys", f"{cluster.dir}/other"))
    time.sleep(2)  # counts are published each second
    up = cluster.metric("r1", "lahar_link_peers_up_total")
    cluster.start_edge("e2")
    time.sleep(4)
    check(cluster.get("e2", "/readyz")[0] == 503, "an edge that no router knows calls itself ready")
    check(cluster.metric("r1", "lahar_link_peers_up_total") == up, "a stranger came up on a router's link")
    check(cluster.metric("e2", "lahar_link_frames_received_total") == 0, "a stranger received frames")
    check(cluster.metric("e2", "lahar_link_handshakes_refused_total") > 0, "refused handshakes are not counted")
    with open(cluster.path("other", "edges.allow")) as theirs, open(cluster.path("keys", "edges.allow"), "a") as ours:
        ours.write(theirs.read())
    cluster.signal("r1", signal.SIGHUP)
    cluster.wait_ready("e2", 10)


def leaving_daemons_say_goodbye_and_exit_with_0(build):
    cluster = Cluster(build)
    yield cluster
    cluster.start()
    swarm = Swarm(cluster, [tcp(cluster, "e1", "e2")], 200)
    swarm.all_online()
    check(cluster.terminate("e1") == 0, "an edge did not exit with 0 on SIGTERM")
    swarm.all_online(30)
    cluster.start_edge("e1")
    cluster.wait_ready("e1")
    check(cluster.terminate("r1") == 0, "a router did not exit with 0 on SIGTERM")
    cluster.start_router("r1")
    cluster.wait_ready("r1", 15)
    wait_until("messages flow", 20, lambda: swarm.ask("messages", 100, "confirmed", 50)["sent"] == 100)
    swarm.ask("settle", 20)
    swarm.check_verdict()


SCENARIOS = [value for names, module in ((globals(), "__main__"), (vars(front_door), "front_door"),
                                           (vars(fair), "fair"), (vars(websockets), "websockets"),
                                           (vars(tickets), "tickets"), (vars(chat), "chat"))
             for value in list(names.values()) if inspect.isgeneratorfunction(value) and value.__module__ == module]

ALONE = {s.__name__ for s in (front_door.dribblers_are_gone_within_12_s_and_cost_little,
                              front_door.a_client_that_stops_reading_is_closed_and_others_see_nothing,
                              front_door.without_descriptors_the_established_stay_and_nothing_spins,
                              fair.an_overloaded_edge_keeps_newcomers_out_and_serves_who_is_in)}


def main():
    if sys.argv[1:] in (["--list"], ["--alone"]):
        print("\n".join(s.__name__ for s in SCENARIOS if sys.argv[1] == "--list" or s.__name__ in ALONE))
        return 0
    build, name = sys.argv[1:]
    scenario = next(s for s in SCENARIOS if s.__name__ == name)
    steps = scenario(build)
    cluster = next(steps)
    try:
        for _ in steps:
            pass
        held = True
    except (Failure, OSError, ValueError) as failure:
        print(f"{name}: {failure}")
        held = False
    finally:
        cluster.stop()
    bad_ends = [f"{n}: exit {p.returncode}" for n, p in cluster.processes.items()
                if p.returncode not in (0, -signal.SIGKILL, -signal.SIGTERM)]
    if bad_ends:
        print("; ".join(bad_ends))
    if not held or bad_ends:
        print(f"the logs are in {cluster.dir}")
        return 1
    cluster.clean()
    return 0


if __name__ == "__main__":
    sys.exit(main())
