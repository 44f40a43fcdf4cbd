"""Does `memring bench` tell the truth? The same server under it and under YCSB, at one fixed rate, turn by turn.

What was achieved is read from the server's own counters over a stretch in the middle of each run, and what it cost from the
kernel, so neither generator is believed about itself. Started by scripts/bench-check.sh. Must not know how either generates.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from cluster import HOST, die_with_parent, free_base_port

# Like for like: keys of 23 bytes, values of 100, nine gets to a set, each key as likely as the other.
CONNECTIONS = 16
KEYS = 10_000
PREFIX = "bench-check--"
VALUE_BYTES = 100
# Bars: how far from the rate, and from each other in the server's CPU time an operation.
RATE_OFF_MAX = 0.01
CPU_OFF_MAX = 0.10
# A run: started when its operations flow, then calm, then measured, then a rest until it ends by itself.
FLOWING_SHARE = 0.5
CALM_SECONDS = 2
REST_SECONDS = 2
START_SECONDS_MAX = 60


class Server:
    """One memring node, on the first core if there are two."""

    def __init__(self, binary, folder):
        self.port = free_base_port(1)
        ports = ["--port", str(self.port), "--peer-port", str(self.port + 1), "--admin-port", str(self.port + 2)]
        command = [binary, "serve", *ports, "--replicas", "1", "--threads", "1", "-m", "256m"]
        with open(pathlib.Path(folder, "server.log"), "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=on_core(0))
        self.lines = None
        deadline = time.monotonic() + START_SECONDS_MAX
        while self.lines is None:
            try:
                self.socket = socket.create_connection((HOST, self.port), timeout=5)
                self.lines = self.socket.makefile("rb")
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)

    def operations(self):
        self.socket.sendall(b"stats\r\n")
        stats = {}
        while (line := self.lines.readline().split())[0] != b"END":
            stats[line[1]] = line[2] if len(line) > 2 else b""
        return int(stats[b"cmd_get"]) + int(stats[b"cmd_set"])

    def cpu_seconds(self):
        """Of all its threads, to the nanosecond."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def sample(self):
        return time.monotonic(), self.operations(), self.cpu_seconds()


def on_core(core):
    """In a child: on that core alone, if there are two."""

    def prepare():
        die_with_parent()
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > core and len(cores) > 1:
            os.sched_setaffinity(0, {cores[core]})

    return prepare


class Bench:
    name = "memring bench"

    def __init__(self, arguments, port):
        self.command = [arguments.memring, "bench", "--server", f"{HOST}:{port}", "--connections", str(CONNECTIONS)]
        self.command += ["--keys", str(KEYS), "--prefix", PREFIX, "--distribution", "uniform", "--json"]
        self.command += ["--value-size", str(VALUE_BYTES), "--ratio", "9:1", "--warm-up", "0s", "--rate", str(arguments.rate)]

    def fill(self):
        subprocess.run([*self.command, "--fill", "--operations", "1"], check=True, stdout=subprocess.DEVNULL)

    def run(self, seconds):
        return [*self.command, "--duration", f"{seconds}s"]

    def told(self, output):
        """Operations a second and the median latency in µs, as it says itself; what went wrong."""
        report = json.loads(output)
        return report["operations_per_second"], report["latency_us"]["from_sent"]["all"]["p50"], report["errors_total"]


