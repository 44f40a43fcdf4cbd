"""A node killed with SIGKILL in the middle of a round of writes: nothing acknowledged may be lost, nothing may fail.

Every key has one writer, which knows what the key must hold: the last value whose write was acknowledged, nothing
after an acknowledged delete, or either of two after a write that failed. Each writer sits on one survivor and reads
its keys back through the other one.
"""

import random
import threading
import time

import clients
import files
from report import Stopwatch

WRITERS = 8
# The kill comes when this share of the round is written.
KILL_AT = 0.3
# Writing goes on for this long after the kill: past the time in which the cluster takes a dead node for failed.
SECONDS_AFTER_KILL = 10
READ_EVERY = 3
DELETE_EVERY = 11
INCR_EVERY = 7


class Writer(threading.Thread):
    """Writes its share of the files, tagged by round, and keeps the books."""

    def __init__(self, number, entries, round_name, through, across, go_on):
        super().__init__(name=f"writer-{number}", daemon=True)
        make = (clients.PyMemcache, clients.PyLibMc, clients.GoMemcache)[number % 3]
        self.client, self.other = make(through), clients.PyMemcache(across)
        self.entries = entries
        self.round = round_name
        self.go_on = go_on
        self.rng = random.Random(f"{round_name}/{number}")
        self.counter_key = f"counter-{round_name}-{number}"
        self.counts = dict.fromkeys(("set", "get", "delete", "incr"), 0)
        self.failures = []
        self.doubts = []
        self.wrong = []
        # key -> list of values it may hold; None stands for a miss.
        self.expected = {}
        self.acknowledged_incrs = 0

    def run(self):
        try:
            self.client.set(self.counter_key, b"0")
            version = 0
            while version == 0 or self.go_on(0):
                for at, (key, _, original) in enumerate(self.entries):
                    if version and not self.go_on(0):
                        break
                    self.step(at, key, tagged(f"{self.round}.{version}:", key, original))
                version += 1
        except Exception as error:  # a bug of the test must not look like a pass
            self.failures.append(f"writer ended: {error!r}")

    def step(self, at, key, value):
        self.go_on(1)
        self.change("set", key, [value], lambda: self.client.set(key, value))
        if at % DELETE_EVERY == DELETE_EVERY - 1:
            self.change("delete", key, [None], lambda: self.client.delete(key))
        if at % READ_EVERY == 0:
            self.read(self.rng.choice(list(self.expected)) if at % 300 == 0 else key)
        if at % INCR_EVERY == 0:
            self.incr()

    def change(self, op, key, after, act):
        self.counts[op] += 1
        try:
            done = act()
        except Exception as error:
            self.failures.append(f"{op} {key}: {error!r}")
            self.expected[key] = self.expected.get(key, [None]) + after
            return
        if done is not True:
            self.wrong.append(f"{op} {key}: answered {done!r}")
        self.expected[key] = after

    def read(self, key):
        self.counts["get"] += 1
        for client in (self.other, self.client):
            try:
                found = client.get(key)
            except Exception as error:
                self.failures.append(f"get {key}: {error!r}")
                continue
            if found not in self.expected[key]:
                self.wrong.append(f"get {key}: {shown(found)}, not {' or '.join(map(shown, self.expected[key]))}")

    def incr(self):
        self.counts["incr"] += 1
        try:
            self.client.incr(self.counter_key, 1)
            self.acknowledged_incrs += 1
        except Exception as error:
            self.doubts.append(f"incr {self.counter_key}: {error!r}")


def tagged(tag, key, original):
    room = files.ITEM_BYTES_MAX - len(key) - len(tag)
    return tag.encode() + original[:room]


def shown(value):
    return "a miss" if value is None else f"{value[:24]!r}… ({len(value)} bytes)"


class Round:
    """One round of writes through two nodes while the third is killed; with `restart_within`, also while it returns."""

    def __init__(self, cluster, entries, name, victim, restart_within):
        self.cluster = cluster
        self.victim = victim
        self.survivors = [node for node in cluster.nodes if node is not victim]
        self.restart_within = restart_within
        self.total = len(entries)
        self.steps = self.steps_at_kill = 0
        self.is_over = False
        self.catch_up_seconds = None
        self._lock = threading.Lock()
        self.writers = [
            Writer(n, entries[n::WRITERS], name, self.survivors[n % 2], self.survivors[(n + 1) % 2], self.go_on)
            for n in range(WRITERS)
        ]

    def go_on(self, steps):
        """Counts steps; says whether to write on."""
        with self._lock:
            self.steps += steps
            return not self.is_over

    def run(self):
        for writer in self.writers:
            writer.start()
        try:
            while self.steps < KILL_AT * self.total and any(writer.is_alive() for writer in self.writers):
                time.sleep(0.005)
            self.cluster.kill(self.victim)
            self.steps_at_kill = self.steps
            time.sleep(SECONDS_AFTER_KILL)
            if self.restart_within:
                self.catch_up_seconds = self.cluster.restart(self.victim)
        finally:
            self.is_over = True
            for writer in self.writers:
                writer.join()

    def gather(self, of):
        return [thing for writer in self.writers for thing in of(writer)]


