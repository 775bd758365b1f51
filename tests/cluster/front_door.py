"""Scenarios of the front door: strangers, slow and hostile clients, certificates, edges that leave or die. See scenarios.py."""

import os
import resource
import signal
import socket
import ssl
import time

from cluster import Cluster, Swarm, bench_result, check, tcp, tls, wait_until
from hostile import (ERROR, GOAWAY, PONG, PROXY_HEADER, UPGRADE, WELCOME, Dribblers, RawClient, check_gone, client_hello,
                     cpu_seconds, field, fields, frame, hello, open_descriptors, raise_descriptors, resident, send, source,
                     unverified)

SCALE = float(os.environ.get("LAHAR_SCALE", "1"))
UNLIMITED = "limits:\n  sends_per_s: 0\n  addresses: 0\n"  # all clients here have one address


def scaled(number):
    return max(1, int(number / SCALE))


def p99_us(result):
    return result["latency_us"]["p99"]


def ping(client, nonce=7):
    client.say(frame(4, field(1, nonce)))
    return fields(client.await_frame(PONG)[1])[1]


def pid_of(cluster, name):
    return cluster.processes[name].pid


# ---- slow ones -----------------------------------------------------------------------------------

def dribblers_are_gone_within_12_s_and_cost_little(build):
    """A byte every five seconds: of the TLS handshake's first flight, of its second, of the upgrade, of Hello, of a PROXY header."""
    cluster = Cluster(build, edges=1, edge_lines=UNLIMITED)
    yield cluster
    cluster.start()
    each = scaled(625)  # 5,000 in all
    users = {"users": 200, "rate": scaled(2000), "warmup": 1}
    servers = tcp(cluster, "e1")
    calm = p99_us(bench_result(cluster.bench("unicast", servers, seconds=4, **users)))
    bench = cluster.bench("unicast", servers, seconds=9, **users)
    time.sleep(2.5)
    pid = pid_of(cluster, "e1")
    before = resident(pid)
    most = [before]

    def look():
        most[0] = max(most[0], resident(pid))
    crowd = Dribblers()
    port, first = cluster.tls_ports["e1"], client_hello()
    begun_hello = bytes([200, 1]) + field(1, b"x" * 197)
    crowd.add(each, "before TLS", port, first)
    crowd.add(each, "within TLS", port, b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x35" + bytes(53), at_once=first)
    crowd.add(each, "before Hello over TLS", port, begun_hello, tls=unverified())
    crowd.add(each, "before Hello", cluster.tcp_ports["e1"], begun_hello)
    crowd.add(each, "within the upgrade", cluster.ws_ports["e1"], UPGRADE)
    crowd.add(each, "within the upgrade over TLS", cluster.wss_ports["e1"], UPGRADE, tls=unverified())
    crowd.add(each, "before Hello over WebSocket", cluster.ws_ports["e1"], b"?\x82\xfe\x00\xc9\0\0\0\0" + begun_hello,
              at_once=UPGRADE)  # the first byte's place is the upgrade's
    crowd.add(each, "within a PROXY header", cluster.proxied_ports["e1"], PROXY_HEADER)
    made = crowd.run(25, look)
    latest = check_gone(made, 12)
    growth = (most[0] - before) / len(made)
    check(growth <= 65536, f"{growth:.0f} bytes of memory for each dribbler")
    wait_until("their connections are closed", 5, lambda: cluster.metric("e1", "lahar_edge_connections") <= 200)
    stormy = p99_us(bench_result(bench))
    check(stormy <= 3 * calm + 20000, f"p99 of others went from {calm:.0f} to {stormy:.0f} us")
    print(f"{len(made)} dribblers: gone after {latest} s; {growth:.0f} bytes each; "
          f"p99 of others {calm:.0f} us before, {stormy:.0f} us meanwhile")


def a_client_that_stops_reading_is_closed_and_others_see_nothing(build):
    cluster = Cluster(build, edges=1, edge_lines=UNLIMITED)
    yield cluster
    cluster.start()
    port = cluster.tcp_ports["e1"]
    bench = cluster.bench("unicast", tcp(cluster, "e1"), users=100, rate=scaled(1000), warmup=1, seconds=8, **{"class": "confirmed"})
    sleeper, talker = RawClient(port, rcvbuf=4096), RawClient(port)
    sleeper.login(cluster, "sleeper")
    talker.login(cluster, "talker")
    body, sent = bytes(60000), 0

    def closed():
        return cluster.metric("e1", "lahar_edge_closed_total", 'reason="slow_reader"')
    end = time.monotonic() + 20
    while not closed():
        check(time.monotonic() < end, f"it still is not closed after {sent} bytes")
        for _ in range(10):
            talker.say(send(sleeper.gid, body))
            sent += len(body)
    check(closed() == 1, f"{closed()} slow readers were closed")
    check(ping(talker) == 7, "whoever sends to a slow reader is not served any more")
    sleeper.socket.settimeout(10)
    while sleeper.hear() is not None:
        pass
    result = bench_result(bench)
    check(result["messages"]["lost"] == 0, f"others lost messages: {result['messages']}")
    check(p99_us(result) < 100000, f"others waited: p99 {p99_us(result):.0f} us")
    print(f"closed after {sent} bytes; p99 of others {p99_us(result):.0f} us")


# ---- descriptors ---------------------------------------------------------------------------------

def refused(port):
    """How long a connection lives that is not taken; None if it is taken."""
    probe = RawClient(port, timeout=0.3)
    try:
        heard = probe.hear()
        return heard is None or heard[0] == ERROR
    except socket.timeout:
        return None
    finally:
        probe.close()


def without_descriptors_the_established_stay_and_nothing_spins(build):
    cluster = Cluster(build, edges=1, edge_lines=UNLIMITED)
    yield cluster
    cluster.start()
    raise_descriptors()
    port, pid = cluster.tcp_ports["e1"], pid_of(cluster, "e1")
    friends = [RawClient(port, from_address=source(i)) for i in range(20)]
    for number, friend in enumerate(friends):
        friend.login(cluster, f"friend{number}")
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_descriptors(pid), hard))
    strangers = [RawClient(port, from_address=source(100 + i)) for i in range(200)]
    before, began = cpu_seconds(pid), time.monotonic()
    while time.monotonic() < began + 3:
        for friend in friends:
            check(ping(friend) == 7, "an established connection is not served while there are no descriptors")
        time.sleep(0.1)
    spent = cpu_seconds(pid) - before
    check(spent < 0.6, f"{spent:.2f} s of CPU in 3 s without descriptors")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    back = time.monotonic()
    newcomer = RawClient(port, from_address=source(400))
    newcomer.say(frame(4, field(1, 1)))  # not a Hello: whoever is served is told so, or finds the end
    newcomer.hear()
    recovered = time.monotonic() - back
    check(recovered < 1, f"a newcomer was served only after {recovered:.1f} s")
    wait_until("the strangers are taken", 5, lambda: cluster.metric("e1", "lahar_edge_connections") >= 220)
    check(cluster.metric("e1", "lahar_edge_accept_pauses_total") > 0, "accepting never paused: the scenario does nothing")
    for stranger in strangers:
        stranger.close()
    print(f"{spent:.2f} s of CPU in 3 s; recovered in {recovered:.2f} s")


