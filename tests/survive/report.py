"""Figures as lines, as tables, and as docs/survive.md with its plots. Measures nothing."""

import os
import pathlib
import platform
import statistics
import subprocess
import textwrap

import plots
from settings import SETUPS
from timeline import KINDS

TITLES = {
    "kill": "A node is killed (SIGKILL), and some seconds later started again",
    "pause": "A node stands still (SIGSTOP)",
    "roll": "Every node is restarted in turn (SIGTERM)",
    "scale": "Two nodes come, and go again",
    "outage": "A node stands still for longer, and is told what it has missed",
}
# Durations that events tell of.
SPANS = {"stopped_s": "stopping", "started_s": "starting", "joined_s": "joining", "drained_s": "draining"}
REASONS_SHOWN = 6
PAGE_WIDTH = 120
PREFACE = """\
# What clients see while nodes come and go

Made by `make survive` at commit {commit}, {where}; the servers and the load share the machine.

Three nodes with `-m {memory}` hold {keys:,} keys of {value_bytes} bytes: memring with three, two and one copies of each,
at its defaults, and memcached. Each row is a story on nodes of its own: {calm:.0f} s of calm, the event, {after:.0f} s of
calm.

**Load.** grafana/gomemcache makes {rate:,} single operations a second, {set_share:.0%} of them sets, and reads
{batch_keys} keys at once every {batch_ms} ms, with the patience of {timeout_ms} ms for a connection and for an answer.
Each operation is due at a moment of its own, however long others take, and its wait is counted from then, whether it
fails or not. A key that is missed is not written anew at once: only the sets bring lost keys back. pymemcache makes
{thin_rate} gets a second beside.

**Set-ups.** *service*: one address, behind which connections are dealt out in turn to the nodes that are ready, as by a
Kubernetes Service. memcached cannot be used so, for its nodes know nothing of each other: its row there shows that two in
three gets miss even in calm. *list*: clients choose a node by Grafana's jump hash over the addresses of the nodes that are ready, which
they look up every {refresh:.0f} s, as in DNS; pymemcache spreads its keys by its own hash over a list that stays as it
is. A node is ready while `/readyz` says so, memcached while it takes connections, looked at every 100 ms.

**Columns.** Hit rates are hits of gets answered, the lowest of all windows of 5 s. A failure is one *on the node away* if
it came from the very node that was killed, stopped or restarted then. Batches failed after 100 ms were not yet due at the
event. In a slow second the p99 was above five times the calm one. The first second is what was answered in the first
second of the event, of what is answered in calm. The slowest is that of all single operations since the event began,
those that lost patience among them. The limit of RSS is 1.05 times `-m`, 15 MB, 64 MB for hints and 4 KB a
connection; the largest node is shown. With several runs a figure is their median, with the worst in brackets.
"""

# Each column: its heading, and whether a small number is the worse one.
COLUMNS = {
    "lowest hit rate, %: before / within / after": min,
    "failed on the node away: gets / sets / batches": max,
    "failed elsewhere": max,
    "batches failed after 100 ms": max,
    "p50, ms: calm / event": max,
    "p99, ms: calm / event": max,
    "slowest, ms": max,
    "slow seconds": max,
    "first second, %": min,
    "RSS, % of its limit": max,
    "pymemcache: failed": max,
    "its hit rate, %": min,
}
HEAD = ["set-up", "server", "runs", *COLUMNS]


def row(cell):
    """For each of COLUMNS its figures, each with its unit's factor and decimals."""
    figures, thin = cell["figures"], cell["thin"]
    limits = cell["memory"]["limit_mb"]
    used = [rss / limits[name] for name, rss in cell["memory"]["rss_mb"].items() if name in limits]
    return [
        [share(figures["hit_rate"][phase]) for phase in ("before", "within", "after")],
        *([count(figures["failed"][kind][side]) for kind in KINDS] for side in (0, 1)),
        [count(sum(figures["batches_failed_late"]))],
        *([millis(wait) for wait in figures[name]] for name in ("p50", "p99")),
        [millis(figures["longest"])],
        [count(figures["slow_seconds"])],
        [share(figures["first_second"])],
        [share(max(used, default=None))],
        [count(sum(thin["failed"].values()))],
        [share(thin["hit_share"])],
    ]


def share(number):
    return None if number is None else (100 * number, 1)


def count(number):
    return (number, 0)


def millis(seconds):
    return None if seconds is None else (1000 * seconds, 1 if seconds < 0.1 else 0)


