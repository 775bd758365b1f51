"""The stand that everything is measured on: servers pinned to one core, the generator to another, all of them private.

Everything lives in one temporary folder and on ports from a base upwards; every process is ended by its pid."""

import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# More than this of the machine used by others is a disturbance.
DISTURBED = 0.05


# What an edge takes from everybody, from an address and from a device: all clients here are one machine.
LIFTED = ("sends_per_s", "accepts_per_s", "handshakes_per_s", "logins_per_s", "tickets_per_s", "checks_a_turn", "logins_waiting",
          "addresses", "address_connections", "address_accepts_per_s", "address_logins_per_s", "address_sends_per_s")


def settings_of(edge):
    return subprocess.run([edge, "--print-config"], stdout=subprocess.PIPE, text=True, check=True).stdout


def unlimited(edge):
    """The section of settings that lifts what this build of lahar-edge limits (an older one has fewer), overload too; ends
    within limits:."""
    known = settings_of(edge)
    overload = "overload:\n  accepts: 1000\n  logins: 1000\n  ephemeral: 1000\n" if "\noverload:" in known else ""
    return overload + "limits:\n" + "".join(f"  {key}: 0\n" for key in LIFTED if f"  #{key}: " in known)


class Trouble(Exception):
    """It cannot be measured, and why."""


def say(text):
    print(text, flush=True)


def run(*command, **options):
    """Its output; Trouble if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Trouble(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def wait_until(what, seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Trouble(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def packages(kind):
    """Installs what is missing, which deploy/packages says."""
    if subprocess.run([os.path.join(ROOT, "deploy", "packages"), kind]).returncode != 0:
        raise Trouble("packages are missing")


def build(source, folder, what="lahar-edge lahar-router lahar lahar-bench"):
    """A release build of `source` in `folder`."""
    os.makedirs(folder, exist_ok=True)
    say(f"building {os.path.relpath(folder)}")
    run("cmake", "-S", source, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF")
    run("ninja", "-C", folder, *what.split())
    return folder


def commit_of(source):
    try:
        dirty = run("git", "-C", source, "status", "--porcelain", "--untracked-files=no").strip()
        return run("git", "-C", source, "rev-parse", "--short=12", "HEAD").strip() + (" and changes" if dirty else "")
    except Trouble:
        return "unknown"


def machine():
    """What the figures depend on besides the programs."""
    def first(path, pattern):
        with open(path) as file:
            match = re.search(pattern, file.read())
        return match[1].strip() if match else "unknown"
    return {
        "cpu": first("/proc/cpuinfo", r"model name\s*: (.*)"),
        "cores": os.cpu_count(),
        "memory_gib": round(int(first("/proc/meminfo", r"MemTotal:\s*(\d+)")) / 2**20, 1),
        "kernel": os.uname().release,
        "system": first("/etc/os-release", r'PRETTY_NAME="(.*)"'),
        "load": os.getloadavg()[0],
    }


def session(the_stand, program, options, peers=False):
    """What there is to say about the results of this run of a script; commands are filled in as they are given."""
    options = [option.replace(the_stand.build, "$BUILD") for option in options]
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return {"id": date, "date": date, "commit": commit_of(ROOT), "machine": machine(),
            "versions": versions(the_stand.build, peers), "command": " ".join([program, *options]),
            "commands": the_stand.commands, "configurations": the_stand.configurations}


def versions(build_folder, peers):
    """Of all programs that take part."""
    found = {"lahar": run(os.path.join(build_folder, "lahar-edge"), "--version").strip()}
    commands = {"redis-server": ["redis-server", "--version"], "openssl": ["openssl", "version"]}
    if peers:
        commands["nats-server"] = ["nats-server", "--version"]
    for name, command in commands.items():
        found[name] = run(*command).strip()
    if peers:
        found["mosquitto"] = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True).stdout.split("\n")[0]
    return {name: re.search(r"\d+(?:\.\d+)+", text)[0] for name, text in found.items()}


def ticks_of(pids):
    """CPU time that these processes have used, in ticks; 0 for those that are gone."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        except (OSError, IndexError):
            pass
    return total


