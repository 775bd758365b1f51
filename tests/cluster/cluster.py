"""A private cluster of real daemons with a real Redis, for the scenarios.

Everything lives in one temporary folder and on ports that the kernel chose; every process is ended by its pid. Build
folder: the first argument of the scenario programs."""

import contextlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time


class Failure(Exception):
    """A claim that did not hold."""


def check(claim, text):
    if not claim:
        raise Failure(text)


def wait_until(what, seconds, condition, every=0.05):
    """Returns the first true value of condition(); fails after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(every)


def free_ports(count):
    """Below those that the kernel gives to whoever connects: thousands of clients must not take one before its server does."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        below = max(int(file.read().split()[0]), 12000)
    sockets = []
    while len(sockets) < count:
        with contextlib.suppress(OSError):
            sockets.append(socket.create_server(("127.0.0.1", random.randrange(10000, below))))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Cluster:
    def __init__(self, build, routers=2, shards=2, edges=2, curve=True, edge_lines="", router_lines="", tls_lines="", env=None):
        self.build = build
        self.dir = tempfile.mkdtemp(prefix="lahar-cluster-")
        self.processes = {}
        self.curve = curve
        self.env = {**os.environ, **(env or {})}
        self.router_names = [f"r{i + 1}" for i in range(routers)]
        self.edge_names = [f"e{i + 1}" for i in range(edges)]
        ports = iter(free_ports(routers * (shards + 1) + edges * 7))
        self.shards = {f"{r}/{s}": next(ports) for r in self.router_names for s in range(shards)}
        self.ops_ports = {name: next(ports) for name in self.router_names + self.edge_names}
        self.tcp_ports = {name: next(ports) for name in self.edge_names}
        self.tls_ports = {name: next(ports) for name in self.edge_names}
        self.ws_ports = {name: next(ports) for name in self.edge_names}
        self.wss_ports = {name: next(ports) for name in self.edge_names}
        self.proxied_ports = {name: next(ports) for name in self.edge_names}  # WebSocket behind a PROXY header
        self.proxied_tls_ports = {name: next(ports) for name in self.edge_names}  # the same over TLS
        self.edge_lines, self.router_lines, self.tls_lines = edge_lines, router_lines, tls_lines
        self.edge_descriptors = 0  # their limit (ulimit -n); 0: as it is
        self.write_config()

    # ---- files -----------------------------------------------------------------------------------

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def write_config(self):
        shards = "".join(f"    - {name}=tcp://127.0.0.1:{port}\n" for name, port in self.shards.items())
        common = f"cluster:\n  name: test\n  shards:\n{shards}"
        link = f"link:\n  curve: {str(self.curve).lower()}\n  keys: {self.dir}/keys\n"
        for name in self.router_names:
            self.write(f"{name}.yaml", f"name: {name}\n{common}redis:\n  address: unix:{self.dir}/redis.sock\n{link}"
                       f"ops:\n  listen: 127.0.0.1:{self.ops_ports[name]}\n{self.router_lines}")
        for name in self.edge_names:
            self.write(f"{name}.yaml", f"name: {name}\n{common}{link}"
                       f"listen:\n  - tcp://127.0.0.1:{self.tcp_ports[name]}\n  - tls://127.0.0.1:{self.tls_ports[name]}\n"
                       f"  - ws://127.0.0.1:{self.ws_ports[name]}\n  - wss://127.0.0.1:{self.wss_ports[name]}\n"
                       f"  - ws+proxy://127.0.0.1:{self.proxied_ports[name]}\n  - wss+proxy://127.0.0.1:{self.proxied_tls_ports[name]}\n"
                       f"proxy:\n  from: [127.0.0.0/9]\n"
                       f"tls:\n  certificate: {self.dir}/tls/edge.pem\n  key: {self.dir}/tls/edge-tls.key\n{self.tls_lines.format(dir=self.dir)}"
                       f"ops:\n  listen: 127.0.0.1:{self.ops_ports[name]}\n{self.edge_lines}")
        self.write("lahar.yaml", f"servers: tcp://127.0.0.1:{self.tcp_ports[self.edge_names[0]]}\n{common}{link}"
                   f"tls:\n  ca: {self.dir}/tls/ca.pem\nsites:\n  keys: {self.dir}/sites\n")

    # ---- processes -------------------------------------------------------------------------------

    def spawn(self, name, *command, **options):
        log = open(self.path(f"{name}.log"), "a")
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options)
        log.close()
        self.processes[name] = process
        return process

    def start_redis(self):
        self.spawn("redis", "redis-server", "--port", "0", "--unixsocket", self.path("redis.sock"), "--dir", self.dir,
                   "--save", "", "--appendonly", "yes", "--appendfsync", "always",
                   "--hash-max-listpack-entries", "512")
        wait_until("Redis answers", 20, lambda: self.redis("ping", fail=False) == "PONG")

    def start_router(self, name):
        self.spawn(name, os.path.join(self.build, "lahar-router"), "--config", self.path(f"{name}.yaml"), env=self.env)

    def start_edge(self, name):
        limit = ["prlimit", f"--nofile={self.edge_descriptors}"] if self.edge_descriptors else []
        self.spawn(name, *limit, os.path.join(self.build, "lahar-edge"), "--config", self.path(f"{name}.yaml"), env=self.env)

    def start(self):
        self.lahar("keygen", "link", self.path("keys"))
        self.lahar("keygen", "tls", self.path("tls"), "localhost", "127.0.0.1")
        self.lahar("keygen", "site", self.path("sites"), "game")
        self.start_redis()
        for name in self.router_names:
            self.start_router(name)
        for name in self.edge_names:
            self.start_edge(name)
        for name in self.router_names + self.edge_names:
            self.wait_ready(name)
        self.lahar("site", "add", "game", "--key", self.path("sites", "game.pub"))

    def signal(self, name, number):
        self.processes[name].send_signal(number)

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def terminate(self, name, seconds=30):
        """SIGTERM; returns the exit code."""
        self.processes[name].terminate()
        return self.processes[name].wait(seconds)

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def clean(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- asking ----------------------------------------------------------------------------------

    def lahar(self, *args, fail=True, env=None):
        done = subprocess.run([os.path.join(self.build, "cli", "lahar"), "--config", self.path("lahar.yaml"), *args]
                              if os.path.exists(self.path("lahar.yaml")) else [],
                              capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=60)
        if fail and done.returncode != 0:
            raise Failure(f"lahar {' '.join(args)}: exit {done.returncode}: {done.stderr.strip()} {done.stdout.strip()}")
        return done

    def token(self, user, site="game"):
        return self.lahar("token", "--site", site, "--user", user).stdout.strip().encode()

    def bench(self, workload, servers, **options):
        """Begins lahar-bench on users of site game; see bench_result."""
        command = [os.path.join(self.build, "bench", "lahar-bench"), workload, "--json", "--servers", servers, "--site", "game",
                   "--key", self.path("sites", "game.key"), "--cluster", "test", "--ca", self.path("tls", "ca.pem")]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open(self.path("bench.log"), "a"), text=True)
        self.processes[f"bench-{len(self.processes)}"] = process
        return process

    def redis(self, *args, fail=True):
        done = subprocess.run(["redis-cli", "-s", self.path("redis.sock"), *args], capture_output=True, text=True,
                              timeout=30)
        if fail and done.returncode != 0:
            raise Failure(f"redis-cli {' '.join(args)}: {done.stderr} {done.stdout}")
        return done.stdout.strip()

    def get(self, name, path):
        """(status, body) of an ops page; (0, "") if nobody listens."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.ops_ports[name], timeout=5)
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self, name, seconds=30):
        def ready():
            if self.processes[name].poll() is not None:
                raise Failure(f"{name} has ended with {self.processes[name].returncode}")
            return self.get(name, "/readyz")[0] == 200
        wait_until(f"{name} is ready", seconds, ready)

    def metrics(self, name):
        """{(metric name, labels without the worker): sum over the workers}"""
        status, text = self.get(name, "/metrics")
        check(status == 200, f"{name}: /metrics answers {status}")
        sums = {}
        for line in text.splitlines():
            match = re.match(r"([a-z_0-9]+)(?:\{(.*)\})? ([0-9.e+]+)$", line)
            if match:
                labels = ",".join(part for part in (match[2] or "").split(",") if not part.startswith("worker="))
                key = (match[1], labels)
                sums[key] = sums.get(key, 0) + float(match[3])
        return sums

    def metric(self, name, metric, labels=None):
        return sum(v for (m, l), v in self.metrics(name).items() if m == metric and (labels is None or labels in l))

    # ---- ledgers ---------------------------------------------------------------------------------

    def living(self):
        return [n for n in self.router_names + self.edge_names if self.processes[n].poll() is None]

    def ledger_gaps(self):
        """Of sends and deliveries: what does not add up, as text; empty if every ledger comes to 0."""
        gaps = []
        for name in self.living():
            values = self.metrics(name)
            kind = "router" if name in self.router_names else "edge"
            for what, begun in (("sends", "accepted"), ("deliveries", "made")):
                prefix = f"lahar_{kind}_{what}"
                total = sum(v for (m, _), v in values.items() if m == f"{prefix}_{begun}_total")
                ends = sum(v for (m, _), v in values.items() if m == f"{prefix}_ended_total")
                in_flight = sum(v for (m, _), v in values.items() if m == f"{prefix}_in_flight")
                if total - ends - in_flight != 0:
                    gaps.append(f"{name} {what}: {total:.0f} - {ends:.0f} - {in_flight:.0f}")
        return "; ".join(gaps)

    def link_ledger(self):
        """Frames (sent or dropped by the sender, received or counted as lost) by all that live."""
        sent = ended = 0
        for name in self.living():
            values = self.metrics(name)
            sent += sum(v for (m, _), v in values.items() if re.fullmatch("lahar_link_frames_(sent|dropped)_total", m))
            ended += sum(v for (m, _), v in values.items()
                         if re.fullmatch("lahar_link_frames_(received|lost|stale)_total", m))
        return sent, ended

    def check_ledgers(self, seconds=15):
        """All ledgers come to 0 once it is quiet. Some frames flow always (digests), so of the links' it is shown that what
        was sent by now has ended a little later, and that no more has ended than was sent."""
        gaps = ["?"]

        def closed():
            gaps[0] = self.ledger_gaps()
            return not gaps[0]
        try:
            wait_until("ledgers", seconds, closed, 0.3)
        except Failure as failure:
            raise Failure(f"ledgers do not come to 0: {gaps[0]}") from failure
        sent_before, _ = self.link_ledger()
        time.sleep(2.5)
        _, ended = self.link_ledger()
        time.sleep(2.5)
        sent_after, _ = self.link_ledger()
        check(sent_before <= ended <= sent_after,
              f"the ledger of links leaks: {sent_before} sent, later {ended} ended, later {sent_after} sent")

    def redis_writes(self):
        """How often Redis was told to change presence."""
        stats = self.redis("info", "commandstats")
        return sum(int(m[2]) for m in re.finditer(r"cmdstat_(hset|hdel|unlink|del|hmset):calls=(\d+)", stats))

    def presence_records(self):
        """Records of presence in Redis."""
        script = ("local n=0; local c='0'; repeat local r=redis.call('SCAN',c,'MATCH','lahar:{*}p*','COUNT',1000); c=r[1]; "
                  "for _,k in ipairs(r[2]) do n=n+redis.call('HLEN',k) end until c=='0'; return n")
        return int(self.redis("eval", script, "0"))


def bench_result(process, seconds=120):
    """What it measured; fails if it could not, or if a promise was broken."""
    text, _ = process.communicate(timeout=seconds)
    check(process.returncode == 0, f"lahar-bench: exit {process.returncode}: {text.strip()}")
    return json.loads(text)


class Swarm:
    """Many users in one process: see swarm.c."""

    def __init__(self, cluster, servers, users, devices=1, prefix="user", same_device=False):
        self.process = subprocess.Popen(
            [os.path.join(cluster.build, "tests", "cluster", "swarm"), "--servers", ";".join(servers),
             "--key", cluster.path("sites", "game.key"), "--site", "game", "--cluster", "test",
             "--ca", cluster.path("tls", "ca.pem"), "--users", str(users), "--devices", str(devices),
             "--prefix", prefix, *(["--same-device"] if same_device else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(cluster.path("swarm.log"), "a"), text=True)
        cluster.processes[f"swarm-{prefix}-{id(self)}"] = self.process

    def tell(self, *words):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        check(line, f"the swarm has ended ({self.process.poll()})")
        return json.loads(line)

    def ask(self, *words):
        self.tell(*words)
        return self.hear()

    def all_online(self, seconds=60):
        state = self.ask("online", seconds)
        check(state["online"] == state["of"], f"only {state} online after {seconds} s")

    def check_verdict(self, allowed=()):
        """Fails if a promise was broken; returns the verdict."""
        verdict = self.ask("verdict")
        for broken in ("open", "lost", "false_nack", "doubled", "misrouted", "altered", "disordered"):
            check(broken in allowed or verdict[broken] == 0, f"{broken}: {verdict}")
        return verdict


def tcp(cluster, *edges):
    return ",".join(f"tcp://127.0.0.1:{cluster.tcp_ports[e]}" for e in edges)


def tls(cluster, *edges):
    return ",".join(f"tls://127.0.0.1:{cluster.tls_ports[e]}" for e in edges)


def ws(cluster, *edges):
    return ",".join(f"ws://127.0.0.1:{cluster.ws_ports[e]}/" for e in edges)


def wss(cluster, *edges):
    return ",".join(f"wss://127.0.0.1:{cluster.wss_ports[e]}/" for e in edges)
