#!/usr/bin/env python3
"""A page in headless Chromium talks over wss to a real edge: browser.py BUILD

Two tabs log in as two users and send each other CONFIRMED messages; a page of another origin is refused. Chromium must trust the
throw-away certificate, so it is told its key. Exit code 77: there is no Chromium (tests/run --all installs it)."""

import base64
import hashlib
import http.client
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.parse

from cluster import Cluster, Failure, check, wait_until
from websockets import WebSocketClient

MESSAGES = 20
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html")


class Site:
    """A site's web server, for its pages: gives them out, mints tokens, knows who is here, hears how it went."""

    def __init__(self, cluster):
        self.gids, self.results, self.arrived = {}, {}, threading.Condition()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, content, kind="text/plain", status=200):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                asked = dict(urllib.parse.parse_qsl(url.query))
                if url.path == "/token":
                    self.answer(cluster.token(asked["user"]))
                elif url.path == "/where":
                    self.answer(site.where(asked["user"]).encode())
                elif url.path == "/page":
                    with open(PAGE, "rb") as page:
                        self.answer(page.read(), "text/html; charset=utf-8")
                else:
                    self.answer(b"", status=404)

            def do_POST(self):
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with site.arrived:
                    if self.path == "/here":
                        site.gids[said["user"]] = said["gid"]
                    else:
                        site.results[said["user"]] = said
                    site.arrived.notify_all()
                self.answer(b"")

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def where(self, user):
        with self.arrived:
            self.arrived.wait_for(lambda: user in self.gids, 60)
            return self.gids.get(user, "")

    def result(self, user, seconds=90):
        with self.arrived:
            self.arrived.wait_for(lambda: user in self.results, seconds)
            check(user in self.results, f"nothing was heard of the page of {user} within {seconds} s; others: {self.results}")
            return self.results[user]

    def page(self, user, peer, edge):
        return f"{self.origin}/page?" + urllib.parse.urlencode({"user": user, "peer": peer, "edge": edge, "messages": MESSAGES})


def key_hash(certificate):
    """How Chromium names a public key."""
    der = subprocess.run(f"openssl x509 -in {certificate} -noout -pubkey | openssl pkey -pubin -outform der", shell=True,
                         capture_output=True, check=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Browser:
    def __init__(self, program, cluster):
        self.profile = cluster.path("chromium")
        os.makedirs(self.profile)
        cluster.spawn("chromium", program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                      "--no-first-run", "--no-proxy-server", "--disable-background-networking", "--disable-component-update", "--mute-audio",
                      f"--user-data-dir={self.profile}", "--remote-debugging-port=0",
                      f"--ignore-certificate-errors-spki-list={key_hash(cluster.path('tls', 'edge.pem'))}", "about:blank")
        port_file = os.path.join(self.profile, "DevToolsActivePort")
        wait_until("Chromium has started", 90, lambda: os.path.exists(port_file) and open(port_file).read().count("\n") >= 1)
        with open(port_file) as file:
            self.port = int(file.readline())

    def open(self, address):
        """In a tab of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("PUT", "/json/new?" + urllib.parse.quote(address, safe=""))
        check(connection.getresponse().status == 200, "Chromium opens no tab")
        connection.close()


def run(cluster, program):
    cluster.start()
    site, stranger = Site(cluster), Site(cluster)
    cluster.lahar("site", "add", "game", "--key", cluster.path("sites", "game.pub"), "--origin", site.origin)
    edges = [f"wss://127.0.0.1:{cluster.wss_ports[name]}/" for name in ("e1", "e2")]
    for edge in ("e1", "e2"):
        wait_until("the edges know the origin", 20,
                   lambda: WebSocketClient(cluster.wss_ports[edge], site.origin.encode(), tls=True).status == 101)
    browser = Browser(program, cluster)

    browser.open(stranger.page("mallory", "alice", edges[0]))
    refused = stranger.result("mallory")
    check(not refused["opened"] and refused["closed"] == 1006, f"a page of another origin was let in: {refused}")
    why = sum(value for (_, labels), value in cluster.metrics("e1").items() if 'reason="origin_refused"' in labels)
    check(why == 1, "it was refused for something else")

    browser.open(site.page("alice", "bob", edges[0]))
    browser.open(site.page("bob", "alice", edges[1]))
    for user, peer in (("alice", "bob"), ("bob", "alice")):
        result = site.result(user)
        check(result["error"] is None and result["closed"] is None, f"{user}: {result}")
        check(result["protocol"] == "lahar.v1", f"{user} speaks {result['protocol']}")
        check(result["acknowledged"] == MESSAGES, f"{user}: {result['acknowledged']} of {MESSAGES} were delivered")
        check(result["received"] == [f"{peer} {i} \N{VOLCANO}" for i in range(MESSAGES)], f"{user} got {result['received']}")
    check(site.gids["alice"] != site.gids["bob"], "one GID for two users")
    cluster.check_ledgers()
    print(f"two tabs of Chromium exchanged {2 * MESSAGES} confirmed messages over wss; a page of another origin was refused")


def main():
    program = shutil.which("chromium")
    if program is None:
        print("skipped: Chromium is not installed; tests/run --all does that")
        return 77
    cluster = Cluster(sys.argv[1])
    held = False
    try:
        run(cluster, program)
        held = True
    except (Failure, OSError, ValueError) as failure:
        print(f"browser: {failure}\nthe logs are in {cluster.dir}")
    finally:
        cluster.stop()
    if held:
        cluster.clean()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
