"""The frame of a script of calls in Python: counts checks, and notices calls that the client offers and nobody made.

A script is a program of its own: `SCRIPT calls|flush ADDRESS ADDRESS ADDRESS`. It prints a line `FAIL …` for each check
that does not hold, and ends with `DONE calls=N checks=N`. Scripts in other languages speak the same way; who starts
them is foreign.py. With `calls` it uses keys of its own and disturbs nobody; `flush` empties the servers.
"""

import sys
import traceback


class Script:
    def __init__(self):
        self.mode, self.addresses = sys.argv[1], sys.argv[2:]
        self.checks = 0
        self.failed = 0
        self.called = set()
        self.where = ""

    def fail(self, text):
        self.failed += 1
        print(f"FAIL {self.where}{text}".replace("\n", " | "), flush=True)

    def same(self, what, found, wanted):
        self.checks += 1
        if found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
            self.fail(f"{what}: {shown(found)}, not {shown(wanted)}")

    def holds(self, what, found, held):
        self.checks += 1
        if not held:
            self.fail(f"{what}: {shown(found)}")

    def raises(self, what, kind, ask, text=""):
        self.checks += 1
        try:
            self.fail(f"{what}: {shown(ask())}, not {kind.__name__}")
        except kind as error:
            if text not in str(error):
                self.fail(f"{what}: {error!r} does not say {text!r}")

    def try_all(self, stories):
        """Tells each story through every node: one that ends early does not hide the others."""
        for story in stories:
            for at in range(len(self.addresses)):
                self.where = f"n{at + 1}: "
                try:
                    story(self, at)
                except Exception as error:
                    at_line = traceback.extract_tb(error.__traceback__)[1]
                    self.fail(f"{story.__name__} ends at `{at_line.line}`: {error!r}")
        self.where = ""

    def watched(self, client):
        return Watched(client, self.called)

    def offers(self, kind, without):
        """Every public method of `kind` must have been called, but for those of `without`."""
        offered = {name for name in dir(kind) if not name.startswith("_")} - set(without)
        self.same("calls that the client offers and the script does not make", sorted(offered - self.called), [])

    def done(self):
        print(f"DONE calls={len(self.called)} checks={self.checks}", flush=True)
        return 1 if self.failed else 0


class Watched:
    """A client that notes the names of the methods called."""

    def __init__(self, client, called):
        self._client, self._called = client, called

    def __getattr__(self, name):
        self._called.add(name)
        return getattr(self._client, name)

    def __getitem__(self, key):
        return self._client[key]

    def __setitem__(self, key, value):
        self._client[key] = value

    def __delitem__(self, key):
        del self._client[key]

    def __contains__(self, key):
        return key in self._client


def shown(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
