"""Terminals for the tests: tmux as one that shows what a person would see, and a bare pty for what is left behind."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from cluster import check, wait_until


class Terminals:
    """Windows of a private tmux server, whose screens can be read as text."""

    def __init__(self, directory):
        self.base = ["tmux", "-S", os.path.join(directory, "tmux.sock"), "-u", "-f", "/dev/null"]

    def tmux(self, *args, stdin=None):
        done = subprocess.run([*self.base, *args], capture_output=True, input=stdin, timeout=20,
                              env={**os.environ, "LC_ALL": "C.UTF-8"})
        check(done.returncode == 0, f"tmux {args}: {done.stderr.decode()}")
        return done.stdout.decode()

    def open(self, name, columns, rows, command, env):
        variables = [word for key, value in env.items() for word in ("-e", f"{key}={value}")]
        self.tmux("new-session", "-d", "-s", name, "-x", str(columns), "-y", str(rows), *variables, "--", *command)
        self.tmux("set-option", "-t", name, "remain-on-exit", "on")
        return Terminal(self, name)

    def close(self):
        subprocess.run([*self.base, "kill-server"], capture_output=True)


class Terminal:
    def __init__(self, terminals, name):
        self.tmux, self.name = terminals.tmux, name

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", self.name).rstrip("\n").split("\n")

    def keys(self, *keys):
        """Names as tmux has them: Enter, M-Enter, PageUp, C-c."""
        self.tmux("send-keys", "-t", self.name, *keys)

    def type(self, text):
        self.tmux("send-keys", "-t", self.name, "-l", text)

    def line(self, text):
        self.type(text)
        self.keys("Enter")

    def paste(self, text):
        """Bracketed, as a terminal pastes."""
        self.tmux("load-buffer", "-b", "test", "-", stdin=text.encode())
        self.tmux("paste-buffer", "-p", "-r", "-b", "test", "-t", self.name)

    def resize(self, columns, rows):
        self.tmux("resize-window", "-t", self.name, "-x", str(columns), "-y", str(rows))

    def ended(self):
        return self.tmux("display-message", "-p", "-t", self.name, "#{pane_dead}").strip() == "1"

    def shows(self, text, seconds=20):
        """Waits until some row has this text; returns that row."""
        def row():
            return next((row for row in self.screen() if text in row), None)
        try:
            return wait_until(f"{self.name} shows '{text}'", seconds, row)
        except Exception:
            print("\n".join(self.screen()))
            raise

    def hides(self, text, seconds=20):
        wait_until(f"{self.name} shows '{text}' no more", seconds, lambda: not any(text in row for row in self.screen()))

    def keep(self, name):
        """A picture for people, if they want one."""
        if os.environ.get("LAHAR_SCREENSHOTS"):
            with open(os.path.join(os.environ["LAHAR_SCREENSHOTS"], name + ".txt"), "w") as file:
                file.write("\n".join(self.screen()) + "\n")


class Pty:
    """A program on a bare pty: its raw output, and the settings that it leaves."""

    def __init__(self, command, env, columns=80, rows=24):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        # start_new_session and the ioctl make the pty its controlling terminal, as a terminal program does.
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave, env=env,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def read(self, seconds=0.0):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                self.output += os.read(self.master, 65536)
            except OSError:
                return
            seconds = 0

    def awaits(self, text, seconds=20):
        end = time.monotonic() + seconds
        while text not in self.output:
            check(time.monotonic() < end, f"the terminal was not sent {text!r}: {self.output[-500:]!r}")
            self.read(0.05)

    def write(self, text):
        os.write(self.master, text)

    def wait(self, seconds=20):
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            check(time.monotonic() < end, "the program does not end")
            self.read(0.05)
        self.read()
        return self.process.returncode

    def settings_are_back(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
