"""End-to-end tests of memring with foreign clients: `python tests/e2e [PART]…`, all by default.

Parts: files, kill, leases, large, semantics, text, random, clients, charts, hints, metrics.

Started by scripts/e2e.sh, which builds what is needed and sets
  MEMRING_BIN      the memring binary
  MEMRING_E2E_GO   the built Go program
and what foreign.py (the part `clients`) asks for beside them.
With `--standin`, one stock memcached plays all three nodes: tries the stories themselves.
"""

import signal
import sys
import os
import traceback
from functools import partial

import charts
import clients
import duel
import files
import foreign
import hints
import kill
import large
import leases
import metrics
import semantics
import text
from cluster import Cluster, Standin
from report import Report, Stopwatch

PARTS = {
    "files": files.run,
    "kill": kill.run,
    "leases": leases.run,
    "large": large.run,
    "semantics": semantics.run,
    "text": text.run,
    "random": duel.run,
    "clients": foreign.run,
}
# memcached's own item limit, which clients and the yardstick have.
MEMCACHED_LIMIT = ("-I", "1m")
MORE = {"large": ("-I", f"{large.ITEM_MEGABYTES}m"), "text": MEMCACHED_LIMIT, "random": MEMCACHED_LIMIT, "clients": MEMCACHED_LIMIT}
# Parts that start what they need themselves.
ALONE = {"charts": charts.run, "hints": hints.run, "metrics": metrics.run}


def main(arguments):
    standin = "--standin" in arguments
    chosen = [word for word in arguments if word != "--standin"] or [*PARTS, *ALONE]
    unknown = [word for word in chosen if word not in PARTS and word not in ALONE]
    if unknown:
        print(f"unknown part {unknown[0]}: one of {', '.join([*PARTS, *ALONE])}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    clients.GoMemcache.program = os.environ["MEMRING_E2E_GO"]
    report, watch = Report(), Stopwatch()
    for name in chosen:
        report.part = name
        if name in ALONE:
            tell_alone(report, ALONE[name], None if standin else os.environ["MEMRING_BIN"])
            continue
        own = partial(Cluster, os.environ["MEMRING_BIN"], more=MORE.get(name, ()))
        tell(report, PARTS[name], Standin if standin else own)
    report.repeat_failures()
    print(f"e2e: {watch.seconds():.0f} s\n{report.passed} passed, {report.failed} failed", flush=True)
    return 1 if report.failed else 0


def tell(report, story, make_cluster):
    """One part on a cluster of its own. What goes wrong outside a check is a failure too."""
    watch, failed_before = Stopwatch(), report.failed
    try:
        with make_cluster() as cluster:
            story(cluster, report)
            dead = [node.name for node in cluster.nodes if not node.is_running()]
            report.check("every node is still running", dead)
            if report.failed > failed_before:
                cluster.show_logs()
    except Exception:
        report.check("the part runs to its end", [traceback.format_exc()])
    report.figure(f"{watch.seconds():.1f} s")


def tell_alone(report, story, binary):
    """One part that starts its own servers: with memcached when `binary` is None."""
    watch = Stopwatch()
    try:
        story(binary, report)
    except Exception:
        report.check("the part runs to its end", [traceback.format_exc()])
    report.figure(f"{watch.seconds():.1f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
