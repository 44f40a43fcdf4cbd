"""Part `text`: every row of tests/text on memcached, on one node and on three; docs/compatibility.md; garbage.

memcached is the yardstick: if it answers a row otherwise than the table says, the row is wrong.
"""

import collections
import concurrent.futures
import socket
import tempfile

import compatibility
import garbage
import rows
from cluster import HOST, ClusterError, Yardstick
from report import Stopwatch


class Target:
    """A server under the tables: its flavour, and for each way to run a row (port, byte by byte)."""

    def __init__(self, label, flavour, nodes, copies):
        self.label, self.flavour, self.copies = label, flavour, copies
        ports = [node.port for node in nodes]
        # One node is told every row twice. Of three, the second is told byte by byte.
        self.ways = [(ports[0], False), (ports[0], True)] if copies == 1 else [*zip(ports, [False, True, False])]

    def runs(self, row, number):
        """(way, Run) for each way in which this row is asked here. The keys are as long as each other, and the same on
        every target."""
        if row.answer(self.flavour) is None:
            return []
        return [
            (way, rows.Run(row, f"t{number:04}{way}", self.flavour, self.copies, bytewise))
            for way, (_, bytewise) in enumerate(self.ways)
            if not (bytewise and row.whole) and not (way and row.alone and row.sleeps)
        ]


class Tally:
    """What the runs found, gathered over all targets."""

    def __init__(self):
        self.runs = 0
        self.wrong = collections.defaultdict(list)
        self.masked = collections.defaultdict(dict)

    def add(self, target, run, way, wrong):
        self.runs += 1
        where = f"{target.label}{f', way {way + 1}' if target.copies > 1 else ''}{', byte by byte' if run.bytewise else ''}"
        if wrong:
            self.wrong[target.flavour].append(f"{run.row} ({where}): {wrong}")
        elif run.masked is not None and not run.row.difference:
            self.masked[run.row].setdefault(run.masked, where)

    def differing(self):
        return [f"{row}: {list(answers.items())}" for row, answers in self.masked.items() if len(answers) > 1]


def play(target, table, tally):
    """All rows on one target. Those that sleep do so at the same time, while others run; those that want to be alone come
    last. One thread runs the others: more would only wait for each other."""

    def one(work):
        way, run = work
        tally.add(target, run, way, run.on(target.ways[way][0]))

    works = [work for number, row in enumerate(table) for work in target.runs(row, number)]
    alone = [work for work in works if work[1].row.alone]
    sleepers = [work for work in works if work[1].row.sleeps and not work[1].row.alone]
    with concurrent.futures.ThreadPoolExecutor(max(len(sleepers), 1)) as pool:
        asleep = pool.map(one, sleepers)
        for work in works:
            if not (work[1].row.alone or work[1].row.sleeps):
                one(work)
        list(asleep)
    for work in alone:
        one(work)


def tables(table, targets, report):
    tally, watch = Tally(), Stopwatch()
    with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
        list(pool.map(lambda target: play(target, table, tally), targets))
    files = len({row.file for row in table})
    purposeful = len({row.difference for row in table if row.difference})
    report.figure(
        f"{len(table)} rows in {files} files, {watch.rate(tally.runs)} runs on {', '.join(t.label for t in targets)}; "
        f"{sum(map(len, tally.wrong.values()))} wrong answers, {purposeful} differences on purpose"
    )
    for flavour in sorted({target.flavour for target in targets}):
        labels = ", ".join(target.label for target in targets if target.flavour == flavour)
        report.check(f"every row gets its exact answer from {labels}", sorted(tally.wrong[flavour]))
    report.check("every row gets one answer from all of them, but for what is masked", tally.differing())


def run(cluster, report):
    table = rows.load()
    plain = [row for row in table if row.file != rows.AUTH]
    with Yardstick() as yardstick, cluster.alike(nodes=1) as one:
        mine = yardstick.flavour if cluster.is_standin else "memring"
        targets = [
            Target(f"memcached {yardstick.version}", yardstick.flavour, yardstick.nodes, 1),
            Target("one node", mine, one.nodes, 1),
            Target("three nodes", mine, cluster.nodes, 3),
        ]
        tables(plain, targets, report)
        report.check("cas tokens are far above 1,000,000", small_tokens(cluster))
    with_users([row for row in table if row.file == rows.AUTH], cluster, report)
    compatibility.check(table, report)
    garbage.run(cluster, report)


def with_users(table, cluster, report):
    """The rows about logins, on servers with a file of users."""
    with tempfile.NamedTemporaryFile("w", suffix=".users") as users:
        users.write("user:pass with spaces\n")
        users.flush()
        options = ["-Y", users.name]
        try:
            with Yardstick(options) as yardstick, cluster.alike(nodes=1, more=options) as one:
                targets = [
                    Target(f"memcached {yardstick.version} -Y", yardstick.flavour, yardstick.nodes, 1),
                    Target("one node -Y", yardstick.flavour if cluster.is_standin else "memring", one.nodes, 1),
                ]
                tables(table, targets, report)
        except ClusterError as error:
            report.check("servers with a file of users start", [str(error)])


def small_tokens(cluster):
    """Clients that add 1 to a token, or take one for a count, must meet no other. memcached's own are small."""
    if cluster.is_standin:
        return []
    violations = []
    for number, node in enumerate(cluster.nodes):
        with socket.create_connection((HOST, node.port), timeout=rows.ANSWER_SECONDS) as connection:
            connection.sendall(b"set token-%d 0 0 1\r\na\r\n" % number)
            connection.recv(len(b"STORED\r\n"), socket.MSG_WAITALL)
        token = int(rows.token_of(node.port, f"token-{number}", ""))
        if token < 1_000_000:
            violations.append(f"{token} at {node.name}")
    return violations