class Ycsb:
    name = "YCSB"

    def __init__(self, arguments, port):
        classes = f"{arguments.ycsb}/classes:{arguments.ycsb}/lib/*"
        self.command = ["java", "-Xmx512m", "-cp", classes, "site.ycsb.Client", "-db", "Memcached", "-P", "/dev/null"]
        self.rate = arguments.rate
        for name, value in {
            "workload": "site.ycsb.workloads.CoreWorkload",
            "memcached.host": HOST,
            "memcached.port": port,
            "recordcount": KEYS,
            "fieldcount": 1,
            "fieldlength": VALUE_BYTES,
            "readproportion": 0.9,
            "updateproportion": 0.1,
            "requestdistribution": "uniform",
            "hdrhistogram.percentiles": "50,99",
        }.items():
            self.command += ["-p", f"{name}={value}"]
        self.command += ["-threads", str(CONNECTIONS)]

    def fill(self):
        subprocess.run([*self.command, "-load"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, seconds):
        more = ["-p", f"maxexecutiontime={seconds}", "-p", "operationcount=2000000000"]
        return [*self.command, *more, "-t", "-target", str(self.rate)]

    def told(self, output):
        figures = {}
        for line in output.splitlines():
            words = [word.strip() for word in line.split(",")]
            if len(words) == 3 and words[0].startswith("["):
                figures[words[0], words[1]] = words[2]
        right = sum(int(figures.get((kind, "Return=OK"), 0)) for kind in ("[READ]", "[UPDATE]"))
        all_of_them = sum(int(figures.get((kind, "Operations"), 0)) for kind in ("[READ]", "[UPDATE]"))
        median = float(figures.get(("[READ]", "50thPercentileLatency(us)"), 0))
        return float(figures["[OVERALL]", "Throughput(ops/sec)"]), median, all_of_them - right


def measure(server, generator, rate, seconds):
    """(operations a second, the server's CPU µs an operation, what the generator says)."""
    whole = seconds + CALM_SECONDS + REST_SECONDS
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            generator.run(whole), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, preexec_fn=on_core(1)
        )
        try:
            wait_until_flowing(server, rate, process)
            time.sleep(CALM_SECONDS)
            began, operations, cpu = server.sample()
            time.sleep(seconds)
            ended, operations_then, cpu_then = server.sample()
            process.wait(whole + START_SECONDS_MAX)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        told = generator.told(output.read())
    done = operations_then - operations
    return done / (ended - began), (cpu_then - cpu) * 1e6 / done, told


def wait_until_flowing(server, rate, process):
    deadline = time.monotonic() + START_SECONDS_MAX
    before, at = server.operations(), time.monotonic()
    while True:
        time.sleep(0.1)
        operations, now = server.operations(), time.monotonic()
        if (operations - before) / (now - at) >= rate * FLOWING_SHARE:
            return
        if now > deadline or process.poll() is not None:
            raise SystemExit("bench-check: the generator does not come up to speed")
        before, at = operations, now


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench-check.sh")
    parser.add_argument("--memring", required=True)
    parser.add_argument("--ycsb", required=True)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.memring, folder)
        try:
            return check(server, arguments)
        finally:
            server.stop()


def check(server, arguments):
    generators = [Bench(arguments, server.port), Ycsb(arguments, server.port)]
    for generator in generators:
        generator.fill()
    print(f"{arguments.rate} operations a second on {CONNECTIONS} connections, {arguments.rounds} rounds of {arguments.seconds} s")
    print(f"{'':16}{'operations/s':>14}{'CPU µs each':>14}{'says itself':>14}{'p50 µs':>10}{'errors':>8}")
    seen = {generator.name: [] for generator in generators}
    for _ in range(arguments.rounds):
        for generator in generators:
            achieved, cpu, (says, median, errors) = measure(server, generator, arguments.rate, arguments.seconds)
            seen[generator.name].append((achieved, cpu, errors))
            print(f"{generator.name:16}{achieved:14.1f}{cpu:14.3f}{says:14.1f}{median:10.1f}{errors:8}", flush=True)
    return judged(seen, arguments.rate)


def judged(seen, rate):
    """Prints the medians against the bars; the exit code."""
    middle = {name: [statistics.median(values) for values in zip(*runs)] for name, runs in seen.items()}
    ours, theirs = middle[Bench.name], middle[Ycsb.name]
    off = abs(ours[0] / rate - 1)
    ratio = statistics.median(a[1] / b[1] for a, b in zip(seen[Bench.name], seen[Ycsb.name]))
    for name, (achieved, cpu, _) in middle.items():
        print(f"median, {name}: {achieved:.1f} operations/s ({achieved / rate * 100 - 100:+.2f} %), {cpu:.3f} CPU µs each")
    verdicts = [
        (f"memring bench keeps the rate within {RATE_OFF_MAX:.0%}", off <= RATE_OFF_MAX),
        (f"the server's CPU time an operation is within {CPU_OFF_MAX:.0%}: ratio {ratio:.3f}", abs(ratio - 1) <= CPU_OFF_MAX),
        ("no errors", ours[2] == theirs[2] == 0),
    ]
    for what, holds in verdicts:
        print(f"{'ok' if holds else 'MISSED':8}{what}")
    passed = sum(holds for _, holds in verdicts)
    print(f"{passed} passed, {len(verdicts) - passed} failed")
    return 0 if passed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
