"""Real files through three clients and three nodes: written through one, read through the others, every byte compared."""

import hashlib
import json
import os
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor

import clients
from report import Stopwatch

FILES_MIN = 20_000
FILES_WANTED = 24_000
KEY_BYTES_MAX = 250
# Key and value together, memring's default limit.
ITEM_BYTES_MAX = 10_240
BATCH_KEYS = 100
LANES = 4


def collect():
    """[(key, path, bytes)]: the sources of the crates that the build downloaded first, then Go's and Python's libraries.

    The order, and so the set, depends on nothing but what is on the machine.
    """
    found, taken = [], set()
    for root in roots():
        for path in walk(root):
            if len(found) == FILES_WANTED:
                return found
            key = key_of(os.path.relpath(path, root))
            if key in taken:
                continue
            with open(path, "rb") as file:
                value = file.read(ITEM_BYTES_MAX)
            if value and len(key) + len(value) <= ITEM_BYTES_MAX:
                taken.add(key)
                found.append((key, path, value))
    return found


def roots():
    cargo_home = os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))
    goroot = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=False).stdout.strip()
    candidates = [
        os.path.join(cargo_home, "registry", "src"),
        os.path.join(goroot, "src"),
        sysconfig.get_paths()["stdlib"],
        "/usr/share/doc",
        "/usr/include",
        os.path.join(goroot, "test"),
    ]
    return [path for path in candidates if os.path.isdir(path)]


def walk(root):
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path) and 0 < os.path.getsize(path) <= ITEM_BYTES_MAX:
                yield path


def key_of(relative):
    """A short hash, so that cutting the path keeps keys apart; no space or control character."""
    raw = os.fsencode(relative)
    visible = "".join(chr(byte) if 0x21 <= byte <= 0x7E else "_" for byte in raw)
    return f"{hashlib.sha256(raw).hexdigest()[:12]}:{visible}"[:KEY_BYTES_MAX]


def in_lanes(entries, work):
    """Runs `work(entries of one lane)` in a few threads and joins the violations."""
    with ThreadPoolExecutor(LANES) as pool:
        lanes = pool.map(work, [entries[lane::LANES] for lane in range(LANES)])
        return [violation for lane in lanes for violation in lane]


def write_all(node, entries):
    def write(lane):
        client, violations = clients.PyMemcache(node), []
        for key, _, value in lane:
            try:
                if client.set(key, value) is not True:
                    violations.append(f"set {key}: not stored")
            except Exception as error:  # every failure is a finding, with its text
                violations.append(f"set {key}: {error!r}")
        client.close()
        return violations

    return in_lanes(entries, write)


def read_all(node, entries):
    """Every key singly and in batches of 100, through pylibmc."""

    def read(lane):
        client, violations = clients.PyLibMc(node), []
        for start in range(0, len(lane), BATCH_KEYS):
            batch = lane[start : start + BATCH_KEYS]
            try:
                found = client.get_many([key for key, _, _ in batch])
                violations += [f"get-multi: {key} differs" for key, _, value in batch if found.get(key) != value]
                violations += [f"get: {key} differs" for key, _, value in batch if client.get(key) != value]
            except Exception as error:
                violations.append(f"get of {batch[0][0]} and on: {error!r}")
        client.close()
        return violations

    return in_lanes(entries, read)


def verify_with_go(node, entries, manifest):
    """(violations, figures) of the Go program, which reads the files itself."""
    with open(manifest, "w", encoding="utf-8") as out:
        for key, path, _ in entries:
            out.write(json.dumps({"key": key, "path": path}) + "\n")
    command = [clients.GoMemcache.program, "verify", node.address, manifest]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    return done.stderr.splitlines() if done.returncode else [], done.stdout.strip()


def run(cluster, report):
    entries = collect()
    megabytes = sum(len(value) for _, _, value in entries) / 1e6
    sizes = sorted(len(value) for _, _, value in entries)
    report.check(f"at least {FILES_MIN} real files are on this machine", len(entries) >= FILES_MIN)
    if not entries:
        return
    report.figure(f"{len(entries)} files, {megabytes:.1f} MB, {sizes[0]} to {sizes[-1]} bytes, median {sizes[len(sizes) // 2]}")
    first, second, third = cluster.nodes
    watch = Stopwatch()
    report.check(f"pymemcache writes every file through {first.name}", write_all(first, entries))
    report.figure(f"pymemcache wrote {watch.rate(len(entries))} through {first.name}")
    watch = Stopwatch()
    report.check(f"pylibmc reads every byte back through {second.name}", read_all(second, entries))
    report.figure(f"pylibmc read singly and in batches {watch.rate(2 * len(entries))} through {second.name}")
    violations, figures = verify_with_go(third, entries, os.path.join(cluster.logs, "manifest.jsonl"))
    report.check(f"gomemcache reads every byte back through {third.name}", violations)
    report.figure(f"gomemcache read {figures} through {third.name}")
