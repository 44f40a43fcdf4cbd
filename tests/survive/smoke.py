"""What a quick run must show, whatever machine it is on: no figure of speed is among it."""

# Of a window in which nothing was lost.
HIT_RATE_MIN = 0.99


def judge(cells):
    """Prints one line a cell; how many show what they must not."""
    wrong = 0
    for cell in cells:
        found = violations(cell)
        wrong += bool(found)
        verdict = f"FAIL {'; '.join(found)}" if found else "ok"
        print(f"survive: {cell['event']}, {cell['setup']}, {cell['server']}: {verdict}")
    print(f"{len(cells) - wrong} passed, {wrong} failed", flush=True)
    return wrong


def violations(cell):
    """Of memring with three copies: nothing fails on a node that is there, and nothing is lost."""
    figures, found = cell["figures"], []
    for kind, (_, elsewhere) in figures["failed"].items():
        if elsewhere:
            found.append(f"{elsewhere} {kind} failed elsewhere")
    for phase, rate in figures["hit_rate"].items():
        if rate is None or rate < HIT_RATE_MIN:
            found.append(f"hit rate {phase}: {rate}")
    return found
