"""Scenarios of lahar chat in real terminals. See scenarios.py."""

import os
import re
import signal

from cluster import Cluster, check, wait_until
from terminal import Pty, Terminals


def chat_command(cluster, user, *args):
    return [os.path.join(cluster.build, "cli", "lahar"), "--config", cluster.path("lahar.yaml"), "chat", "--site", "game",
            "--user", user, *args]


def chat_env(cluster, user, **more):
    return {"XDG_CONFIG_HOME": cluster.path(f"home-{user}"), "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}


def gid_of(terminal, user):
    """Logged in: the status line says as whom."""
    return re.search(rf"{user}@game (\d+) · edge", terminal.shows(" · edge ")).group(1)


def send(cluster, user, to, text):
    return cluster.lahar("send", "--site", "game", "--user", user, to, text)


def one_edge(build):
    return Cluster(build, routers=1, shards=1, edges=1)


def two_people_chat_in_their_terminals(build):
    """List, unread counts, typing and delivery marks, nicknames, editing, pasting."""
    cluster = one_edge(build)
    yield cluster
    cluster.start()
    terminals = Terminals(cluster.dir)
    try:
        alice = terminals.open("alice", 80, 24, chat_command(cluster, "alice"), chat_env(cluster, "alice"))
        bob = terminals.open("bob", 80, 24, chat_command(cluster, "bob"), chat_env(cluster, "bob"))
        alice_gid, bob_gid = gid_of(alice, "alice"), gid_of(bob, "bob")

        alice.line(f"/to {bob_gid}")
        alice.line("hello bob")
        alice.shows("hello bob ✓")
        bob.shows("hello bob")
        bob.type("I am wri")
        alice.shows("is typing")
        bob.keys("C-u")
        alice.hides("is typing")

        bob.line("/nick alice")
        bob.shows(f"alice ({alice_gid})")
        alice.line("/nick bob")
        # Words, wide and combining characters: the cursor goes by what one sees.
        bob.type("one 漢字 e\u0301x two")
        bob.keys("M-b", "Left", "Left", "BSpace")
        bob.type("a")
        bob.keys("C-a", "C-k")
        bob.keys("C-y", "Enter")
        alice.shows("one 漢字 ax two")
        # Several lines by hand and by paste: nothing is sent before Enter.
        bob.type("first")
        bob.keys("M-Enter")
        bob.paste("second\rthird \033[31m")
        bob.shows("third")
        check(not any("second" in row for row in alice.screen()), "a line of what was pasted was sent by itself")
        bob.keys("Enter")
        alice.shows("third ␛[31m")
        # More than a message may have: the beginning stays, and nothing from behind it.
        bob.paste("begin " + "0123456789" * 7000 + " end")
        bob.shows("at most 60 KiB")
        bob.hides(" end", 5)
        bob.keys("C-c")
        # What was entered before comes back.
        bob.keys("Up", "Up", "C-a", "C-a", "Up")
        bob.shows("> one 漢字")
        bob.keys("C-c")

        # Somebody else speaks: counted, not in the way.
        answer = send(cluster, "carol", alice_gid, "it is me, carol")
        check("delivered" in answer.stdout, answer.stdout)
        alice.shows("1 unread")
        alice.type("unfinished")
        alice.keys("M-a")
        alice.shows("it is me, carol", 5)
        alice.hides("unread")
        alice.hides("> unfinished")
        alice.keys("M-Down")
        alice.shows("> unfinished")
        alice.keys("C-c")
        alice.keep("chat")

        # A number that nobody has, and somebody who is not there until /again.
        alice.line("/to 999999")
        alice.line("anybody?")
        alice.shows("anybody? ✗")
        alice.shows("never handed out")
        alice.line("/to bo")
        alice.shows("neither a GID nor a nickname")
        alice.type("/to bo")
        alice.keys("Tab", "Enter")
        alice.shows(f"bob ({bob_gid})")
        bob.line("/quit")
        wait_until("bob's chat ends", 20, bob.ended)
        alice.line("still there?")
        alice.shows("still there? ✗")
        alice.shows("no device of the recipient is connected")
        bob = terminals.open("bob2", 44, 12, chat_command(cluster, "bob"), chat_env(cluster, "bob"))
        gid_of(bob, "bob")
        alice.line("/again")
        alice.shows("still there? ✓")
        bob.shows("alice still there?")  # the nickname came from its file
        bob.keep("chat-small")
        with open(cluster.path("home-bob", "lahar", "nicknames", f"test-{bob_gid}")) as file:
            check(f"{alice_gid} alice\n" in file.read(), "the nickname is not in its file")
        alice.keys("C-c")
        alice.shows("Ctrl-C again")
        alice.keys("C-c")
        wait_until("alice's chat ends", 20, alice.ended)
    finally:
        terminals.close()


def text_of_strangers_stays_where_it_belongs(build):
    """Escape sequences, controls, bidi overrides, what is no UTF-8, marks without end, 60 KB on a line; at any size."""
    cluster = one_edge(build)
    yield cluster
    cluster.start()
    terminals = Terminals(cluster.dir)
    try:
        alice = terminals.open("alice", 80, 24, chat_command(cluster, "alice"), chat_env(cluster, "alice"))
        gid = gid_of(alice, "alice")
        evil = [b"\033[2J\033[H\033[31mgone", b"\033]0;title\007\033P+q\033\\", b"\xc2\x9b2J\x9b1;1Hgone", b"up\x0b\x0c\x08\r\ndown",
                "a\u202egpj.exe \u2066\u2069\u200f".encode(), b"\xff\xfe\xc0\xaf\xed\xa0\x80 bytes",
                b"z" + "\u0301".encode() * 300 + b" marks", b"x" * 60000, "漢".encode() * 3000, b"\n" * 5000 + b"bottom",
                "\u200b\u200d\ufe0f👩\u200d👩\u200d👧 family".encode()]
        for text in evil:
            send(cluster, "mallory", gid, text)
        alice.shows("family")
        for columns, rows in ((40, 10), (300, 100), (80, 24), (20, 5), (61, 13), (10, 3), (200, 6), (80, 24)):
            alice.resize(columns, rows)
            if columns < 20 or rows < 5:
                alice.shows("too small")
                continue
            alice.shows("alice@game")
            screen = alice.screen()
            check(any(row.startswith(" alice@game") for row in screen), f"no status line at {columns}x{rows}: {screen}")
            check(screen[-1] == ">", f"no input line at {columns}x{rows}: {screen}")
        for _ in range(12):
            alice.keys("PageUp")
        alice.shows("▼ PgDn")
        alice.keys("Escape")
        alice.hides("▼ PgDn")
        for _ in range(400):
            alice.keys("PageUp")
            if any("␛[2J␛[H␛[31mgone" in row for row in alice.screen()):
                break
        alice.shows("␛[2J␛[H␛[31mgone")
        alice.shows("␛]0;title␇")
        alice.keys("Escape")
        alice.hides("▼ PgDn")
        alice.shows("family")
        title = alice.tmux("display-message", "-p", "-t", "alice", "#{pane_title}").strip()
        check(title != "title", "the terminal's title was changed")
        alice.line("/quit")
        wait_until("the chat ends", 20, alice.ended)
    finally:
        terminals.close()


def a_chat_says_why_it_is_not_connected_and_comes_back(build):
    cluster = one_edge(build)
    yield cluster
    cluster.start()
    terminals = Terminals(cluster.dir)
    try:
        alice = terminals.open("alice", 80, 24, chat_command(cluster, "alice"), chat_env(cluster, "alice"))
        bob = terminals.open("bob", 80, 24, chat_command(cluster, "bob"), chat_env(cluster, "bob"))
        gid_of(alice, "alice")
        alice.line("/to " + gid_of(bob, "bob"))
        # The same device elsewhere: it stays away, says so, and comes back when told to.
        other = terminals.open("other", 80, 24, chat_command(cluster, "alice"), chat_env(cluster, "alice"))
        gid_of(other, "alice")
        alice.shows("away: this device logged in elsewhere")
        alice.line("/reconnect")
        gid_of(alice, "alice")
        other.shows("away: this device logged in elsewhere")
        other.keys("C-d")
        cluster.kill("e1")
        row = alice.shows("again in ")
        check(re.search(r"again in \d+ s: ", row), row)
        alice.keep("chat-reconnect")
        alice.line("sent while away")
        alice.shows("sent while away …")
        alice.keys("M-Down")
        alice.shows("connection ended: ")
        alice.keys("M-Up")
        cluster.start_edge("e1")
        cluster.wait_ready("e1")
        alice.line("/reconnect")
        bob.line("/reconnect")
        gid_of(alice, "alice")
        gid_of(bob, "bob")
        # While bob was still away it was honestly refused; then it goes out again.
        alice.shows("sent while away")
        wait_until("an answer", 40, lambda: not any("sent while away …" in row for row in alice.screen()))
        if not any("sent while away ✓" in row for row in alice.screen()):
            alice.line("/again")
        alice.shows("sent while away ✓")
        bob.shows("sent while away")
    finally:
        terminals.close()


def a_chat_gives_the_terminal_back_however_it_ends(build):
    """By key, by signal, by a crash, by a refused login; without colours, and by lines where there is no screen."""
    cluster = one_edge(build)
    yield cluster
    cluster.start()
    env = {**os.environ, **chat_env(cluster, "alice", TERM="xterm-256color")}
    env.pop("NO_COLOR", None)
    given_back = (b"\x1b[?1049l", b"\x1b[?2004l")

    def chat(act, user="alice", colour=None, args=(), **more):
        screen = Pty(chat_command(cluster, user, *args), {**env, **more})
        try:
            screen.awaits(b"\x1b[?2004h")
            act(screen)
            code = screen.wait()
            check(screen.settings_are_back(), f"after exit {code} the terminal's settings are others")
            for sequence in given_back:
                check(sequence in screen.output, f"after exit {code}: {sequence!r} was not sent")
            check(screen.output.rfind(b"\x1b[?1049h") < screen.output.rfind(b"\x1b[?1049l"), "the other screen is still shown")
            if colour is not None:
                check(bool(re.search(rb"\x1b\[[0-9;]*3[1-6][;m]", screen.output)) == colour, f"colours: not {colour}")
            return code, screen.output
        finally:
            screen.close()

    def keys(*texts):
        def act(screen):
            screen.awaits(b"edge e1")
            for text in texts:
                screen.write(text)
        return act

    def die(number):
        def act(screen):
            screen.awaits(b"edge e1")
            screen.process.send_signal(number)
        return act

    check(chat(keys(b"/quit\r"))[0] == 0, "/quit is no success")
    check(chat(keys(b"\x04"))[0] == 0, "Ctrl-D is no success")
    check(chat(keys(b"a\x03\x03\x03"))[0] == 0, "Ctrl-C twice is no success")
    failed = keys(b"/to 999999\r", b"x\r")

    def see_failure(screen):
        failed(screen)
        screen.awaits("✗".encode())
        screen.write(b"/quit\r")
    chat(see_failure, colour=True)
    chat(see_failure, colour=False, NO_COLOR="1")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGABRT, signal.SIGSEGV):
        code, _ = chat(die(number))
        check(code == -number, f"ended by {number.name} it says {code}")
    code, output = chat(lambda screen: None, args=("--key", cluster.path("tls", "edge-tls.key")))
    check(code == 2 and b"lahar: " in output[output.rfind(b"\x1b[?1049l"):], f"a refused login: exit {code}, {output[-200:]!r}")

    for args, more in (((), {"TERM": "dumb"}), (("--plain",), {}), ((), {"TERM": "no-such-terminal"}), ((), {"TERM": ""})):
        plain = Pty(chat_command(cluster, "alice", *args), {**env, **more})
        try:
            plain.awaits(b"-- online as ")
            check(b"\x1b" not in plain.output, f"{more} {args}: {plain.output!r}")
            plain.write(b"/quit\n")
            check(plain.wait() == 0 and plain.settings_are_back(), "the plain chat does not end well")
        finally:
            plain.close()
