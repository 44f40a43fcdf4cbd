"""Writes that a node has missed: kept for it on disk, through restarts of those that keep them, and given to it at a pace.

A node is stopped with SIGSTOP, so that it misses writes and keeps its memory; then it goes on. Starts clusters of its own,
each node with a folder of its own.
"""

import os
import random
import signal
import socket
import subprocess
import tempfile
import time

from cluster import HOST, Cluster
from report import Stopwatch

MEGABYTE = 1_000_000
MIB = 1024 * 1024
VALUE_BYTES = 1000
# Writes that a node misses while others go on: 200 MB, which is what is timed.
MISSED = 200_000
FEW_MISSED = 20_000
BATCH = 500
TIMEOUT_SECONDS = 60
# A stopped node counts as gone for good after this; it is longer than any part of this.
PATIENCE = ("--refound-after", "300s")
PACE_MEGABYTES = 20
DELIVERED_SECONDS_MAX = 120
MEGABYTES_A_SECOND_MIN = 50


class Nodes(Cluster):
    """Three nodes, each with a folder."""

    def __init__(self, binary, more):
        super().__init__(binary, memory="1g", more=(*PATIENCE, *more))
        for node in self.nodes:
            node.folder = os.path.join(self.logs, f"{node.name}.data")
            node.command = [*node.command, "--data-dir", node.folder]


def segments(node):
    folder = os.path.join(node.folder, "hints")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".hints")]


def stats(node):
    with socket.create_connection((HOST, node.port), timeout=TIMEOUT_SECONDS) as wire:
        wire.sendall(b"stats\r\n")
        lines = wire.makefile("rb")
        found = {}
        while (line := lines.readline().split()) and line[0] == b"STAT":
            found[line[1].decode()] = line[-1].decode()
        return found


def total(nodes, name):
    return sum(int(stats(node)[name]) for node in nodes)


def value_of(key, version):
    return random.Random(f"{key}/{version}").randbytes(8).hex().encode().ljust(VALUE_BYTES, b".")


def write(node, keys, version):
    """Sets all keys; what was answered that is not an acknowledgement."""
    refused = []
    with socket.create_connection((HOST, node.port), timeout=TIMEOUT_SECONDS) as wire:
        lines = wire.makefile("rb")
        for start in range(0, len(keys), BATCH):
            batch = [b"ms %b %d q\r\n%b\r\n" % (key.encode(), VALUE_BYTES, value_of(key, version)) for key in keys[start : start + BATCH]]
            wire.sendall(b"".join(batch) + b"mn\r\n")
            while (line := lines.readline()) != b"MN\r\n":
                refused.append(line.decode(errors="replace").strip())
                if not line:
                    return refused
    return refused


def wrong(node, keys, version):
    """Keys that the node answers otherwise, from its own copy alone."""
    found = []
    with socket.create_connection((HOST, node.port), timeout=TIMEOUT_SECONDS) as wire:
        lines = wire.makefile("rb")
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            wire.sendall(b"".join(b"mg %b v Lone\r\n" % key.encode() for key in batch))
            for key in batch:
                head = lines.readline().split()
                held = lines.read(int(head[1]) + 2)[:-2] if head[:1] == [b"VA"] else None
                if held != value_of(key, version):
                    found.append(f"{node.name} {key}: {held and held[:20]}")
    return found


def wait_delivered(nodes):
    """Seconds until nobody owes anything, and the rate at which things arrived meanwhile, in MB/s of values."""
    watch, before = Stopwatch(), total(nodes, "hints_replayed")
    first = None
    while watch.seconds() < DELIVERED_SECONDS_MAX:
        left, done = total(nodes, "hints") + total(nodes, "hints_on_disk"), total(nodes, "hints_replayed") - before
        if first is None and done:
            first = (watch.seconds(), done)
        if not left:
            break
        time.sleep(0.02)
    began, already = first or (0, 0)
    rate = (done - already) * VALUE_BYTES / MEGABYTE / max(watch.seconds() - began, 1e-3)
    return watch.seconds(), rate, left


def owe(cluster, report, keys, version, what):
    """The third node is stopped and misses these writes."""
    first, second, third = cluster.nodes
    third.process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    watch = Stopwatch()
    half = len(keys) // 2
    refused = write(first, keys[:half], version) + write(second, keys[half:], version)
    report.check(f"{what}: every write is acknowledged", refused)
    report.figure(f"{what}: {watch.rate(len(keys))} writes")
    # Homes that kept silent are noted a second later.
    time.sleep(1.5)


def go_on(cluster):
    cluster.nodes[2].process.send_signal(signal.SIGCONT)


