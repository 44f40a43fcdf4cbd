"""Every text-protocol call of the clients that people use, through each of three nodes, and the tools around memcached.

The scripts of calls run side by side, on keys of their own. What empties the servers or counts what others do comes
after them, one by one. Needs, beside what __main__.py tells,
  MEMRING_TOOLS      the folder that scripts/install-tools.sh fills
  MEMRING_E2E_RUST   the built Rust program
"""

import os
import re
import subprocess
import sys
import threading
import traceback

import exporter
import terminal
from cluster import HOST, die_with_parent
from report import Stopwatch

SECONDS_MAX = 60
HERE = os.path.dirname(os.path.abspath(__file__))
CALLS = os.path.join(HERE, "calls")
CAPABLE_TESTS = 27
# What libmemcached's tool expects of delete with a number memcached 1.6.45 no longer gives; memring does.
CAPABLE_OF_STOCK = {"ascii delete", "ascii delete noreply"}


def programs():
    """(label, command, environment, calls that it makes at least, calls of `flush`)."""
    tools = os.environ["MEMRING_TOOLS"]
    python, go, rust = sys.executable, os.environ["MEMRING_E2E_GO"], os.environ["MEMRING_E2E_RUST"]
    node_path = {"NODE_PATH": os.path.join(tools, "npm", "node_modules")}
    return [
        ("pymemcache", [python, f"{CALLS}/pymemcache_calls.py"], {}, 27, 4),
        ("pylibmc", [python, f"{CALLS}/pylibmc_calls.py"], {}, 23, 3),
        ("grafana/gomemcache", [go, "grafana"], {}, 12, 5),
        ("bradfitz/gomemcache", [go, "bradfitz"], {}, 15, 5),
        ("php-memcached", ["php", f"{CALLS}/calls.php"], {}, 54, 5),
        ("npm memcached", ["node", "--no-deprecation", f"{CALLS}/node/calls.js"], node_path, 26, 5),
        ("crates.io async-memcached", [rust, "async-memcached"], {}, 24, 1),
        ("crates.io memcache", [rust, "memcache"], {}, 16, 2),
    ]


class Run:
    """One script of calls, watched from a thread: what it said, and what was wrong."""

    def __init__(self, program, mode, nodes):
        self.label, command, self.environment, calls, flush_calls = program
        self.command = [*command, mode, *(node.address for node in nodes)]
        self.calls_min = calls if mode == "calls" else flush_calls
        self.violations, self.figures, self.watch = [], "", Stopwatch()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self):
        try:
            done = execute(self.command, self.environment)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.violations.append(str(error))
            return
        self.seconds = self.watch.seconds()
        self.violations += [line.removeprefix("FAIL ") for line in done.stdout.splitlines() if line.startswith("FAIL ")]
        end = re.search(r"^DONE calls=(\d+) checks=(\d+)$", done.stdout, re.MULTILINE)
        if not end:
            self.violations.append(f"it does not come to its end: exit {done.returncode}: {done.stderr[-500:]}")
        elif int(end[1]) < self.calls_min:
            self.violations.append(f"{end[1]} calls made, at least {self.calls_min} expected")
        elif done.returncode != 0 and not self.violations:
            self.violations.append(f"exit {done.returncode}: {done.stderr[-500:]}")
        if end:
            self.figures = f"{self.label}: {end[2]} checks of {end[1]} calls, {self.seconds:.1f} s"


def execute(command, environment=None, **more):
    return subprocess.run(
        command, env=os.environ | (environment or {}), capture_output=True, text=True, errors="replace",
        timeout=SECONDS_MAX, preexec_fn=die_with_parent, **more,
    )  # fmt: skip


def side_by_side(cluster, report):
    runs = [Run(program, "calls", cluster.nodes) for program in programs()]
    for one in runs:
        one.thread.join()
        if one.figures:
            report.figure(one.figures)
        report.check(f"every call of {one.label} answers as it should", one.violations)


