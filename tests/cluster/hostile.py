"""Clients that do not behave, and one that speaks the protocol frame by frame so that a scenario can misbehave at a chosen
point. Plain sockets; nothing of the client library."""

import os
import resource
import select
import socket
import ssl
import struct
import time

from cluster import Failure, check

CLASS_CONFIRMED, CLASS_EPHEMERAL = 1, 2
# Fields of ServerFrame.
WELCOME, SEND_ACK, SEND_NACK, DELIVER, PONG, GOAWAY, ERROR = 1, 2, 3, 4, 6, 7, 8


UPGRADE = (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: lahar.v1\r\n\r\n")


def proxy_header(client):
    """Of the PROXY protocol, version 2: where the client is, whom a balancer at 10.0.0.1 has connected."""
    return (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + socket.inet_aton(client) + socket.inet_aton("10.0.0.1") +
            struct.pack(">HH", 12345, 7700))


PROXY_HEADER = proxy_header("192.0.2.7")


def raise_descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def resident(pid):
    """Bytes of memory that a process has."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def source(number):
    """An address of one's own: limits by address must not be what is seen."""
    return f"127.{1 + number // 62500 % 250}.{1 + number // 250 % 250}.{1 + number % 250}"


def unverified():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# ---- the wire ------------------------------------------------------------------------------------

def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """An int as varint, bytes as bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def frame(number, message):
    packed = field(number, message)
    return varint(len(packed)) + packed


def hello(token, device="d", ticket=None):
    resume = field(4, field(1, ticket)) if ticket is not None else field(3, token)
    return frame(1, field(1, 1) + field(2, b"scenario") + resume + field(5, device.encode()))


def send(to, body, message_class=CLASS_EPHEMERAL, cmid=b""):
    return frame(2, fixed64(1, to) + (field(2, cmid) if cmid else b"") + field(3, message_class) + field(6, body))


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def fields(data):
    """{number: last value} of a message; ints and bytes."""
    found, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 1:
            value, at = struct.unpack_from("<Q", data, at)[0], at + 8
        else:
            length, at = read_varint(data, at)
            value, at = data[at:at + length], at + length
        found[key >> 3] = value
    return found


class RawClient:
    """One connection, driven by hand. Blocking, with a timeout. `before` is said before all else, TLS too."""

    def __init__(self, port, tls=False, rcvbuf=0, from_address=None, timeout=20, before=b""):
        self.socket = socket.socket()
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if from_address:
            self.socket.bind((from_address, 0))
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(before)
        if tls:
            self.socket = unverified().wrap_socket(self.socket, server_hostname=tls if isinstance(tls, str) else None)
        self.data = b""
        self.gid = self.ticket = None

    def say(self, data):
        self.socket.sendall(data)

    def hear(self):
        """The next frame as (field of ServerFrame, its message); None at the end of the connection."""
        while True:
            try:
                length, at = read_varint(self.data, 0)
                if len(self.data) >= at + length:
                    whole, self.data = self.data[at:at + length], self.data[at + length:]
                    (number, message), = fields(whole).items()
                    return number, message
            except IndexError:
                pass
            try:
                got = self.socket.recv(65536)
            except ConnectionResetError:
                got = b""
            if not got:
                return None
            self.data += got

    def await_frame(self, *numbers):
        """The next frame of one of these kinds, as (kind, message)."""
        while True:
            heard = self.hear()
            if heard is None:
                raise Failure(f"the connection ended before a frame of kind {numbers} came")
            if heard[0] in numbers:
                return heard

    def login(self, cluster, user=None, device="d", ticket=None, token=None):
        """By the one that is given. Welcome's fields; Failure with the reason if refused."""
        if user is not None:
            token = cluster.token(user)
        self.say(hello(token, device, ticket))
        kind, message = self.await_frame(WELCOME, ERROR)
        parsed = fields(message)
        if kind == ERROR:
            raise Failure(f"{user or device} was refused for reason {parsed.get(1)}")
        self.gid, self.ticket = parsed[2], parsed.get(4)
        return parsed

    def close(self):
        self.socket.close()


# ---- dribblers -----------------------------------------------------------------------------------

def client_hello():
    """The first flight of a TLS handshake; whose it is does not matter."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    stream = unverified().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        stream.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class Dribbler:
    """A connection that says its piece one byte every five seconds, after `at_once`, until it is thrown out."""

    EVERY_S = 5

    def __init__(self, kind, port, number, at_once, piece, tls=None):
        self.kind, self.at_once, self.piece, self.said = kind, at_once, piece, 0
        self.ended = None
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.bind((source(number), 0))
        self.socket.connect_ex(("127.0.0.1", port))
        self.began = time.monotonic()
        self.next = self.began
        self.stream, self.shaken = None, tls is None
        if tls is not None:
            self.tls = tls

    def fileno(self):
        return self.socket.fileno()

    def end(self):
        self.ended = time.monotonic() - self.began
        self.socket.close()

    def shake(self):
        try:
            if self.stream is None:
                self.socket = self.stream = self.tls.wrap_socket(self.socket, do_handshake_on_connect=False)
            self.stream.do_handshake()
            self.shaken = True
            self.next = time.monotonic()
        except ssl.SSLWantReadError:
            pass

    def turn(self, now, ready):
        """Whatever is due or has come."""
        try:
            if not self.shaken:
                if ready:
                    self.shake()
                return
            if ready & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                try:
                    if not self.socket.recv(65536):
                        self.end()
                        return
                except (BlockingIOError, ssl.SSLWantReadError):
                    pass
            if now >= self.next:
                at = self.said % len(self.piece)
                self.socket.send(self.at_once if self.at_once and self.said == 0 else self.piece[at:at + 1])
                self.said += 1
                self.next += self.EVERY_S
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self.end()


class Dribblers:
    """Makes them, and keeps them dribbling until the last one is out or the time is over."""

    def __init__(self):
        raise_descriptors()
        self.all = []
        self.poll = select.epoll()

    def add(self, count, kind, port, piece, at_once=b"", tls=None):
        for _ in range(count):
            self.all.append((kind, port, at_once, piece, tls))

    def run(self, seconds, look=lambda: None, a_turn=100):
        """look() is called several times a second. Returns those that were made."""
        waiting, made, by_fd, looked = list(reversed(self.all)), [], {}, 0
        end = time.monotonic() + seconds
        due = []
        while time.monotonic() < end:
            for _ in range(min(a_turn, len(waiting))):
                kind, port, at_once, piece, tls = waiting.pop()
                one = Dribbler(kind, port, len(made), at_once, piece, tls)
                made.append(one)
                by_fd[one.fileno()] = one
                self.poll.register(one.fileno(), select.EPOLLIN | (select.EPOLLOUT if tls else 0))
            now = time.monotonic()
            for fd, ready in self.poll.poll(0.02):
                one = by_fd[fd]
                one.turn(now, ready)
                if one.ended is not None:
                    del by_fd[fd]
                elif one.stream is not None and ready & select.EPOLLOUT:
                    self.poll.modify(fd, select.EPOLLIN)
            for fd, one in list(by_fd.items()):
                if now >= one.next and one.shaken:
                    one.turn(now, 0)
                    if one.ended is not None:
                        del by_fd[fd]
            if now - looked > 0.2:
                looked = now
                look()
            if not waiting and not by_fd:
                break
        return made


def check_gone(made, seconds):
    """All ended, none later than so many seconds after it came. Returns the latest by kind."""
    latest = {}
    for one in made:
        check(one.ended is not None, f"{sum(m.ended is None for m in made)} of {len(made)} are still there, "
              f"the first of them {one.kind}")
        latest[one.kind] = max(latest.get(one.kind, 0), one.ended)
    late = {kind: s for kind, s in latest.items() if s > seconds}
    check(not late, f"not gone within {seconds} s: {late}")
    return {kind: round(s, 1) for kind, s in latest.items()}
