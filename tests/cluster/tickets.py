"""Scenarios of tickets and kicks: who comes back without a token, and who does not. See scenarios.py."""

import os
import re
import subprocess
import time

from cluster import Cluster, bench_result, check, tcp, wait_until

SCALE = float(os.environ.get("LAHAR_SCALE", "1"))


def scaled(number):
    return max(1, int(number / SCALE))


def tokens(cluster, edge):
    return cluster.metric(edge, "lahar_edge_tokens_total")


def tickets(cluster, edge, verdict="ok"):
    return cluster.metric(edge, "lahar_edge_tickets_total", f'verdict="{verdict}"')


def log_of(cluster, name):
    with open(cluster.path(f"{name}.log"), encoding="utf-8") as file:
        return file.read()


def logs(cluster):
    return [(name, log_of(cluster, name)) for name in cluster.router_names + cluster.edge_names]


def secrets(cluster):
    """What Redis has of the keys of tickets, byte by byte in hexadecimal."""
    packed = subprocess.run(["redis-cli", "-s", cluster.path("redis.sock"), "get", "lahar:ticket_keys"], capture_output=True,
                            timeout=30).stdout.rstrip(b"\n")
    found = re.findall(rb"\x12\x20(.{32})", packed, re.DOTALL)
    check(found, "there are no keys of tickets in Redis")
    return found


def a_crowd_returns_by_ticket_and_no_signature_is_checked_twice(build):
    """An edge is killed, and while its clients come back Redis is away too."""
    cluster = Cluster(build, edges=2, edge_lines="limits:\n  sends_per_s: 0\n  address_logins_per_s: 0\n  address_accepts_per_s: 0\n")
    yield cluster
    cluster.start()
    users = scaled(2000)
    bench = cluster.bench("storm", tcp(cluster, "e1", "e2"), users=users, rate=scaled(500), seconds=8, warmup=1,
                          kill_pid=cluster.processes["e1"].pid)
    wait_until("all are in", 120, lambda: sum(cluster.metric(e, "lahar_edge_sessions") for e in ("e1", "e2")) == users)
    checked = tokens(cluster, "e2")
    there = cluster.metric("e2", "lahar_edge_sessions")
    cluster.kill("redis")
    cluster.processes["e1"].wait(60)
    storm = bench_result(bench, 180)["storm"]
    check(storm["back"] == storm["lost"] == users - there, f"{storm['back']} of {storm['lost']} came back")
    check(storm["by_ticket"] == storm["lost"], f"only {storm['by_ticket']} of {storm['lost']} by ticket")
    check(tokens(cluster, "e2") == checked, f"{tokens(cluster, 'e2') - checked:.0f} signatures were checked again")
    check(tickets(cluster, "e2") >= storm["lost"], "not all were by ticket")
    print(f"{storm['lost']} back by ticket, Redis away: p50 {storm['back_seconds']['p50']:.2f} s, "
          f"max {storm['back_seconds']['max']:.2f} s; tokens checked since: 0")


class Listener:
    """lahar listen as a user of site game."""

    def __init__(self, cluster, edge, user, device="phone"):
        self.cluster = cluster
        self.path = cluster.path(f"listen-{user}-{device}.log")
        open(self.path, "w", encoding="utf-8").close()
        self.process = cluster.spawn(f"listen-{user}-{device}", os.path.join(cluster.build, "cli", "lahar"), "--config",
                                     cluster.path("lahar.yaml"), "listen", "--site", "game", "--user", user, "--device", device,
                                     env={**os.environ, "LAHAR_CLI_SERVERS": f"tcp://127.0.0.1:{cluster.tcp_ports[edge]}"})

    def said(self):
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def gid(self):
        match = re.search(r'"event":"online","gid":"(\d+)"', self.said())
        return match and match[1]

    def kicked(self):
        return self.process.poll() is not None and "kicked" in self.said()


    def forget(self):
        """It ended as it was meant to."""
        self.cluster.processes = {n: p for n, p in self.cluster.processes.items() if p is not self.process}


def online(cluster, gid):
    return cluster.lahar("whereis", gid, fail=False).stdout.count('"online":true')


def a_kicked_user_is_gone_within_5_s_and_stays_away(build):
    """Over a restart of the router that owns him, with Redis away for a while, and after a whole site was kicked."""
    cluster = Cluster(build, routers=1, edges=2)
    yield cluster
    cluster.start()
    old = cluster.token("anna")
    anna = [Listener(cluster, "e1", "anna"), Listener(cluster, "e2", "anna", "desk")]
    bert = Listener(cluster, "e2", "bert")
    wait_until("all are online", 30, lambda: all(one.gid() for one in anna + [bert]))
    gid = anna[0].gid()
    check(online(cluster, gid) == 2, "whereis does not find both devices")

    told = cluster.lahar("kick", gid, "--device", "desk").stdout.strip()
    check(told == '{"kicked":1}', f"lahar kick --device says {told}")
    wait_until("the device is gone", 5, anna[1].kicked)
    check(online(cluster, gid) == 1, "the other device is gone, too")
    told = cluster.lahar("kick", gid).stdout.strip()
    check(told == '{"kicked":1}', f"lahar kick says {told}")
    wait_until("the user is gone", 5, anna[0].kicked)

    def refused():
        cluster.write("old.token", old.decode())
        done = cluster.lahar("listen", "--token", cluster.path("old.token"), "--device", "third", "--seconds", "2", fail=False)
        return '"event":"online"' not in done.stdout + done.stderr
    check(refused(), "a token from before the kick is accepted")
    cluster.kill("r1")
    cluster.start_router("r1")
    cluster.wait_ready("r1")
    for edge in cluster.edge_names:
        cluster.wait_ready(edge)
    check(refused(), "after a restart of the router a token from before the kick is accepted")
    again = Listener(cluster, "e1", "anna", "new")
    wait_until("a new token is good", 30, again.gid)

    told = cluster.lahar("kick", "--site", "game").stdout.strip()
    check(told == '{"kicked":2}', f"lahar kick --site says {told}")
    wait_until("all of the site are gone", 5, lambda: again.kicked() and bert.kicked())
    later = Listener(cluster, "e1", "bert", "later")
    wait_until("a new token is good", 30, later.gid)
    later.process.kill()
    for one in anna + [bert, again]:
        one.forget()


def keys_of_tickets_are_in_no_log_and_survive_what_redis_loses(build):
    """They are pushed to edges, change with time, and come back into Redis."""
    cluster = Cluster(build, edges=2, router_lines="tickets:\n  rotate_s: 600\n")
    yield cluster
    cluster.start()
    wait_until("both edges have the keys", 10, lambda: all(
        "ticket_keys" in text for name, text in logs(cluster) if name in cluster.edge_names))
    before = secrets(cluster)
    cluster.redis("del", "lahar:ticket_keys")
    wait_until("the keys are there again", 10, lambda: cluster.redis("exists", "lahar:ticket_keys") == "1")
    check(secrets(cluster) == before, "other keys are in Redis than before")
    for name, text in logs(cluster):
        for secret in before:
            check(secret.hex() not in text and secret not in text.encode(), f"{name} has written a key into its log")