def merged(cells):
    """A text for each column: the medians of the runs, with the worst in brackets where it differs."""
    columns = zip(COLUMNS.values(), zip(*map(row, cells)))
    return [" / ".join(middle(figures, worse) for figures in zip(*runs)) for worse, runs in columns]


def middle(figures, worse):
    known = [figure for figure in figures if figure is not None]
    if not known:
        return "-"
    numbers, decimals = [number for number, _ in known], max(decimals for _, decimals in known)
    median, worst = (f"{number:.{decimals}f}" for number in (statistics.median(numbers), worse(numbers)))
    return median if median == worst else f"{median} ({worst})"


def show(cell):
    """One story, as soon as it is over."""
    print(f"survive: run {cell['run']}, {cell['event']}, {cell['setup']}, {cell['server']}: "
          f"{cell['event_seconds']:.1f} s, {cell['notes']}")  # fmt: skip
    print("  " + "; ".join(f"{name}: {text}" for name, text in zip(COLUMNS, merged([cell]))))
    changes = [f"{one['node']} {'ready' if one['live'] else 'out'} at {one['at']:.1f} s" for one in cell["liveness"]]
    print(f"  {', '.join(changes) or 'every node was ready all the time'}")
    for kind, node, reason, away, count in cell["figures"]["reasons"][:REASONS_SHOWN]:
        print(f"  {count} {kind} failed on {node or 'nobody'}{' (away)' if away else ''}: {reason}")
    for reason, count in cell["thin"]["failed"].items():
        print(f"  {count} get of pymemcache failed: {reason}", flush=True)


def grouped(cells, event):
    """{(set-up, server): its runs}, always in the same order."""
    groups = {}
    for cell in cells:
        if cell["event"] == event:
            groups.setdefault((cell["setup"], cell["server"]), []).append(cell)
    servers = list(plots.COLORS)
    return dict(sorted(groups.items(), key=lambda group: (SETUPS.index(group[0][0]), servers.index(group[0][1]))))


def tables(cells):
    """Lines of Markdown: one table an event."""
    lines = []
    for event, title in TITLES.items():
        groups = grouped(cells, event)
        if not groups:
            continue
        lines += ["", f"## {title}", "", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
        lines += [f"| {' | '.join([*names, str(len(runs)), *merged(runs)])} |" for names, runs in groups.items()]
        lines += [line for names, runs in groups.items() for line in asides(names, runs)]
    return lines


def asides(names, runs):
    """What only some events have: seconds that starting, stopping and handing over took, and hints delivered."""
    notes = [run["notes"] for run in runs]
    told = []
    for one in (note["catch_up"] for note in notes if note.get("catch_up")):
        rate = "" if one["bytes_a_second"] is None else f", {one['bytes_a_second'] / 1e6:.0f} MB/s of values"
        told.append(f"{one['delivered']} hints delivered in {one['seconds']:.1f} s{rate}, {one['left']} left")
    for name, what in SPANS.items():
        spans = [span for note in notes for span in note.get(name, [])]
        never = spans.count(None)
        spans = [span for span in spans if span is not None]
        if spans:
            told.append(f"{what} took {statistics.median(spans):.1f} s, {max(spans):.1f} s at most")
        if never:
            told.append(f"{what} did not end in time {never} times")
    return ["", f"{names[1]}, {names[0]}: {'; '.join(told)}."] if told else []


def write(cells):
    """docs/survive.md, the whole of it, and docs/survive/*.png."""
    folder = pathlib.Path("docs/survive")
    folder.mkdir(exist_ok=True)
    told = tables(cells)
    for event, title in TITLES.items():
        groups = grouped(cells, event)
        if groups:
            plots.draw(folder / f"{event}.png", {names: runs[0] for names, runs in groups.items()})
            at = told.index(f"## {title}") + 1
            told[at:at] = ["", f"![hit rate and waits: {title}](survive/{event}.png)"]
    pathlib.Path("docs/survive.md").write_text("\n".join(preface(cells[0]["settings"]) + told) + "\n")
    print("survive: docs/survive.md is written", flush=True)


def git(*arguments):
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def preface(settings):
    """The first lines: what was measured, and what the columns mean."""
    changes = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    where = f"on {os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    facts = settings | {"where": where, "commit": git("rev-parse", "--short", "HEAD") + changes}
    paragraphs = PREFACE.format(**facts).split("\n\n") + [text for text in [os.environ.get("REMARK", "")] if text]
    return "\n\n".join(textwrap.fill(text, PAGE_WIDTH) for text in paragraphs).splitlines()