def a_full_edge_says_so_and_the_established_stay(build):
    """Its descriptors are few from the start."""
    cluster = Cluster(build, edges=1, edge_lines=UNLIMITED)
    yield cluster
    cluster.edge_descriptors = 300
    cluster.start()
    raise_descriptors()
    port = cluster.tcp_ports["e1"]
    friends = [RawClient(port, from_address=source(i)) for i in range(20)]
    for number, friend in enumerate(friends):
        friend.login(cluster, f"friend{number}")
    strangers, told = [], 0
    for number in range(400):
        one = RawClient(port, from_address=source(100 + number), timeout=5)
        strangers.append(one)
    wait_until("some are turned away", 5,
               lambda: cluster.metric("e1", "lahar_edge_closed_total", 'reason="edge_full"') >= 100)
    kind, message = strangers[-1].await_frame(ERROR)
    check(fields(message)[1] == 20, f"the last one was told reason {fields(message)[1]}")
    for friend in friends:
        check(ping(friend) == 7, "an established connection is not served on a full edge")
    for one in strangers:
        one.close()
    began = time.monotonic()
    wait_until("there is room again", 1, lambda: refused(port) is None)
    print(f"room again after {time.monotonic() - began:.2f} s")


# ---- certificates --------------------------------------------------------------------------------

