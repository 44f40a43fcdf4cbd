"""Checks and figures: one line each, counted. Must not know what is checked."""


class Report:
    """Collects what was checked. A failed check does not stop the others: one run shows all there is."""

    SHOWN_MAX = 20

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def figure(self, text):
        print(f"chart: {text}", flush=True)

    def check(self, name, violations):
        """`violations` is a list of lines; none: passed."""
        if not violations:
            self.passed += 1
            return
        self.failed += 1
        lines = [f"chart: FAIL {name}: {len(violations)} violation(s)"]
        lines += [f"chart:      {violation}" for violation in violations[: self.SHOWN_MAX]]
        if len(violations) > self.SHOWN_MAX:
            lines.append(f"chart:      … and {len(violations) - self.SHOWN_MAX} more")
        print("\n".join(lines), flush=True)
