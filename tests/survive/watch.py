"""What the nodes say of themselves meanwhile: resident memory, connections, and hints that wait and are delivered."""

import socket
import threading
import time

from cluster import HOST

SAMPLE_SECONDS = 1.0
HINT_SECONDS = 0.02
# The share of what waits that a rate is measured over.
MOST_OF = 0.9
ANSWER_SECONDS_MAX = 0.5
CATCH_UP_SECONDS_MAX = 60
# What a node may use: this much of `-m`, and beyond it. Queues to other nodes, which are empty in calm, are left out.
MEMORY_SHARE, MEMORY_FIXED_MB, CONNECTION_KB, HINTS_MB = 1.05, 15, 4, 64


class Memory(threading.Thread):
    """Samples every process each second: the most it used, and how much of what it may use that was."""

    def __init__(self, server, settings):
        super().__init__(name="memory", daemon=True)
        self.server, self.settings = server, settings
        self.ended = threading.Event()
        self.highest = {}
        self.connections = {}

    def run(self):
        while not self.ended.wait(SAMPLE_SECONDS):
            for node in list(self.server.nodes):
                try:
                    used = node.rss_megabytes()
                except (OSError, AttributeError):
                    continue
                self.highest[node.name] = max(used, self.highest.get(node.name, 0.0))
                count = stats(node).get("curr_connections")
                if count:
                    self.connections[node.name] = max(int(count), self.connections.get(node.name, 0))

    def end(self):
        self.ended.set()
        self.join()

    def figures(self):
        limit = {
            name: MEMORY_SHARE * self.settings.memory + MEMORY_FIXED_MB + HINTS_MB + count * CONNECTION_KB / 1024
            for name, count in self.connections.items()
        }
        return {"rss_mb": self.highest, "limit_mb": limit, "connections": self.connections}


def stats(node):
    """`stats` of a node; empty when it does not answer."""
    try:
        with socket.create_connection((HOST, node.port), timeout=ANSWER_SECONDS_MAX) as conn:
            conn.sendall(b"stats\r\n")
            reply = b""
            while not reply.endswith(b"END\r\n"):
                part = conn.recv(65536)
                if not part:
                    return {}
                reply += part
    except OSError:
        return {}
    words = (line.split() for line in reply.decode("latin-1").splitlines())
    return {fields[1]: fields[2] for fields in words if len(fields) == 3 and fields[0] == "STAT"}


class CatchUp:
    """Hints of some nodes being delivered, from the first delivery until none is left."""

    def __init__(self, holders):
        self.holders = holders
        self.waiting, self.delivered = self._counts() or (0, 0)

    def _counts(self):
        """How many wait and how many were delivered so far, on all of them; None while one of them says nothing."""
        said = [stats(node) for node in self.holders]
        if not all(said):
            return None
        return tuple(sum(int(one.get(name, 0)) for one in said) for name in ("hints", "hints_replayed"))

    def watch(self, value_bytes):
        """What was delivered and how fast, counted in bytes of values; None where nothing waits.

        The rate is that of the first nine tenths: the last few are written while the first are delivered.
        """
        if not self.waiting:
            return None
        begin = at = time.monotonic()
        first = most = None
        left, delivered = self.waiting, 0
        while left and at < begin + CATCH_UP_SECONDS_MAX:
            time.sleep(HINT_SECONDS)
            before, counts = at, self._counts()
            at = time.monotonic()
            if counts is None:
                continue
            left, delivered = counts[0], counts[1] - self.delivered
            if first is None and delivered:
                first = before
            if most is None and delivered >= MOST_OF * self.waiting:
                most = (delivered * value_bytes, at - first)
        rate = most and most[0] / most[1]
        return {
            "waited": self.waiting, "left": left, "delivered": delivered, "seconds": at - begin, "bytes_a_second": rate,
            "first_after_s": first and first - begin,
        }  # fmt: skip