def shown(port, name=None):
    """The certificate that a client is shown, in DER."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        with unverified().wrap_socket(raw, server_hostname=name) as stream:
            return stream.getpeercert(binary_form=True)


def der(path):
    with open(path) as file:
        return ssl.PEM_cert_to_DER_cert(file.read().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")


def replace(cluster, source_folder, target="tls"):
    for name in ("edge.pem", "edge-tls.key"):
        os.replace(cluster.path(source_folder, name), cluster.path(target, name))


def certificates_are_replaced_under_load_without_dropping_anyone(build):
    sni = "  sni:\n    - chat.example.org={dir}/chat/edge.pem:{dir}/chat/edge-tls.key\n"
    cluster = Cluster(build, tls_lines=sni, edge_lines=UNLIMITED)
    yield cluster
    cluster.lahar("keygen", "tls", cluster.path("chat"), "chat.example.org")
    cluster.start()
    port = cluster.tls_ports["e1"]
    swarm = Swarm(cluster, [tls(cluster, "e1"), tls(cluster, "e2")], scaled(400))
    swarm.all_online(60)
    logins = swarm.ask("verdict")["logins"]
    swarm.tell("flow", scaled(1000), 10, "confirmed")
    check(shown(port) == der(cluster.path("tls", "edge.pem")), "the default certificate is not shown")
    check(shown(port, "chat.example.org") == der(cluster.path("chat", "edge.pem")), "a name is not shown its certificate")
    for turn in range(3):
        for target in ("tls", "chat"):
            cluster.lahar("keygen", "tls", cluster.path(f"new-{target}-{turn}"), "localhost", "127.0.0.1", "chat.example.org")
            replace(cluster, f"new-{target}-{turn}", target)
        for name in cluster.edge_names:
            cluster.signal(name, signal.SIGHUP)
        for name, folder in ((None, "tls"), ("chat.example.org", "chat")):
            new = der(cluster.path(folder, "edge.pem"))
            wait_until("the new certificate is shown", 5, lambda: shown(port, name) == new)

    # Broken ones: all stays, and the log says which file.
    default, chat = shown(port), shown(port, "chat.example.org")
    for file, folder in (("edge.pem", "tls"), ("edge-tls.key", "chat")):
        cluster.lahar("keygen", "tls", cluster.path(f"good-{folder}"), "localhost", "chat.example.org")
        replace(cluster, f"good-{folder}", folder)
        cluster.write(os.path.join(folder, file), "neither certificate nor key\n")
        cluster.signal("e1", signal.SIGHUP)

        def logged():
            with open(cluster.path("e1.log")) as log:
                return any("certificates_unusable" in line and f"{folder}/{file}" in line for line in log)
        wait_until("the log says which file is broken", 5, logged)
        check(shown(port) == default and shown(port, "chat.example.org") == chat,
              f"something else is shown since {folder}/{file} is broken")
        # Whole again on disk, and yet not taken with the next one that is broken: all or nothing.
        cluster.lahar("keygen", "tls", cluster.path(f"whole-{folder}"), "localhost", "chat.example.org")
        replace(cluster, f"whole-{folder}", folder)
    check(cluster.metric("e1", "lahar_edge_tls_certificate_days_left") > 0, "no days are left")
    check(cluster.metric("e1", "lahar_edge_tls_certificates") == 2, "not two certificates")
    swarm.hear()
    swarm.ask("settle", 20)
    verdict = swarm.check_verdict()
    check(verdict["logins"] == logins, f"users had to log in again: {logins} before, {verdict['logins']} now")
    check(verdict["delivered"] == verdict["sent"], f"not everything was delivered: {verdict}")
    print(verdict)


# ---- kicks (more in tickets.py) -----------------------------------------------------------------------------

def who_is_kicked_is_out_within_5_s_and_what_was_issued_before_is_worth_nothing(build):
    cluster = Cluster(build, edge_lines=UNLIMITED)
    yield cluster
    cluster.start()
    token = cluster.token("kicked")
    clients = []
    for edge, device in (("e1", "a"), ("e2", "b")):
        clients.append(RawClient(cluster.tcp_ports[edge]))
        clients[-1].login(cluster, device=device, token=token)
    other = RawClient(cluster.tcp_ports["e1"])
    other.login(cluster, "other")
    gid = str(clients[0].gid)
    check(clients[0].ticket and clients[0].ticket != clients[1].ticket, "there is no ticket, or the same one for two devices")

    def reason_of(heard):
        return fields(heard[1])[1]
    began = time.monotonic()
    cluster.lahar("kick", gid)
    for client in clients:
        heard = client.await_frame(ERROR, GOAWAY)
        check(reason_of(heard) == 17, f"a kicked client was told {heard}")
        check(time.monotonic() - began < 5, f"it took {time.monotonic() - began:.1f} s")
    took = time.monotonic() - began
    # 15: TOKEN_REQUIRED, of a ticket; 14: TOKEN_EXPIRED, of a token that was issued before.
    for edge in ("e1", "e2"):
        for device, ticket in (("a", clients[0].ticket), ("b", clients[1].ticket)):
            again = RawClient(cluster.tcp_ports[edge])
            again.say(hello(None, device, ticket))
            heard = again.await_frame(WELCOME, ERROR)
            check(heard[0] == ERROR and reason_of(heard) == 15, f"an old ticket is answered by {heard}")
        again = RawClient(cluster.tcp_ports[edge])
        again.say(hello(token, "a"))
        heard = again.await_frame(WELCOME, ERROR)
        check(heard[0] == ERROR and reason_of(heard) in (13, 14), f"an old token is answered by {heard}")
    check(ping(other) == 7, "somebody else was kicked, too")
    # The next second's tokens are good again.
    time.sleep(1.1)
    again = RawClient(cluster.tcp_ports["e2"])
    again.login(cluster, "kicked", "a")
    check(str(again.gid) == gid, "the same user has another number")
    print(f"out after {took:.2f} s")


# ---- edges that leave ----------------------------------------------------------------------------

def a_drained_edge_cuts_nobody_off_without_goaway(build):
    sessions = scaled(500) + 60
    cluster = Cluster(build, edge_lines=UNLIMITED + f"drain_per_s: {sessions // 2}\n")
    yield cluster
    cluster.start()
    clients = []
    for number in range(60):
        over_tls = number % 2 == 1
        ports = cluster.tls_ports if over_tls else cluster.tcp_ports
        clients.append(RawClient(ports["e1"], tls=over_tls))
        clients[-1].login(cluster, f"guest{number}")
    swarm = Swarm(cluster, [tcp(cluster, "e1", "e2")], scaled(500))
    swarm.all_online(60)
    process = cluster.processes["e1"]
    process.terminate()
    began, told = time.monotonic(), []
    for number, client in enumerate(clients):
        heard = client.await_frame(GOAWAY, ERROR)
        check(heard[0] == GOAWAY and fields(heard[1])[1] == 21, f"client {number} was told {heard}")
        told.append(time.monotonic() - began)
        client.say(frame(5, b""))
        client.close()
    check(process.wait(30) == 0, "the edge did not exit with 0")
    swarm.all_online(30)
    check(0.5 < max(told) < 4, f"not told over 2 s: {told}")
    print(f"told within {max(told):.1f} s, left after {time.monotonic() - began:.1f} s")
