"""memcached_exporter against each node: does it see what it sees of memcached, and are the numbers true?

exporter/series.txt holds the names of what it exports for memcached 1.6.45; with --standin the list itself is checked.
"""

import os
import socket
import subprocess
import time
import urllib.request

from cluster import HOST, die_with_parent, is_free

SERIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "exporter", "series.txt")
READY_SECONDS_MAX = 10
STORED, HITS, MISSES = 50, 30, 20
# Copies are written behind the answer: their counts may come a little later.
SETTLE_SECONDS_MAX = 5


class Exporter:
    """One process that scrapes whatever address it is asked for."""

    def __enter__(self):
        self.port = next(port for port in range(31100, 31900) if is_free(port))
        program = os.path.join(os.environ["MEMRING_TOOLS"], "bin", "memcached_exporter")
        self.process = subprocess.Popen(
            [program, f"--web.listen-address={HOST}:{self.port}", "--memcached.timeout=5s"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,
        )  # fmt: skip
        give_up = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
                return self
            except OSError:
                if time.monotonic() > give_up:
                    self.__exit__()
                    raise
                time.sleep(0.02)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def scrape(self, node):
        """(names of series without labels, value by name with labels)."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/scrape?target={node.address}", timeout=15) as reply:
            text = reply.read().decode()
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        values = {name: float(value) for name, value in values.items() if name.startswith("memcached_")}
        return {name.split("{")[0] for name in values}, values


def known_series():
    with open(SERIES, encoding="ascii") as file:
        return {line.strip() for line in file if not line.startswith("#")}


def work(node):
    """50 sets, 30 hits, 20 misses, and one of each other kind, each of them answered."""
    key = f"exported-{node.name}"
    lines = [f"set {key}-{number} 0 0 5\r\nhello\r\n" for number in range(STORED)]
    lines += [f"get {key}-{number}\r\n" for number in range(HITS)] + [f"get {key}-none\r\n"] * MISSES
    lines += [f"touch {key}-0 100\r\n", f"touch {key}-none 100\r\n", f"delete {key}-1\r\n", f"delete {key}-none\r\n"]
    lines += [f"set {key}-n 0 0 1\r\n1\r\n", f"incr {key}-n 1\r\n", f"incr {key}-none 1\r\n", f"decr {key}-n 1\r\n"]
    lines += [f"cas {key}-none 0 0 1 1\r\nx\r\n", f"cas {key}-2 0 0 1 1\r\nx\r\n", "version\r\n"]
    with socket.create_connection((HOST, node.port), timeout=10) as connection:
        connection.sendall("".join(lines).encode())
        answer = b""
        while b"VERSION " not in answer and (piece := connection.recv(65536)):
            answer += piece
    return answer


def command(name, status):
    return f'memcached_commands_total{{command="{name}",status="{status}"}}'


COUNTED = {
    command("set", "hit"): STORED + 1, command("get", "hit"): HITS, command("get", "miss"): MISSES,
    command("touch", "hit"): 1, command("touch", "miss"): 1, command("delete", "hit"): 1, command("delete", "miss"): 1,
    command("incr", "hit"): 1, command("incr", "miss"): 1, command("decr", "hit"): 1, command("decr", "miss"): 0,
    command("cas", "miss"): 1, command("cas", "badval"): 1, command("cas", "hit"): 0,
    command("flush", "hit"): 0, "memcached_items_total": STORED + 1, "memcached_item_too_large_total": 0,
}  # fmt: skip


def judge(node, before, after, is_standin):
    violations = []
    for name, wanted in COUNTED.items():
        # Of another node's copies a node may count items; of commands, those that came to it.
        found = after.get(name, 0) - before.get(name, 0)
        if found != wanted and not (name == "memcached_items_total" and not is_standin):
            violations.append(f"{node.name}: {name} rose by {found:g}, not by {wanted}")
    for name, held in {
        "memcached_up": lambda value: value == 1,
        "memcached_limit_bytes": lambda value: value >= 64 << 20,
        "memcached_current_bytes": lambda value: value > 0,
        "memcached_max_connections": lambda value: value >= 1024,
        "memcached_current_connections": lambda value: 1 <= value < 1000,
        "memcached_uptime_seconds": lambda value: 0 < value < 3600,
        "memcached_time_seconds": lambda value: abs(value - time.time()) < 10,
        "memcached_accepting_connections": lambda value: value == 1,
        "memcached_process_user_cpu_seconds_total": lambda value: value >= 0,
    }.items():
        if not held(after.get(name, float("nan"))):
            violations.append(f"{node.name}: {name} is {after.get(name)}")
    for name in ("memcached_read_bytes_total", "memcached_written_bytes_total", "memcached_connections_total"):
        if not after.get(name, 0) > before.get(name, 0):
            violations.append(f"{node.name}: {name} went from {before.get(name)} to {after.get(name)}")
    per_slab = sum(value for name, value in after.items() if name.startswith("memcached_slab_current_items{"))
    # A scrape is four commands, and what earlier clients stored may expire between them.
    if not per_slab or abs(per_slab - after.get("memcached_current_items", 0)) > max(50, per_slab * 0.1):
        violations.append(
            f"{node.name}: {per_slab:g} items in slabs, {after.get('memcached_current_items')} items in all"
        )
    return violations


def story(cluster, report):
    known, seen, violations = known_series(), [], []
    with Exporter() as exporter:
        items_before = [exporter.scrape(node)[1].get("memcached_current_items", 0) for node in cluster.nodes]
        for node in cluster.nodes:
            before = exporter.scrape(node)[1]
            answer = work(node)
            if b"VERSION " not in answer:
                violations.append(f"{node.name}: the work ends with {answer[-60:]!r}")
            names, after = exporter.scrape(node)
            seen.append((node, names))
            violations += judge(node, before, after, cluster.is_standin)
        rise, give_up = 0, time.monotonic() + SETTLE_SECONDS_MAX
        while rise < STORED * len(cluster.nodes) and time.monotonic() < give_up:
            items = [exporter.scrape(node)[1].get("memcached_current_items", 0) for node in cluster.nodes]
            rise = sum(items) - sum(items_before)
        # Each of the nodes' works leaves as many items as it stored, on one node or on up to all of them.
        copies = len(cluster.nodes)
        if not STORED * copies <= rise <= (STORED + 1) * copies * copies:
            violations.append(f"memcached_current_items rose by {rise:g} in all, from {items_before} to {items}")
    missing = [f"{node.name} lacks {name}" for node, names in seen for name in sorted(known - names)]
    if cluster.is_standin:
        missing += [f"not in series.txt: {name}" for _, names in seen[:1] for name in sorted(names - known)]
    report.check(f"memcached_exporter finds all {len(known)} series of memcached 1.6.45 at every node", missing)
    report.check("memcached_exporter says up, and its numbers rise as the work does", violations)
    found = ", ".join(str(len(names & known)) for _, names in seen)
    report.figure(f"memcached_exporter: {len(known)} series wanted, {found} found")
