"""What clients see while nodes come and go: `python tests/survive [--write|--smoke|--report]`.

Each cell of RUNS x EVENTS x SETUPS x SERVERS is a story of its own: three fresh nodes, filled, in calm, through the event,
in calm again, under one load that never stops. Its figures are printed and kept as JSON in OUT, by default a folder of
target/survive.

  --write   the full run; docs/survive.md and docs/survive/ are written
  --report  writes them from what OUT holds
  --smoke   some seconds an event; fails when memring with three copies fails an operation on a node that is there

Started by scripts/survive.sh, which sets MEMRING_BIN and MEMRING_SURVIVE_LOAD and lists the variables that choose.
"""

import json
import os
import pathlib
import signal
import sys
import time

import events
import load
import report
import servers
import settings as setting
import smoke
import watch
from cluster import ClusterError
from timeline import Timeline

# What an argument asks for, and the folder in target/survive for its figures.
MODES = {"": "look", "--write": "full", "--report": "full", "--smoke": "smoke"}


def main(arguments):
    mode = arguments[0] if arguments else ""
    if len(arguments) > 1 or mode not in MODES:
        print(f"survive: one of {', '.join(filter(None, MODES))}, or nothing", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = pathlib.Path(os.environ.get("OUT") or f"target/survive/{MODES[mode]}")
    if mode == "--report":
        report.write(load_cells(out))
        return 0
    try:
        chosen = setting.read({"--smoke": setting.SMOKE, "--write": setting.FULL}.get(mode, {}))
    except setting.SettingError as error:
        print(f"survive: {error}", file=sys.stderr)
        return 2
    cells, broken = measure(chosen, out)
    print("\n".join(report.tables(cells)), flush=True)
    if mode == "--write" and cells:
        report.write(cells)
    failed = smoke.judge(cells) if mode == "--smoke" else 0
    return 1 if broken or failed else 0


def measure(settings, out):
    """All cells, each kept in `out`, and how many came to nothing."""
    out.mkdir(parents=True, exist_ok=True)
    cells, broken = [], 0
    for run, event, setup, server in settings.cells():
        try:
            cell = play(settings, run, event, setup, server)
        except ClusterError as error:
            print(f"survive: FAIL run {run}, {event}, {setup}, {server}: {error}", flush=True)
            broken += 1
            continue
        (out / f"{run}-{event}-{setup}-{server}.json").write_text(json.dumps(cell))
        report.show(cell)
        cells.append(cell)
    return cells, broken


def load_cells(out):
    return [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]


def play(settings, run, event, setup, word):
    """One story, on nodes of its own."""
    with (
        servers.make(word, os.environ["MEMRING_BIN"], settings.memory) as server,
        load.Load(settings, setup, server.members()) as clients,
    ):
        fill_seconds = clients.fill()
        thin = load.Thin(settings, clients.service, server.members())
        thin.fill()
        memory = watch.Memory(server, settings)
        story = events.Story(server, settings, clients.tell_nodes)
        memory.start()
        thin.start()
        try:
            clients.begin()
            time.sleep(settings.calm)
            story.play(event)
            time.sleep(settings.after)
            record = clients.end()
        finally:
            thin.end()
            memory.end()
    timeline = Timeline(record, story.facts())
    liveness = [one | {"at": one["at"] - story.begin} for one in record["liveness"]]
    return {
        "run": run, "event": event, "setup": setup, "server": server.label, "settings": vars(settings),
        "fill_seconds": fill_seconds, "event_seconds": story.end - story.begin, "notes": story.notes,
        "figures": timeline.figures(), "seconds": timeline.by_second(), "thin": thin.figures(story.begin),
        "liveness": liveness, "memory": memory.figures(),
    }  # fmt: skip


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        # Whatever ran has been stopped on the way here.
        sys.exit(130)