def read_back(node, make, expected):
    client, violations = make(node), []
    keys = sorted(expected)
    for start in range(0, len(keys), files.BATCH_KEYS):
        batch = keys[start : start + files.BATCH_KEYS]
        try:
            found = client.get_many(batch)
        except Exception as error:
            violations.append(f"get-multi of {batch[0]} and on: {error!r}")
            continue
        for key in batch:
            if found.get(key) not in expected[key]:
                wanted = " or ".join(map(shown, expected[key]))
                violations.append(f"{node.name} {key}: {shown(found.get(key))}, not {wanted}")
    client.close()
    return violations


def counters(node, writers):
    """A counter ends at its acknowledged increments, or above by at most those in doubt."""
    client, violations = clients.PyMemcache(node), []
    for writer in writers:
        value = int(client.get(writer.counter_key) or -1)
        low, high = writer.acknowledged_incrs, writer.acknowledged_incrs + len(writer.doubts)
        if not low <= value <= high:
            violations.append(f"{node.name} {writer.counter_key}: {value}, not {low} to {high}")
    client.close()
    return violations


def play(cluster, report, entries, name, victim, restart_within):
    """A round with one victim; ends with the victim back and holding everything. Returns what the keys must hold."""
    story = Round(cluster, entries, name, victim, restart_within)
    watch = Stopwatch()
    story.run()
    show(report, story, watch.seconds())
    what = f"{victim.name} killed{' and returning' if restart_within else ''}"
    survivors = " and ".join(node.name for node in story.survivors)
    doubts = [writer.doubts for writer in story.writers]
    report.check(f"{what}: no get, set or delete on {survivors} fails", story.gather(lambda w: w.failures))
    report.check(f"{what}: every set is stored, every delete finds what was set, every read sees the write before it", story.gather(lambda w: w.wrong))
    # Only what was in flight to the dead node may be in doubt, and a writer has one command in flight.
    report.check(f"{what}: at most one incr a writer in doubt", [d for d in doubts if len(d) > 1])
    expected = {key: values for writer in story.writers for key, values in writer.expected.items()}
    report.check(f"{what}: the round is complete", len(expected) == len(entries))
    lost = verify(story.survivors, expected, story.writers)
    report.check(f"{what}: no acknowledged write is lost ({len(expected)} keys through {survivors})", lost)
    seconds = story.catch_up_seconds if restart_within else cluster.restart(victim)
    report.figure(f"{victim.name} restarted empty, synced after {seconds:.1f} s")
    report.check(f"{victim.name} back: it answers every key with the latest write", verify([victim], expected, story.writers))
    for writer in story.writers:
        writer.client.close()
        writer.other.close()
    return expected, story.writers


def verify(nodes, expected, writers):
    """Violations of every key and counter, through each of the nodes."""
    violations = []
    for node, make in zip(nodes, (clients.PyLibMc, clients.PyMemcache)):
        violations += read_back(node, make, expected) + counters(node, writers)
    return violations


def show(report, story, seconds):
    counts = {op: sum(writer.counts[op] for writer in story.writers) for op in ("set", "get", "delete", "incr")}
    failures = story.gather(lambda writer: writer.failures)
    failed = {op: sum(text.startswith(f"{op} ") for text in failures) for op in ("set", "get", "delete")}
    report.figure(
        f"{story.victim.name} killed after {story.steps_at_kill} of {story.steps} writes, {seconds:.1f} s in all: "
        + ", ".join(f"{count} {op}" for op, count in counts.items())
        + f"; failed: {failed['set']} set, {failed['get']} get, {failed['delete']} delete; "
        + f"{sum(len(writer.doubts) for writer in story.writers)} incr in doubt"
    )


def run(cluster, report):
    first, second, third = cluster.nodes
    entries = files.collect()
    report.check("every file is written before the first kill", files.write_all(second, entries))
    play(cluster, report, entries, "second", victim=third, restart_within=False)
    expected, writers = play(cluster, report, entries, "third", victim=first, restart_within=True)
    # What the first node copied while others wrote is now one of the two copies left.
    cluster.kill(second)
    lost = verify([first, third], expected, writers)
    report.check(f"{second.name} killed: {first.name} and {third.name} hold every acknowledged write", lost)
    report.figure(f"{second.name} restarted empty, synced after {cluster.restart(second):.1f} s")
