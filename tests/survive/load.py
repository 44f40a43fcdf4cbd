"""The two streams of clients: grafana/gomemcache in a process of its own (go/), and a thin one of pymemcache in a thread.

They are told where the nodes are and tell what came of their operations; what happens to the nodes is not known here.
"""

import json
import os
import subprocess
import threading
import time
from collections import Counter

import pymemcache

from cluster import HOST, ClusterError, die_with_parent

# Keys of the thin stream: its hash of keys is not Grafana's, so it has keys of its own.
THIN_KEYS = 2000


class Load:
    """The generator: a context that ends with its process gone."""

    def __init__(self, settings, setup, members):
        self.process = subprocess.Popen(
            [os.environ["MEMRING_SURVIVE_LOAD"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent
        )
        told = {
            "setup": setup, "nodes": members, "clients": settings.clients, "keys": settings.keys,
            "value_bytes": settings.value_bytes, "rate": settings.rate, "set_share": settings.set_share,
            "batch_keys": settings.batch_keys, "batch_ms": settings.batch_ms, "timeout_ms": settings.timeout_ms,
            "refresh_ms": int(settings.refresh * 1000), "seed": settings.seed,
        }  # fmt: skip
        self._write(told)
        self.service = self._read()["service"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def fill(self):
        self._write({"do": "fill"})
        return self._read()["seconds"]

    def begin(self):
        """Returns the moment from which its record counts."""
        self._write({"do": "go"})
        return self._read()["at"]

    def tell_nodes(self, members):
        self._write({"do": "nodes", "nodes": members})

    def end(self):
        self._write({"do": "stop"})
        return self._read()

    def _write(self, line):
        try:
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise ClusterError("the load generator has ended") from error

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise ClusterError("the load generator has ended")
        return json.loads(line)


class Thin(threading.Thread):
    """pymemcache: a client of the one address, or HashClient with its own defaults over a list that stays as it is."""

    def __init__(self, settings, service, members):
        super().__init__(name="thin", daemon=True)
        self.pace = 1 / settings.thin_rate
        patience = settings.timeout_ms / 1000
        options = {"connect_timeout": patience, "timeout": patience, "no_delay": True}
        if service:
            self.client = pymemcache.PooledClient(where(service), max_pool_size=1, **options)
        else:
            self.client = pymemcache.HashClient([where(member["address"]) for member in members], **options)
        self.ended = threading.Event()
        # (moment it was due, hit or miss or failure's reason)
        self.answers = []

    def fill(self):
        for number in range(THIN_KEYS):
            self.client.set(f"thin/{number}", b"v" * 100, noreply=False)

    def run(self):
        due = time.time()
        number = 0
        while not self.ended.is_set():
            # One at a time: what is late starts late, and is not counted as a wait.
            due = max(due + self.pace, time.time() - 1)
            time.sleep(max(0.0, due - time.time()))
            number = (number + 1) % THIN_KEYS
            try:
                found = self.client.get(f"thin/{number}")
                self.answers.append((due, "miss" if found is None else "hit"))
            except (OSError, pymemcache.exceptions.MemcacheError) as error:
                self.answers.append((due, type(error).__name__))

    def end(self):
        self.ended.set()
        self.join()
        self.client.close()

    def figures(self, begin):
        """Of the operations that were due since then: how many failed, by reason, and the share of hits."""
        counts = Counter(answer for due, answer in self.answers if due >= begin)
        failed = {reason: count for reason, count in counts.items() if reason not in ("hit", "miss")}
        answered = counts["hit"] + counts["miss"]
        return {"failed": failed, "hit_share": counts["hit"] / answered if answered else None, "answered": answered}


def where(address):
    return (HOST, int(address.rsplit(":", 1)[1]))
