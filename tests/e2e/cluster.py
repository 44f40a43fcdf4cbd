"""A cluster of real processes: started, watched, killed and stopped by the process that started it, by pid.

`Cluster` runs three `memring serve`. `Standin` has the same face over one stock memcached that plays all three nodes:
what a story expects of memring can so be tried against memcached itself.
"""

import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

HOST = "127.0.0.1"
NODES = 3
READY_SECONDS_MAX = 60
CATCH_UP_SECONDS_MAX = 90
STOP_SECONDS_MAX = 3
LOG_LINES_SHOWN = 60


class ClusterError(Exception):
    """The cluster did not come to the state that a story needs."""


def die_with_parent():
    """In a child: end when the driver ends, even by SIGKILL; and heed SIGINT, which shells turn off in the background."""
    pr_set_pdeathsig = 1
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def free_base_port(nodes=NODES):
    """A port P such that P .. P+2, P+10 .. P+12 and so on for all nodes are free, below the ephemeral range."""
    rng = random.Random(os.getpid())
    for _ in range(200):
        base = rng.randrange(12000, 30000, 10)
        if all(is_free(base + 10 * node + port) for node in range(nodes) for port in range(3)):
            return base
    raise ClusterError("no free ports found")


def is_free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
    return True


class Node:
    """One process and where it listens."""

    def __init__(self, name, port, command, log_path):
        self.name = name
        self.port = port
        self.peer_port = port + 1
        self.admin_port = port + 2
        self.command = command
        self.log_path = log_path
        self.process = None

    @property
    def address(self):
        return f"{HOST}:{self.port}"

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent
            )

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL: no goodbye to anyone."""
        self.process.kill()
        self.process.wait()

    def interrupt(self):
        if self.is_running():
            self.process.send_signal(signal.SIGINT)

    def stop(self):
        if not self.is_running():
            return
        self.interrupt()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def rss_megabytes(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def admin(self, path, body=None):
        """(HTTP status, body) of the admin port, asked by GET, or by POST with a body; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.admin_port}{path}", body, timeout=2) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except (OSError, ValueError):
            return 0, b""

    def log_tail(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.readlines()[-LOG_LINES_SHOWN:]


class Cluster:
    """`memring serve`, three by default, that form one ring. Items may be as large as memcached's."""

    is_standin = False

    def __init__(self, binary, memory="512m", nodes=NODES, more=(), base=None):
        self.logs = tempfile.mkdtemp(prefix="memring-e2e-")
        self.binary, self.memory, self.more = binary, memory, more
        base = base or free_base_port(nodes)
        ports = [base + 10 * node for node in range(nodes)]
        join = ",".join(f"{HOST}:{port + 1}" for port in ports)
        expect = ("--expect", str(nodes))
        self.nodes = [self.node_at(f"n{number}", port, join, expect) for number, port in enumerate(ports, start=1)]

    def node_at(self, name, port, join, more=()):
        """A node of this cluster, not yet started."""
        command = [
            self.binary, "serve", "--name", name, "-l", HOST, "-p", str(port), "--peer-port", str(port + 1),
            "--admin-port", str(port + 2), "--advertise", HOST, "--join", join, "-m", self.memory, *more, *self.more,
        ]  # fmt: skip
        return Node(name, port, command, os.path.join(self.logs, f"{name}.log"))

    def alike(self, nodes, more=()):
        """Another cluster, of so many nodes that are told the same and `more`."""
        if self.is_standin:
            return Standin(options=more)
        return Cluster(self.binary, nodes=nodes, more=(*self.more, *more))

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.show_logs()
            self.stop()
            raise
        return self

    def __exit__(self, kind, _value, _trace):
        if kind is not None:
            self.show_logs()
        self.stop()

    def start(self):
        for node in self.nodes:
            node.start()
        self.wait_ready(READY_SECONDS_MAX)

    def stop(self):
        for node in self.nodes:
            node.interrupt()
        for node in self.nodes:
            node.stop()

    def show_logs(self):
        for node in self.nodes:
            print(f"--- last lines of {node.log_path}")
            print("".join(node.log_tail()), end="", flush=True)

    def wait_ready(self, seconds_max):
        """Until every node answers /readyz and sees three alive members that hold all of their share."""
        give_up = time.monotonic() + seconds_max
        while True:
            missing = [why for node in self.nodes if (why := self._unready(node))]
            if not missing:
                return
            dead = [node.name for node in self.nodes if not node.is_running()]
            if dead:
                raise ClusterError(f"ended: {', '.join(dead)}")
            if time.monotonic() > give_up:
                raise ClusterError(f"not ready after {seconds_max} s: {'; '.join(missing)}")
            time.sleep(0.05)

    def _unready(self, node):
        status, body = node.admin("/readyz")
        if status != 200:
            return f"{node.name} /readyz {status}"
        status, body = node.admin("/api/cluster")
        try:
            members = json.loads(body)["members"]
            states = {m["name"]: (m["state"], float(m["synced"])) for m in members}
        except (ValueError, KeyError, TypeError):
            return f"{node.name} /api/cluster {status} {body[:200]!r}"
        if len(states) == len(self.nodes) and all(state == ("alive", 1.0) for state in states.values()):
            return None
        return f"{node.name} sees {states}"

    def kill(self, node):
        node.kill()

    def restart(self, node):
        """Starts it again, empty, under its name; returns the seconds until it held everything again."""
        begin = time.monotonic()
        node.start()
        self.wait_ready(CATCH_UP_SECONDS_MAX)
        return time.monotonic() - begin


def yardstick_binary():
    """MEMRING_YARDSTICK, else what scripts/install-tools.sh has put there, else what the PATH has."""
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    built = os.path.join(top, ".tools", "bin", "memcached")
    return os.environ.get("MEMRING_YARDSTICK") or (built if os.path.exists(built) else "memcached")


class Standin(Cluster):
    """One stock memcached under three names. It cannot be killed and keeps everything."""

    is_standin = True

    def __init__(self, memory="1024", options=()):
        self.logs = tempfile.mkdtemp(prefix="memring-e2e-")
        self.binary = yardstick_binary()
        port = free_base_port()
        command = [
            self.binary, "-B", "ascii", "-u", "root", "-l", HOST, "-p", str(port), "-U", "0", "-m", memory, "-I", "1m",
            "-t", "2", *options,
        ]  # fmt: skip
        log_path = os.path.join(self.logs, "memcached.log")
        self.nodes = [Node(f"n{number}", port, command, log_path) for number in range(1, NODES + 1)]

    def start(self):
        self.nodes[0].start()
        for node in self.nodes[1:]:
            node.process = self.nodes[0].process
        self.wait_ready(READY_SECONDS_MAX)

    def stop(self):
        self.nodes[0].stop()

    def wait_ready(self, seconds_max):
        give_up = time.monotonic() + seconds_max
        while True:
            try:
                socket.create_connection((HOST, self.nodes[0].port), timeout=1).close()
                return
            except OSError as error:
                if time.monotonic() > give_up:
                    raise ClusterError(f"memcached: {error}") from error
                time.sleep(0.05)

    def kill(self, node):
        pass

    def restart(self, node):
        return 0.0


class Yardstick(Standin):
    """The memcached that answers are compared with: 1.6.45 ("memcached"), or an older one ("old")."""

    NEW = (1, 6, 45)

    # memring has no parts of an LRU and no pages of slabs: asked for them, it answers as memcached does without.
    WITHOUT = ("-o", "no_lru_maintainer,no_slab_reassign")

    def __init__(self, options=()):
        super().__init__(options=(*self.WITHOUT, *options))
        del self.nodes[1:]
        self.version = subprocess.run([self.binary, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]

    @property
    def flavour(self):
        return "memcached" if tuple(map(int, self.version.split("."))) >= self.NEW else "old"
