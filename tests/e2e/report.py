"""Checks and figures: one line each, counted, and an exit code at the end."""

import threading
import time


class Report:
    """Collects what was checked. A failed check does not stop the part it is in: one run shows all there is."""

    SHOWN_MAX = 12

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.part = "e2e"
        self._failures = []
        self._lock = threading.Lock()

    def figure(self, text):
        print(f"{self.part}: {text}", flush=True)

    def check(self, name, violations):
        """`violations` is a list (empty: passed) or a bool (true: passed)."""
        if isinstance(violations, bool):
            violations = [] if violations else ["it does not"]
        with self._lock:
            if not violations:
                self.passed += 1
                print(f"{self.part}: ok   {name}", flush=True)
                return True
            self.failed += 1
            lines = [f"{self.part}: FAIL {name}: {len(violations)} violation(s)"]
            lines += [f"{self.part}:        {violation}" for violation in violations[: self.SHOWN_MAX]]
            if len(violations) > self.SHOWN_MAX:
                lines.append(f"{self.part}:        … and {len(violations) - self.SHOWN_MAX} more")
            print("\n".join(lines), flush=True)
            self._failures += lines
            return False

    def repeat_failures(self):
        """Says once more, at the end, what failed: of a long log people keep the end."""
        for line in self._failures:
            print(line, flush=True)


class Stopwatch:
    def __init__(self):
        self._start = time.monotonic()

    def seconds(self):
        return time.monotonic() - self._start

    def rate(self, count):
        return f"{count} in {self.seconds():.1f} s ({count / max(self.seconds(), 1e-9):.0f}/s)"