def busy_ticks():
    """Of all cores: what was used, by us and by others, and all there was."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def memory_available():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


class Server:
    """What is driven: one or more processes that are one server to the generator."""

    def __init__(self, name, target, tcp, processes, tls=None, ws=None, redis=None, options=(), promises=None):
        self.name, self.target = name, target
        self.servers = {"tcp": tcp, "tls": tls, "ws": ws,
                        "tcp and ws": [server for pair in zip(tcp, ws or []) for server in pair]}
        self.processes, self.redis = processes, redis
        self.options = list(options)
        self.promises = promises or {"ephemeral": "at most once"}

    def pids(self):
        return ",".join(str(process.pid) for process in self.processes)

    def arguments(self, transport="tcp"):
        given = ["--target", self.target, "--servers", ",".join(self.servers[transport]), "--pids", self.pids(), *self.options]
        if self.redis:
            given += ["--redis-pid", str(self.redis.pid)]
        return given


class Stand:
    def __init__(self, build_folder, base_port=18700, server_cores="0", generator_cores="1", keep=False):
        self.build = build_folder
        self.next_port = base_port
        self.server_cores, self.generator_cores = server_cores, generator_cores
        self.keep = keep
        self.dir = tempfile.mkdtemp(prefix="lahar-stand-")
        self.processes = []
        self.commands, self.configurations = {}, {}
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def __enter__(self):
        def leave(number, frame):
            raise KeyboardInterrupt
        signal.signal(signal.SIGTERM, leave)
        return self

    def __exit__(self, *error):
        self.stop(*reversed(self.processes))
        if self.keep:
            say(f"logs are in {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        self.configurations[name] = text.replace(self.dir, "$DIR").rstrip().split("\n")
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def port(self):
        """One that nobody listens on."""
        while True:
            port = self.next_port
            self.next_port += 1
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue

    # ---- processes -------------------------------------------------------------------------------

    def start(self, name, *command, cores=None):
        full = ["taskset", "-c", cores or self.server_cores, *command]
        self.commands[name] = " ".join(full).replace(self.dir, "$DIR").replace(self.build, "$BUILD")
        with open(self.path(name.replace("/", "-") + ".log"), "w") as log:
            process = subprocess.Popen(full, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        process.log = log.name
        self.processes.append(process)
        return process

    def stop(self, *processes):
        """Together, so that the drains of all take the time of one."""
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self.processes = [other for other in self.processes if other is not process]

    def listening(self, process, port, what):
        def listens():
            if process.poll() is not None:
                with open(process.log) as log:
                    raise Trouble(f"{what} has ended: {log.read()[-1000:]}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_until(f"{what} listens", 30, listens)

    def ready(self, process, port, what):
        def answers():
            if process.poll() is not None:
                with open(process.log) as log:
                    raise Trouble(f"{what} has ended: {log.read()[-1000:]}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False
        wait_until(f"{what} is ready", 60, answers)

    # ---- the peers -------------------------------------------------------------------------------

    def certificate(self):
        """(certificate, key) for 127.0.0.1."""
        if not os.path.exists(self.path("tls")):
            self.lahar("keygen", "tls", self.path("tls"), "localhost", "127.0.0.1")
        return self.path("tls", "edge.pem"), self.path("tls", "edge-tls.key")

    def relay(self):
        port = self.port()
        process = self.start("relay", os.path.join(self.build, "bench", "lahar-bench"), "relay",
                             "--listen", f"127.0.0.1:{port}")
        self.listening(process, port, "the relay")
        return Server("relay", "relay", [f"127.0.0.1:{port}"], [process])

    def nats(self):
        port = self.port()
        config = self.write("nats.conf", f"host: 127.0.0.1\nport: {port}\nmax_connections: 1000000\n")
        process = self.start("nats-server", "nats-server", "-c", config)
        self.listening(process, port, "nats-server")
        return Server("nats-server", "nats", [f"127.0.0.1:{port}"], [process])

    def mosquitto(self):
        port, tls = self.port(), self.port()
        certificate, key = self.certificate()
        # Its defaults would drop what is more than 1,000 messages behind or 20 in flight to one client.
        # Started by root it would give itself to a user who cannot read our key.
        user = "user root\n" if os.getuid() == 0 else ""
        config = self.write("mosquitto.conf",
                            f"{user}allow_anonymous true\npersistence false\nset_tcp_nodelay true\nmax_inflight_messages 65535\n"
                            "max_queued_messages 1000000\nlog_type error\nlog_dest stderr\n"
                            f"listener {port} 127.0.0.1\nmax_connections -1\n"
                            f"listener {tls} 127.0.0.1\nmax_connections -1\ncertfile {certificate}\nkeyfile {key}\n"
                            "tls_version tlsv1.3\n")
        process = self.start("mosquitto", "mosquitto", "-c", config)
        self.listening(process, port, "mosquitto")
        return Server("mosquitto", "mqtt", [f"127.0.0.1:{port}"], [process], tls=[f"tls://127.0.0.1:{tls}"],
                      promises={"ephemeral": "QoS 0, at most once",
                                "confirmed": "QoS 1, at least once; its ack says that the broker has it"})

    def redis_pubsub(self):
        port = self.port()
        process = self.start("redis-server", "redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "",
                             "--appendonly", "no", "--maxclients", "100000", "--dir", self.dir)
        self.listening(process, port, "Redis")
        return Server("redis pub/sub", "redis", [f"127.0.0.1:{port}"], [process])

    # ---- Lahar -----------------------------------------------------------------------------------

    def lahar(self, *arguments, config=None):
        given = ["--config", config] if config else []
        return run(os.path.join(self.build, "cli", "lahar"), *given, *arguments, timeout=120)

    def cluster(self, name, curve=False, shards=1, routers=1, edges=2, edge_lines="", router_lines="",
                build_folder=None, connections=None, window="4MiB"):
        """Redis, routers with `shards` shards together, edges, each with a TCP, a TLS and a WebSocket port (an older one has none). The
        window is wider than by
        default: 16,000 messages that all start at once are more than a MiB, and EPHEMERAL is shed without credit."""
        folder = build_folder or self.build
        keys, sites, tls = self.path("keys"), self.path("sites"), self.certificate()
        if not os.path.exists(keys):
            self.lahar("keygen", "link", keys)
            self.lahar("keygen", "site", sites, "bench")
        dir_of = self.path(name)
        os.makedirs(dir_of, exist_ok=True)
        each = shards // routers
        rows = [f"r{router + 1}/{shard}=tcp://127.0.0.1:{self.port()}" for router in range(routers) for shard in range(each)]
        common = (f"cluster:\n  name: bench\n  shards: [{', '.join(rows)}]\n"
                  f"link:\n  keys: {keys}\n  curve: {str(curve).lower()}\n")
        window = f"  window: {window}\n"
        redis = self.start(f"{name}/redis", "redis-server", "--port", "0", "--unixsocket", f"{dir_of}/redis.sock",
                           "--dir", dir_of, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
                           "--hash-max-listpack-entries", "512")
        wait_until("Redis answers", 30, lambda: subprocess.run(
            ["redis-cli", "-s", f"{dir_of}/redis.sock", "ping"], capture_output=True).stdout == b"PONG\n")
        edge_program = os.path.join(folder, "lahar-edge")
        knows_ws = "ws://" in settings_of(edge_program)
        processes, ready, tcp, tls_servers, ws = [], [], [], [], []
        for number in range(1, routers + 1):
            ops = self.port()
            config = self.write(f"{name}/r{number}.yaml", f"name: r{number}\n{common}{window}redis:\n"
                                f"  address: unix:{dir_of}/redis.sock\nops:\n  listen: 127.0.0.1:{ops}\n{router_lines}")
            process = self.start(f"{name}/r{number}", os.path.join(folder, "lahar-router"), "--config", config)
            processes.append(process)
            ready.append((process, ops, f"router r{number}"))
        for router in ready:
            self.ready(*router)
        ready = []
        for number in range(1, edges + 1):
            ports = self.port(), self.port(), self.port(), self.port()
            tcp.append(f"tcp://127.0.0.1:{ports[0]}")
            tls_servers.append(f"tls://127.0.0.1:{ports[1]}")
            ws += [f"ws://127.0.0.1:{ports[3]}"] if knows_ws else []
            listen = ", ".join([tcp[-1], tls_servers[-1], *ws[-1:]])
            limits = unlimited(edge_program) + (f"  connections: {connections}\n" if connections else "")
            config = self.write(f"{name}/e{number}.yaml", f"name: e{number}\n{common}{window}listen: [{listen}]\n"
                                f"tls:\n  certificate: {tls[0]}\n  key: {tls[1]}\n{limits}"
                                f"ops:\n  listen: 127.0.0.1:{ports[2]}\n{edge_lines}")
            process = self.start(f"{name}/e{number}", os.path.join(folder, "lahar-edge"), "--config", config)
            processes.append(process)
            ready.append((process, ports[2], f"edge e{number}"))
        for edge in ready:
            self.ready(*edge)
        admin = self.write(f"{name}/lahar.yaml", f"{common}sites:\n  keys: {sites}\n")
        self.lahar("site", "add", "bench", "--name", "Bench", "--key", f"{sites}/bench.pub", config=admin)
        return Server(name, "lahar", tcp, processes, tls=tls_servers, ws=ws, redis=redis,
                      options=["--site", "bench", "--cluster", "bench", "--key", f"{sites}/bench.key"],
                      promises={"ephemeral": "at most once",
                                "confirmed": "an ack says that a device of the recipient has it"})

    def stop_server(self, server):
        self.stop(*server.processes, *([server.redis] if server.redis else []))

    # ---- driving ---------------------------------------------------------------------------------

    def watched(self, command, timeout, what):
        """Runs it, and keeps in least_memory what the machine had left at worst."""
        self.least_memory = memory_available()
        end = time.monotonic() + timeout
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        while True:
            try:
                output, errors = process.communicate(timeout=1)
                return subprocess.CompletedProcess(command, process.returncode, output, errors)
            except subprocess.TimeoutExpired:
                self.least_memory = min(self.least_memory, memory_available())
                if time.monotonic() < end:
                    continue
            except BaseException:
                process.terminate()
                process.wait()
                raise
            process.kill()
            process.wait()
            raise Trouble(f"{what}: not within {timeout} s")

    def drive(self, server, workload, *arguments, tries=2, **options):
        """One run: its result, with the exit code; Trouble if there is none. On a machine that others use, a login may take
        too long now and then; that is not what is measured here, so it is tried again."""
        while True:
            try:
                return self.drive_once(server, workload, *arguments, **options)
            except Trouble as trouble:
                tries -= 1
                if tries == 0:
                    raise
                say(f"  once more: {trouble}")

    def drive_once(self, server, workload, *arguments, transport="tcp", label=None, timeout=900):
        command = ["taskset", "-c", self.generator_cores, os.path.join(self.build, "bench", "lahar-bench"), workload, "--json",
                   "--label", label or server.name, *server.arguments(transport), *map(str, arguments)]
        self.last_command = " ".join(command).replace(self.dir, "$DIR").replace(self.build, "$BUILD")
        self.last_command = self.last_command.replace(server.pids(), "$PIDS").replace(f" --label {label or server.name}", "")
        pids = [process.pid for process in self.processes]
        own, (busy, total) = ticks_of(pids), busy_ticks()
        children = os.times()
        done = self.watched(command, timeout, f"{workload} against {server.name}")
        busy_after, total_after = busy_ticks()
        children_after = os.times()
        generator = (children_after.children_user + children_after.children_system
                     - children.children_user - children.children_system) * os.sysconf("SC_CLK_TCK")
        others = busy_after - busy - (ticks_of(pids) - own) - generator
        line = done.stdout.strip().rsplit("\n", 1)[-1]
        if done.returncode not in (0, 3) or not line.startswith("{"):
            raise Trouble(f"{workload} against {server.name}: exit code {done.returncode}: "
                          f"{(done.stderr or done.stdout).strip()[-500:]}")
        result = json.loads(line)
        result["exit"] = done.returncode
        result["others_share"] = round(max(0.0, others / max(1, total_after - total)), 3)
        return result


PORTS_KEPT = 1000


CONNECTION_BUCKETS = 4194304
BUCKETS_FILE = "/proc/sys/net/ipv4/tcp_child_ehash_entries"


def own_network(argument, first_port):
    """Goes on in a network namespace of our own: no netfilter, all ports, wide queues; `argument` marks that it was done. No
    connection gets one of the ports from `first_port` on, which servers will listen on."""
    if argument not in sys.argv:
        if os.getuid() != 0:
            raise Trouble("a network namespace (unshare -n) needs root")
        # A namespace shares the machine's table of connections, which is made for some 200,000 of them, unless the one in which it is
        # made says otherwise: so there are two.
        os.execvp("unshare", ["unshare", "-n", "sh", "-c", f'echo {CONNECTION_BUCKETS} 2>/dev/null >{BUCKETS_FILE}; exec unshare -n "$@"',
                              "sh", sys.executable, "-B", *sys.argv, argument])
    run("ip", "link", "set", "lo", "up")
    for name, value in (("ipv4/ip_local_port_range", "1024 65535"), ("core/somaxconn", "65535"),
                        ("ipv4/tcp_max_syn_backlog", "65535"), ("ipv4/tcp_no_metrics_save", "1"),
                        ("ipv4/tcp_fin_timeout", "5"),
                        ("ipv4/ip_local_reserved_ports", f"{first_port}-{first_port + PORTS_KEPT - 1}")):
        with open(f"/proc/sys/net/{name}", "w") as file:
            file.write(value)


def tracked_connections():
    """By netfilter; it must be 0."""
    try:
        with open("/proc/sys/net/netfilter/nf_conntrack_count") as file:
            return int(file.read())
    except OSError:
        return 0


def load(name):
    """The results in bench/results/NAME.jsonl and what is said about them in NAME.json; nothing if there are none."""
    path = os.path.join(ROOT, "bench", "results", name)
    if not os.path.exists(f"{path}.jsonl"):
        return [], {}
    with open(f"{path}.jsonl") as file:
        results = [json.loads(line) for line in file if line.strip()]
    about = {}
    if os.path.exists(f"{path}.json"):
        with open(f"{path}.json") as file:
            about = json.load(file)
    return results, about


def save(name, results, about):
    folder = os.path.join(ROOT, "bench", "results")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"{name}.jsonl"), "w") as file:
        for result in results:
            file.write(json.dumps(result, separators=(",", ":")) + "\n")
    with open(os.path.join(folder, f"{name}.json"), "w") as file:
        json.dump(about, file, indent=1)
        file.write("\n")


def main(program, function):
    """Runs it; what went wrong is said in a line."""
    try:
        sys.exit(function())
    except Trouble as trouble:
        print(f"{program}: {trouble}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{program}: ended early", file=sys.stderr)
        sys.exit(130)
