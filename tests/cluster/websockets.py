"""WebSocket through real daemons, spoken by hand."""

import base64
import hashlib
import os
import struct

from cluster import Cluster, Failure, check, wait_until
from hostile import (CLASS_CONFIRMED, DELIVER, PROXY_HEADER, RawClient, SEND_ACK, UPGRADE, field, fields, fixed64, frame,
                     proxy_header)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ORIGIN = b"https://game.example"


class WebSocketClient(RawClient):
    """RawClient over WebSocket: each say() is one message; what is heard is the payload of messages."""

    def __init__(self, port, origin=None, **options):
        super().__init__(port, **options)
        request = UPGRADE if origin is None else UPGRADE[:-2] + b"Origin: " + origin + b"\r\n\r\n"
        self.socket.sendall(request)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            got = self.socket.recv(1)
            if not got:
                break
            answer += got
        self.status = int(answer.split(b" ")[1]) if answer else 0
        self.code = None
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            check(b"Sec-WebSocket-Accept: " + accept + b"\r\n" in answer, f"answered {answer}")
            self.plain, self.socket = self.socket, self

    # As RawClient uses a socket.

    def sendall(self, payload, first=0x82):
        mask = os.urandom(4)
        length = bytes([128 | len(payload)]) if len(payload) < 126 else struct.pack(">BH", 254, len(payload))
        self.plain.sendall(bytes([first]) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def exactly(self, length):
        data = b""
        while len(data) < length:
            got = self.plain.recv(length - len(data))
            if not got:
                return b""
            data += got
        return data

    def recv(self, _):
        head = self.exactly(2)
        if not head:
            return b""
        length = head[1]
        if length == 126:
            length = struct.unpack(">H", self.exactly(2))[0]
        payload = self.exactly(length)
        if head[0] == 0x88:
            self.code = struct.unpack(">H", payload[:2])[0]
            return b""
        check(head[0] == 0x82, f"a frame that begins with {head[0]}")
        return payload

    def close(self):
        (self.plain if self.socket is self else self.socket).close()


def exchange(one, other, text):
    one.say(frame(2, fixed64(1, other.gid) + field(2, os.urandom(16)) + field(3, CLASS_CONFIRMED) + field(4, 1) + field(5, 1) +
                  field(6, text)))
    delivery = fields(other.await_frame(DELIVER)[1])
    check(delivery[8] == text, f"delivered: {delivery}")
    other.say(frame(3, field(1, delivery[1])))  # Received
    one.await_frame(SEND_ACK)


def clients_of_all_kinds_talk_to_each_other(build):
    cluster = Cluster(build)
    yield cluster
    cluster.start()
    clients = [
        RawClient(cluster.tcp_ports["e1"]),
        RawClient(cluster.tls_ports["e2"], tls=True),
        WebSocketClient(cluster.ws_ports["e2"]),
        WebSocketClient(cluster.wss_ports["e1"], tls=True),
        WebSocketClient(cluster.proxied_ports["e1"], before=PROXY_HEADER),
        WebSocketClient(cluster.proxied_tls_ports["e2"], before=PROXY_HEADER, tls=True),
    ]
    for number, client in enumerate(clients):
        client.login(cluster, f"guest{number}")
    for one in clients:
        for other in clients:
            if one is not other:
                exchange(one, other, os.urandom(40))
    for client in clients:
        client.close()
    wait_until("all are gone", 10, lambda: cluster.metric("e1", "lahar_edge_sessions") == 0)
    print(f"{len(clients)} kinds of clients talked to each other")


def behind_a_balancer_clients_are_told_apart_and_only_a_listed_one_is_believed(build):
    """wss+proxy: a PROXY header in the clear, then TLS, then the upgrade. 127.0.0.0/9 is listed."""
    cluster = Cluster(build, edges=1, edge_lines="limits:\n  address_connections: 2\n")
    yield cluster
    cluster.start()
    port = cluster.proxied_tls_ports["e1"]

    def come(client, **options):
        return WebSocketClient(port, tls=True, before=proxy_header(client), **options)

    def closed(reason):
        return cluster.metric("e1", "lahar_edge_closed_total", f'reason="{reason}"')
    one, two = (come("192.0.2.7") for _ in range(2))
    try:
        come("192.0.2.7")
        check(False, "one address has three connections, of the two that it may have")
    except OSError:  # what was refused before TLS
        wait_until("it is counted", 5, lambda: closed("address_full") == 1)
    three = come("192.0.2.8", from_address="127.0.0.9")
    for number, client in enumerate((one, two, three)):
        client.login(cluster, f"guest{number}")
    exchange(one, three, b"from one balancer to the other")
    exchange(three, two, b"and back")

    try:
        come("192.0.2.9", from_address="127.128.0.1")
        check(False, "whoever is not listed was believed")
    except OSError:
        wait_until("it is counted", 5, lambda: closed("proxy_unlisted") == 1)
    try:
        WebSocketClient(port, tls=True)
        check(False, "a listed one came in without a header")
    except OSError:
        wait_until("it is counted", 5, lambda: closed("proxy_failed") == 1)
    exchange(two, one, b"all this was nothing to us")
    print("clients behind balancers: by the address that a listed one tells")


def a_page_gets_in_only_where_its_site_lists_its_origin(build):
    cluster = Cluster(build, edges=1)
    yield cluster
    cluster.start()
    port = cluster.ws_ports["e1"]
    check(WebSocketClient(port, ORIGIN).status == 403, "an origin that no site lists was let in")
    cluster.lahar("keygen", "site", cluster.path("sites"), "other")
    cluster.lahar("site", "add", "other", "--key", cluster.path("sites", "other.pub"), "--origin", ORIGIN.decode())
    wait_until("the edge knows", 10, lambda: WebSocketClient(port, ORIGIN).status == 101)
    page = WebSocketClient(port, ORIGIN)
    try:
        page.login(cluster, "alice")
        check(False, "a page of another site's origin logged in")
    except Failure as failure:
        check("reason 24" in str(failure), f"{failure}")
    check(page.hear() is None and page.code == 4024, f"closed with {page.code}")
    cluster.lahar("site", "add", "game", "--key", cluster.path("sites", "game.pub"), "--origin", ORIGIN.decode())

    def logs_in():
        client = WebSocketClient(port, ORIGIN)
        try:
            client.login(cluster, "alice")
            return True
        except Failure:
            return False
        finally:
            client.close()
    wait_until("the page logs in", 10, logs_in)
    page = WebSocketClient(port)  # no browser
    page.login(cluster, "bob")
    page.say(b"\x04\x1a\x02\x08")  # a message that ends within a frame
    check(page.hear() is None and page.code == 4004, f"closed with {page.code}")
    page = WebSocketClient(port)
    page.sendall(b"hello", first=0x81)
    check(page.hear() is None and page.code == 1003, f"text was closed with {page.code}")
    print("origins, codes: as documented")
