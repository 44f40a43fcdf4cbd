"""Raw bytes against every port of every node: nothing that is sent ends one, or makes it grow without end."""

import random
import socket
import struct

import clients
from cluster import HOST
from report import Stopwatch

GARBAGE_BLOBS = 10_000
BLOBS_A_CONNECTION = 10
SEED = 20_241


class Garbage:
    """Seeded blobs: noise, lines with holes in them, frames that lie about their length, other protocols."""

    WORDS = [b"set", b"get", b"gets", b"cas", b"incr", b"add", b"append", b"touch", b"gat", b"delete", b"flush_all", b"stats",
             b"verbosity", b"noreply", b"0", b"-1", b"99999999999999999999", b"key", b"\x00", b"\xff" * 9, b"k" * 251, b"mg", b"ms"]  # fmt: skip

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def blob(self):
        return self.rng.choice([self.noise, self.line, self.frame, self.http, self.near_miss])()

    def noise(self):
        return self.rng.randbytes(self.rng.choice([1, 7, 64, 500, 1400, 9000]))

    def line(self):
        words = [self.rng.choice(self.WORDS) for _ in range(self.rng.randrange(1, 9))]
        return b" ".join(words) + self.rng.choice([b"\r\n", b"\n", b"\r", b""]) + self.rng.randbytes(self.rng.randrange(0, 20))

    def frame(self):
        length = self.rng.choice([0, 1, 16, 1400, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1])
        head = self.rng.choice([b"", b"\x00", b"\x01", b"\x02", b"MR", b"mrng", b"memring"])
        body = self.rng.randbytes(self.rng.randrange(0, 600))
        return head + struct.pack(self.rng.choice("<>") + "I", length) + body

    def http(self):
        method = self.rng.choice([b"GET", b"POST", b"DELETE", b"G\x00T", b"OPTIONS"])
        path = self.rng.choice([b"/", b"/api/cluster", b"/readyz", b"/%00", b"/" + b"a" * 5000, b"http://[::", b"*"])
        rest = b" HTTP/1.1\r\nHost: x\r\nContent-Length: " + self.rng.choice([b"-1", b"0", b"99999999999", b"x"])
        return method + b" " + path + rest + b"\r\n\r\n" + self.rng.randbytes(20)

    def near_miss(self):
        good = bytearray(self.rng.choice([b"set k 0 0 5\r\nhello\r\n", b"get k\r\n", b"incr k 1\r\n", b"cas k 0 0 1 1\r\na\r\n"]))
        for _ in range(self.rng.randrange(1, 4)):
            good[self.rng.randrange(len(good))] = self.rng.randrange(256)
        return bytes(good)


def throw_tcp(port, blobs):
    """Sends blobs on one connection after another, some at a time; whatever comes back is read away."""
    thrown = 0
    while thrown < len(blobs):
        with socket.socket() as connection:
            connection.settimeout(0.01)
            connection.connect((HOST, port))
            for blob in blobs[thrown : thrown + BLOBS_A_CONNECTION]:
                thrown += 1
                try:
                    connection.sendall(blob)
                except OSError:
                    break  # It hung up on us, which it may.
            try:
                while connection.recv(65536):
                    pass
            except OSError:
                pass


def throw_udp(port, blobs):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for blob in blobs:
            try:
                sender.sendto(blob[:9000], (HOST, port))
            except OSError:
                pass


def run(cluster, report):
    """A quarter of the blobs each to the client, peer (TCP, UDP) and admin ports of every node in turn."""
    source, watch, dead = Garbage(SEED), Stopwatch(), []
    before = [node.rss_megabytes() for node in cluster.nodes]
    share = GARBAGE_BLOBS // 4 // len(cluster.nodes)
    thrown = 0
    for node in cluster.nodes:
        targets = [(throw_tcp, node.port)]
        if not cluster.is_standin:
            targets += [(throw_tcp, node.peer_port), (throw_udp, node.peer_port), (throw_tcp, node.admin_port)]
        for throw, port in targets:
            try:
                throw(port, [source.blob() for _ in range(share)])
                thrown += share
            except OSError as error:
                dead.append(f"{node.name} port {port}: {error!r}")
            if not node.is_running():
                dead.append(f"{node.name} ended (exit {node.process.returncode}) while garbage came to port {port}, seed {SEED}")
    after = [node.rss_megabytes() for node in cluster.nodes if node.is_running()]
    report.figure(
        f"garbage: {watch.rate(thrown)} blobs; RSS {', '.join(f'{size:.0f}' for size in before)} MB before, "
        f"{', '.join(f'{size:.0f}' for size in after)} MB after"
    )
    report.check("garbage to the client, peer and admin ports ends no node", dead)
    if not dead:
        cluster.wait_ready(30)
        report.check("after the garbage the nodes still serve", serve(cluster))


def serve(cluster):
    violations = []
    for at, node in enumerate(cluster.nodes):
        writer, reader = clients.PyMemcache(node), clients.PyMemcache(cluster.nodes[at - 1])
        try:
            writer.set(f"after-garbage-{at}", b"x")
            if reader.get(f"after-garbage-{at}") != b"x":
                violations.append(f"set through {node.name} is not seen")
        except Exception as error:
            violations.append(f"{node.name}: {error!r}")
    return violations