def flushes(cluster, report):
    for program in programs():
        one = Run(program, "flush", cluster.nodes)
        one.thread.join()
        report.check(f"flush of {one.label} is seen through every node", one.violations)


def capable(cluster, report):
    """libmemcached-tools' conformance test. It flushes.

    Of a server whose version is below 1.6 it expects an error for `version foo bar`, after most of its tests.
    """
    watch, passed = Stopwatch(), []
    expected = CAPABLE_TESTS - len(CAPABLE_OF_STOCK) if cluster.is_standin else CAPABLE_TESTS
    for node in cluster.nodes:
        done = execute(["memccapable", "-a", "-t", "10", "-h", HOST, "-p", str(node.port)], stdin=subprocess.DEVNULL)
        names = re.findall(r"(ascii [a-z]+(?: noreply)?) {4,}", done.stdout)
        # A test that fails has no mark on standard output.
        marks = dict(re.findall(r"(ascii [a-z]+(?: noreply)?) +(\[pass\])?", done.stdout))
        failed = {name for name in names if marks.get(name) != "[pass]"}
        passed.append(str(len(names) - len(failed)))
        wrong = failed - CAPABLE_OF_STOCK if cluster.is_standin else failed
        violations = [f"{', '.join(sorted(wrong))} failed"] if wrong else []
        if len(names) != CAPABLE_TESTS:
            violations.append(f"{len(names)} tests told, not {CAPABLE_TESTS}")
        if not cluster.is_standin and done.returncode != 0 and not violations:
            violations.append(f"exit {done.returncode}: {done.stdout[-300:]}")
        report.check(f"memccapable -a passes {expected} of {CAPABLE_TESTS} at {node.name}", violations)
    report.figure(f"memccapable: {', '.join(passed)} of {CAPABLE_TESTS} at the three nodes, {watch.seconds():.1f} s")


# Arguments of mc, what it reads, its exit code, what must be in what it prints. `mc keys` is left out: this release
# does not know the OK with which memcached 1.6.45 opens a dump.
MC = (
    ("set {key} 60", "hello", 0, ""), ("get {key}", "", 0, "hello"), ("add {key} 60", "x", 1, "NOT_STORED"),
    ("replace {key} 60", "7", 0, ""), ("incr {key} 5", "", 0, ""), ("decr {key} 2", "", 0, ""),
    ("get {key}", "", 0, "10"), ("touch {key} 90", "", 0, ""), ("delete {key}", "", 0, ""), ("get {key}", "", 0, ""),
    ("delete {key}", "", 1, "NOT_FOUND"), ("replace {key} 60", "x", 1, "NOT_STORED"),
    ("check --time 1s", "", 0, "type=get "), ("bench --time 1s", "", 0, "gets_per_second="),
)  # fmt: skip


def mc(cluster, report):
    """mtop's command line, a Grafana-side client with names, pools and timeouts of its own."""
    program = os.path.join(os.environ["MEMRING_TOOLS"], "bin", "mc")
    violations = []

    def tell(node):
        for words, given, code, wanted in MC:
            arguments = [word.format(key=f"mc-{node.name}") for word in words.split()]
            done = execute([program, "--host", node.address, "--timeout", "5s", *arguments], input=given)
            printed = done.stdout + done.stderr
            # A miss prints nothing, and a check counts its failures.
            is_silent = words.startswith("get") and not wanted
            held = done.returncode == code and wanted in printed and not (is_silent and done.stdout.strip())
            failures = re.findall(r"failures=([1-9]\d*)", done.stdout)
            if not held or failures:
                violations.append(f"{node.name}: mc {' '.join(arguments)}: exit {done.returncode}: {printed[-200:]!r}")

    threads = [threading.Thread(target=tell, args=(node,)) for node in cluster.nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.check(f"{len(MC)} runs of mc, check and bench among them, do what they should", violations)


def run(cluster, report):
    for story in (side_by_side, exporter.story, terminal.story, mc, flushes, capable):
        try:
            story(cluster, report)
        except Exception:
            report.check(f"{story.__module__}.{story.__name__} runs to its end", [traceback.format_exc()])