def overflow(binary, report):
    """More than memory has room for; the restart of one that keeps them; one of its segments changed."""
    with Nodes(binary, ("--hint-memory", "1m", "--hint-rate", "1g")) as cluster:
        first, second, third = cluster.nodes
        keys = [f"key-{number}" for number in range(MISSED)]
        owe(cluster, report, keys, 1, "200 MB missed")
        on_disk = total([first, second], "hints_on_disk")
        report.check("what memory has no room for is on disk, and nothing is dropped", on_disk > MISSED // 2 and not total([first, second], "hints_dropped"))
        report.figure(f"{on_disk} hints in {total([first, second], 'hint_disk_bytes') / MEGABYTE:.1f} MB of disk")
        go_on(cluster)
        seconds, rate, left = wait_delivered([first, second])
        report.check("all of it is delivered", not left)
        report.figure(f"delivered after {seconds:.1f} s, at {rate:.0f} MB/s of values")
        report.check(f"at {MEGABYTES_A_SECOND_MIN} MB/s or more", rate >= MEGABYTES_A_SECOND_MIN)
        cluster.wait_ready(TIMEOUT_SECONDS)
        report.check(f"{third.name} has every write of its own", wrong(third, keys, 1))
        report.check("no segment is left", segments(first) + segments(second))
        restarts(cluster, report)


def restarts(cluster, report):
    first, _second, third = cluster.nodes
    for version, (what, change) in enumerate((("restart", lambda: []), ("changed segment", lambda: flip(first))), start=2):
        keys = [f"key-{number}" for number in range(FEW_MISSED)]
        owe(cluster, report, keys, version, what)
        owed = total([first], "hints") + total([first], "hints_on_disk")
        first.process.send_signal(signal.SIGTERM)
        first.process.wait(TIMEOUT_SECONDS)
        changed = change()
        first.start()
        found = until(lambda: int(stats(first)["hints_on_disk"]), lambda on_disk: on_disk >= owed * (not changed) and on_disk > 0)
        report.check(f"{what}: {first.name} has its hints again", bool(owed) and (found == owed if not changed else 0 < found < owed))
        go_on(cluster)
        cluster.wait_ready(TIMEOUT_SECONDS)
        _, _, left = wait_delivered(cluster.nodes)
        report.check(f"{what}: all hints are delivered", not left)
        replayed = int(stats(first)["hints_replayed"])
        report.figure(f"{what}: {first.name} owed {owed}, found {found}, delivered {replayed}")
        lost = until(lambda: wrong(third, keys, version), lambda wrong_keys: not wrong_keys)
        report.check(f"{what}: {third.name} has every write of its own", lost)
        named = [line for line in first.log_tail() if any(os.path.basename(path) in line for path in changed)]
        report.check(f"{what}: a changed segment is named once", len(named) == len(changed) == int(stats(first)["hint_segments_bad"]))


def flip(node):
    """Changes a byte in the middle of the largest segment."""
    path = max(segments(node), key=os.path.getsize)
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x10]))
    return [path]


def until(ask, is_enough):
    """Asks until the answer is enough, for a while; the last answer."""
    watch = Stopwatch()
    while True:
        try:
            answer = ask()
        except OSError:
            answer = None
        if (answer is not None and is_enough(answer)) or watch.seconds() > TIMEOUT_SECONDS:
            return answer
        time.sleep(0.1)


def limits(binary, report):
    """A full disk, and the pace."""
    with Nodes(binary, ("--hint-memory", "0", "--hint-disk", "1m", "--hint-rate", f"{PACE_MEGABYTES}m")) as cluster:
        first, second, third = cluster.nodes
        keys = [f"key-{number}" for number in range(4 * FEW_MISSED)]
        owe(cluster, report, keys, 1, "full disk")
        sizes = [sum(map(os.path.getsize, segments(node))) for node in (first, second)]
        report.check("a full disk keeps to its limit", all(size <= MIB for size in sizes) and max(sizes) > MIB // 2)
        report.check("what finds no room is dropped and counted", total([first, second], "hints_dropped") > 0)
        go_on(cluster)
        seconds, _, left = wait_delivered([first, second])
        report.check("full disk: all hints are delivered", not left)
        cluster.wait_ready(TIMEOUT_SECONDS)
        lost = until(lambda: wrong(third, keys, 1), lambda wrong_keys: not wrong_keys)
        report.check(f"comparing brings {third.name} the rest", lost)
        report.figure(f"full disk: delivered after {seconds:.1f} s")


def pace(binary, report):
    with Nodes(binary, ("--hint-rate", f"{PACE_MEGABYTES}m")) as cluster:
        first, second, _ = cluster.nodes
        keys = [f"key-{number}" for number in range(MISSED)]
        owe(cluster, report, keys, 1, "pace")
        go_on(cluster)
        _, rate, left = wait_delivered([first, second])
        # Two nodes owe, and each keeps the pace.
        told = 2 * PACE_MEGABYTES * MIB / MEGABYTE
        report.figure(f"delivered at {rate:.0f} MB/s, told {told:.0f}")
        report.check("what is owed is delivered at the pace that was told", not left and 0.8 * told <= rate <= 1.1 * told)


def bad_folders(binary, report):
    """One line and exit code 2."""
    with tempfile.TemporaryDirectory() as top:
        file = os.path.join(top, "file")
        with open(file, "w", encoding="ascii") as text:
            text.write("text")
        with Nodes(binary, ()) as cluster:
            for what, folder in (("a file", file), ("below a file", os.path.join(file, "x")), ("taken", cluster.nodes[0].folder)):
                ports = ["-p", "0", "--peer-port", "0", "--admin-port", "0"]
                ended = subprocess.run([binary, "serve", *ports, "--data-dir", folder], capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
                lines = ended.stderr.decode().splitlines()
                is_told = ended.returncode == 2 and len(lines) == 1 and "--data-dir" in lines[0] and folder in lines[0]
                report.check(f"a folder that is {what} is refused in one line", [] if is_told else [f"{ended.returncode}: {lines}"])


def run(binary, report):
    if binary is None:
        return
    for part in (bad_folders, overflow, limits, pace):
        part(binary, report)
