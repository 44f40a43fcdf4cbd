"""Values of megabytes through every node, and nodes killed with SIGKILL while one is on its way: old or new, never a mix.

Every byte of a value tells its version, so a torn one cannot hide. The clients are raw sockets: what is measured is
memring, and a value is sent in pieces so that the kill falls into its middle.
"""

import hashlib
import random
import socket
import threading
import time

from cluster import HOST
from report import Stopwatch

MEGABYTE = 1024 * 1024
SIZES = {"1.5 MB": 3 * MEGABYTE // 2, "64 MB": 64 * MEGABYTE}
TIMEOUT_SECONDS = 30
# How long after the start of a write its victim is killed: before, during and behind the transfer.
KILL_AFTER_SECONDS = (0.05, 0.15, 0.3, 0.6)
# `-m` of the cluster, `-I` of this part, and what a node may take beside: a value that comes in and one that goes out.
MEMORY_MEGABYTES, ITEM_MEGABYTES = 512, 128
RSS_MEGABYTES_MAX = MEMORY_MEGABYTES * 1.2 + 2 * ITEM_MEGABYTES
SETTLE_SECONDS_MAX = 15


class Broken(Exception):
    """The connection ended, or what came is no answer."""


class Wire:
    """A connection that speaks memcached's text."""

    def __init__(self, node):
        self.node = node
        try:
            self.socket = socket.create_connection((HOST, node.port), timeout=TIMEOUT_SECONDS)
        except OSError as error:
            raise Broken(error) from error
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb", buffering=MEGABYTE)

    def command(self, line, value=None):
        """Sends a command; its first line of answer."""
        try:
            self.socket.sendall(line.encode() + b"\r\n")
            if value is not None:
                self.socket.sendall(value)
                self.socket.sendall(b"\r\n")
            return self.line()
        except OSError as error:
            raise Broken(error) from error

    def line(self):
        line = self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise Broken(f"ended after {line!r}")
        return line[:-2].decode()

    def store(self, key, value, verb="set", more=""):
        return self.command(f"{verb} {key} 0 0 {len(value)}{more}", value)

    def get(self, key):
        """(value, token), or (None, None) for a miss."""
        try:
            words = self.command(f"gets {key}").split()
            if words == ["END"]:
                return None, None
            if words[:2] != ["VALUE", key]:
                raise Broken(f"gets: {words}")
            value = self.reader.read(int(words[3]))
            if len(value) != int(words[3]) or self.line() or self.line() != "END":
                raise Broken("a value was cut off")
            return value, words[4]
        except OSError as error:
            raise Broken(error) from error

    def close(self):
        self.reader.close()
        self.socket.close()


def sha256(value):
    return "a miss" if value is None else hashlib.sha256(value).hexdigest()[:16]


def round_trips(wires, report):
    """Set at each node, read at each node."""
    wrong, slowest = [], {}
    for name, size in SIZES.items():
        for number, writer in enumerate(wires):
            key, value = f"large-{size}", random.Random(f"{name}/{number}").randbytes(size)
            watch = Stopwatch()
            answer = writer.store(key, value)
            slowest[f"set {name}"] = max(slowest.get(f"set {name}", 0), watch.seconds())
            if answer != "STORED":
                wrong.append(f"set {name} at {writer.node.name}: {answer}")
            for reader in wires:
                watch = Stopwatch()
                found, _ = reader.get(key)
                slowest[f"get {name}"] = max(slowest.get(f"get {name}", 0), watch.seconds())
                if sha256(found) != sha256(value):
                    wrong.append(f"{name} of {writer.node.name} at {reader.node.name}: {sha256(found)}")
    report.check(f"{' and '.join(SIZES)} set at each node are the same at each node", wrong)
    report.figure("slowest " + ", ".join(f"{what} {seconds * 1000:.0f} ms" for what, seconds in slowest.items()))


def changes(wires, report):
    """append, cas, touch and delete, each at another node than the write before."""
    first, second, third = wires
    for name, size in SIZES.items():
        key, value = f"changed-{size}", b"v" * size
        done = [first.store(key, value), second.store(key, b"tail", "append")]
        found, token = third.get(key)
        report.check(f"append to {name} at another node", done == ["STORED"] * 2 and found == value + b"tail")
        other = b"w" * size
        done = [third.store(key, value, "cas", f" {int(token) - 1}"), first.store(key, other, "cas", f" {token}")]
        done.append(second.command(f"touch {key} 1000"))
        report.check(f"cas and touch of {name} at other nodes", done == ["EXISTS", "STORED", "TOUCHED"])
        report.check(f"{name} after them", second.get(key)[0] == other)
        done = [third.command(f"delete {key}"), *(wire.get(key)[0] for wire in wires)]
        report.check(f"delete of {name} at another node", done == ["DELETED", None, None, None])


class Writer(threading.Thread):
    """Sets one key to one version after another until its node dies or it is told to stop."""

    def __init__(self, node, key, version):
        super().__init__(name="large-writer", daemon=True)
        self.node, self.key = node, key
        self.acknowledged = self.attempted = version
        self.answers = []
        self.has_begun = threading.Event()
        self.stopping = False

    def run(self):
        try:
            wire = Wire(self.node)
            while not self.stopping:
                self.attempted += 1
                self.has_begun.set()
                answer = wire.store(self.key, tagged(self.attempted))
                self.has_begun.clear()
                if answer == "STORED":
                    self.acknowledged = self.attempted
                else:
                    self.answers.append(answer)
            wire.close()
        except Broken:
            pass  # Its node was killed.


def tagged(version):
    return bytes([version % 256]) * SIZES["64 MB"]


def shown(value):
    return "a miss" if value is None else f"{len(value)} bytes of {sorted(set(value[:: 64 * 1024]))}"


def judge(wire, key, acknowledged, attempted):
    """Whether a node has one whole version that may be there; what is wrong, else nothing."""
    found, _ = wire.get(key)
    if found is not None and any(found == tagged(version) for version in range(acknowledged, attempted + 1)):
        return []
    return [f"{wire.node.name}: {shown(found)}, not version {acknowledged} to {attempted}"]


class SmallGets(threading.Thread):
    """Asks one node for a small value all the time; remembers the longest wait."""

    def __init__(self, node):
        super().__init__(name="small-gets", daemon=True)
        self.node = node
        self.count = self.worst = 0
        self.wrong = []
        self.is_over = False

    def run(self):
        try:
            wire = Wire(self.node)
            while not self.is_over:
                watch = Stopwatch()
                found, _ = wire.get("small")
                self.worst = max(self.worst, watch.seconds())
                self.count += 1
                if found != b"value":
                    self.wrong.append(f"{self.node.name}: {shown(found)}")
            wire.close()
        except Broken as error:
            self.wrong.append(f"{self.node.name}: {error}")


def kill_rounds(cluster, report):
    """The coordinator of an endless writer dies, then a home, and so on; each time another node."""
    key, version, worst, gets = "torn", 0, 0, 0
    first = Wire(cluster.nodes[0])
    report.check("a first version is set", first.store(key, tagged(version)) == "STORED")
    first.close()
    for number, wait in enumerate(KILL_AFTER_SECONDS):
        kills_home = number % 2 == 1
        victim, other, third = (cluster.nodes[(number + place) % 3] for place in range(3))
        writer = Writer(other if kills_home else victim, key, version)
        small = [SmallGets(node) for node in (other, third)]
        for thread in (writer, *small):
            thread.start()
        writer.has_begun.wait(TIMEOUT_SECONDS)
        time.sleep(wait)
        acknowledged_before = writer.acknowledged
        cluster.kill(victim)
        if kills_home:
            give_up = time.monotonic() + SETTLE_SECONDS_MAX
            while writer.acknowledged < acknowledged_before + 2 and time.monotonic() < give_up:
                time.sleep(0.01)
            writer.stopping = True
        writer.join(TIMEOUT_SECONDS)
        for thread in small:
            thread.is_over = True
            thread.join(TIMEOUT_SECONDS)
        what = f"{victim.name} killed {'as a home' if kills_home else 'while it coordinates'}"
        if kills_home:
            report.check(f"{what}: writes go on", [] if writer.acknowledged > acknowledged_before else writer.answers or ["no answer"])
        wrong = [text for wire in map(Wire, (other, third)) for text in judge(wire, key, writer.acknowledged, writer.attempted)]
        report.check(f"{what}: the others answer one whole version, no older than the last acknowledged", wrong)
        report.check(f"{what}: small gets at the others are answered", [text for thread in small for text in thread.wrong])
        report.figure(f"{what} {wait * 1000:.0f} ms into a write: version {writer.acknowledged} acknowledged, {writer.attempted} begun")
        cluster.restart(victim)
        report.check(f"{what}, and back: so does it", judge(Wire(victim), key, writer.acknowledged, writer.attempted))
        worst, gets = max(worst, *(thread.worst for thread in small)), gets + sum(thread.count for thread in small)
        version = writer.attempted
    report.figure(f"{gets} small gets meanwhile, the slowest {worst * 1000:.0f} ms")


def within_memory(cluster):
    """What is over, once it had time to be given back."""
    give_up = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        sizes = {node.name: node.rss_megabytes() for node in cluster.nodes}
        over = [f"{name}: {size:.0f} MB" for name, size in sizes.items() if size > RSS_MEGABYTES_MAX]
        if not over or time.monotonic() > give_up:
            return sizes, over
        time.sleep(0.2)


def run(cluster, report):
    wires = [Wire(node) for node in cluster.nodes]
    report.check("a small value is set", wires[0].store("small", b"value") == "STORED")
    round_trips(wires, report)
    changes(wires, report)
    for wire in wires:
        wire.close()
    kill_rounds(cluster, report)
    sizes, over = within_memory(cluster)
    report.figure("RSS " + ", ".join(f"{name} {size:.0f} MB" for name, size in sizes.items()))
    report.check(f"every node is back below {RSS_MEGABYTES_MAX:.0f} MB", over)
