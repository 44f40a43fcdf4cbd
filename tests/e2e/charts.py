"""The argument lists with which Grafana's charts start memcached, each in a network namespace of its own.

As in a pod: user 11211, no capabilities, port 11211 on the pod's own address, asked from another pod's. Started as
`memring memcached …` and through a link named memcached; with --standin as memcached itself. Needs root.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pymemcache
from pymemcache.exceptions import MemcacheServerError

LINK = "memcached, a link"
USER = 11211
PORT = 11211
SERVER, CLIENT, MASK = "10.77.0.1", "10.77.0.2", 30
READY_SECONDS_MAX = 10
STOP_SECONDS_MAX = 10
CLONE_NEWNET = 0x40000000
MIB = 1024 * 1024
LOKI_CHUNK = 1_572_864

# Name, argument elements exactly as the chart writes them, megabytes, connections, item limit, the largest value to
# keep, whether a stock memcached can be started so here: it would make the file of extstore.
CHARTS = (
    ("Loki chunks, with a volume",
     ["-m 8192", "--extended=modern,track_sizes,ext_path=/data/file:9G,ext_wbuf_size=16", "-I 5m", "-c 16384", "-v",
      "-u 11211", "-t 4"],
     8192, 16384, 5 * MIB, LOKI_CHUNK, False),
    ("Loki chunks", ["-m 8192", "--extended=modern,track_sizes", "-I 5m", "-c 16384", "-v", "-u 11211", "-t 4"],
     8192, 16384, 5 * MIB, LOKI_CHUNK, True),
    ("Loki results", ["-m 1024", "--extended=modern,track_sizes", "-I 5m", "-c 16384", "-v", "-u 11211"],
     1024, 16384, 5 * MIB, LOKI_CHUNK, True),
    ("Mimir chunks", ["-m 8192", "--extended=modern", "-I 1m", "-c 16384", "-v", "-u 11211"],
     8192, 16384, MIB, 16_000, True),
    ("Mimir index", ["-m 2048", "--extended=modern", "-I 5m", "-c 16384", "-v", "-u 11211"],
     2048, 16384, 5 * MIB, 4_000_000, True),
    ("Tempo", [], 64, 1024, MIB, 100_000, True),
    ("Loki's documentation", ["-m", "4096", "-I", "2m", "-c", "1024"], 4096, 1024, 2 * MIB, LOKI_CHUNK, True),
    ("Grafana's jsonnet", ["-m 1024", "-I 1m", "-c 1024", "-v"], 1024, 1024, MIB, 1_000_000, True),
    ("Grafana's jsonnet, extended", ["-m 1024", "-I 1m", "-c 1024", "-v", "--extended=track_sizes"],
     1024, 1024, MIB, 1_000_000, True),
)  # fmt: skip
# Started through the link too: what the image of a chart would hold. The others are told one way, for time.
LINKED = ("Loki chunks", "Tempo")
UNKNOWN = (["--no-such-option"], ["-m 64", "--no-such-option=7"], ["-j"], ["-o", "no_such_option=1"])


class Namespaces:
    """Two network namespaces with a cable between them: `server` and `client`."""

    def __init__(self):
        self.server, self.client = f"memring-{os.getpid()}-s", f"memring-{os.getpid()}-c"

    def __enter__(self):
        self._delete_left_over()
        try:
            for name in (self.server, self.client):
                ip("netns", "add", name)
            ip("-n", self.server, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self.client)
            for name, address in ((self.server, SERVER), (self.client, CLIENT)):
                ip("-n", name, "address", "add", f"{address}/{MASK}", "dev", "cable")
                for link in ("cable", "lo"):
                    ip("-n", name, "link", "set", link, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in (self.server, self.client):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    @staticmethod
    def _delete_left_over():
        """What a killed run could not."""
        folder = "/run/netns"
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            made_by = re.fullmatch(r"memring-(\d+)-[sc]", name)
            if made_by and not os.path.exists(f"/proc/{made_by[1]}"):
                subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def inside(namespace):
    """Sockets made by this thread meanwhile belong to the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (
        open("/proc/thread-self/ns/net", encoding="ascii") as home,
        open(f"/run/netns/{namespace}", encoding="ascii") as there,
    ):
        if libc.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


class Image:
    """A folder that any user can read, with the program and a link to it, as an image has them."""

    def __init__(self, binary):
        self.folder = tempfile.mkdtemp(prefix="memring-charts-")
        os.chmod(self.folder, 0o755)
        source = binary or shutil.which("memcached")
        self.program = os.path.join(self.folder, "memring" if binary else "memcached")
        shutil.copy(source, self.program)
        os.chmod(self.program, 0o755)
        self.starts = {"memcached": [self.program]}
        if binary:
            link = os.path.join(self.folder, "memcached")
            os.symlink("memring", link)
            self.starts = {"memring memcached": [self.program, "memcached"], LINK: [link]}

    def close(self):
        shutil.rmtree(self.folder)


def as_in_a_pod(namespace, command):
    return [
        "ip", "netns", "exec", namespace, "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
        "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--pdeathsig=KILL", "--", *command,
    ]  # fmt: skip


class Server:
    """One server in the namespace `server`, from its start to its SIGTERM."""

    def __init__(self, namespaces, command):
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            as_in_a_pod(namespaces.server, command), stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
            cwd="/", env={"PATH": os.environ["PATH"]},
        )  # fmt: skip

    def said(self):
        self.output.seek(0)
        return self.output.read().decode("utf-8", "replace").strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()

    def terminate(self):
        """Its exit code after SIGTERM; None if it stays."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return None

    def wait_ready(self, namespaces):
        """None, or why nobody could connect."""
        give_up = time.monotonic() + READY_SECONDS_MAX
        while True:
            try:
                with inside(namespaces.client):
                    socket.create_connection((SERVER, PORT), timeout=1).close()
                return None
            except OSError as error:
                if self.process.poll() is not None:
                    return f"exit {self.process.returncode}: {self.said()[-300:]}"
                if time.monotonic() > give_up:
                    return f"{error} after {READY_SECONDS_MAX} s: {self.said()[-300:]}"
                time.sleep(0.02)


def ask(namespaces, megabytes, connections, item_limit, value_bytes):
    """What is wrong with the answers that a client in another namespace gets."""
    violations = []
    value = bytes(range(256)) * (value_bytes // 256 + 1)
    value = value[:value_bytes]
    with inside(namespaces.client):
        client = pymemcache.Client((SERVER, PORT), connect_timeout=5, timeout=10, no_delay=True, default_noreply=False)
        version = client.version()
        if not re.fullmatch(rb"\d+\.\d+\.\d+", version):
            violations.append(f"version {version!r}")
        settings = {name.decode(): found for name, found in client.stats("settings").items()}
        for name, wanted in (("maxbytes", megabytes * MIB), ("maxconns", connections), ("item_size_max", item_limit)):
            if str(settings.get(name)) != str(wanted):
                violations.append(f"stats settings: {name} is {settings.get(name)}, not {wanted}")
        if client.set("chart", value) is not True or client.get("chart") != value:
            violations.append(f"a value of {value_bytes} bytes does not come back")
        try:
            client.set("too-large", bytes(item_limit + 1024))
            violations.append(f"a value beyond {item_limit} bytes is stored")
        except MemcacheServerError as error:
            if "object too large for cache" not in str(error):
                violations.append(f"a value beyond the limit: {error!r}")
        if client.get("chart") != value:
            violations.append("the value is gone after a refused one")
        client.close()
    return violations


def chart(namespaces, image, row):
    name, arguments, megabytes, connections, item_limit, value_bytes, _ = row
    violations = []
    for how, start in image.starts.items():
        if how == LINK and name not in LINKED:
            continue
        with Server(namespaces, [*start, *arguments]) as server:
            wrong = server.wait_ready(namespaces)
            if wrong:
                violations.append(f"{how}: {wrong}")
                continue
            try:
                wrongs = ask(namespaces, megabytes, connections, item_limit, value_bytes)
            except Exception as error:
                wrongs = [f"{error!r}: {server.said()[-300:]}"]
            with open(f"/proc/{server.process.pid}/comm", encoding="ascii") as comm:
                process_name = comm.read().strip()
            if how != "memring memcached" and process_name != "memcached":
                wrongs.append(f"the process is called {process_name}: `pgrep memcached` is a probe")
            code = server.terminate()
            if code != 0:
                wrongs.append(f"exit {code} after SIGTERM: {server.said()[-300:]}")
            violations += [f"{how}: {wrong}" for wrong in wrongs]
    return name, violations


def unknown_options(image, is_standin):
    violations = []
    for start in image.starts.values():
        for arguments in UNKNOWN:
            try:
                done = subprocess.run(
                    [*start, *arguments], capture_output=True, text=True, timeout=5, cwd="/", check=False
                )
            except subprocess.TimeoutExpired:
                violations.append(f"{arguments} starts a server")
                continue
            lines = (done.stdout + done.stderr).strip().splitlines()
            name = arguments[-1].split("=")[0].lstrip("-")
            # memcached names the letter, and says a line more.
            if done.returncode == 0 or (not is_standin and (len(lines) != 1 or name not in lines[0])):
                violations.append(f"{arguments}: exit {done.returncode}: {lines[:3]}")
    return violations


def run(binary, report):
    if os.geteuid() != 0:
        report.check("the charts' servers run in network namespaces", ["not root: no namespaces can be made"])
        return
    image, told = Image(binary), 0
    try:
        with Namespaces() as namespaces:
            for row in CHARTS:
                if binary is None and not row[-1]:
                    continue
                name, violations = chart(namespaces, image, row)
                told += 1
                report.check(f"{name}: {' '.join(row[1]) or 'no arguments'}", violations)
        report.check("an unknown option ends it with one clear line", unknown_options(image, binary is None))
    except OSError as error:
        report.check("the charts' servers run in network namespaces", [str(error)])
    finally:
        image.close()
    report.figure(f"{told} argument lists, {', '.join(image.starts)}; asked from another network namespace")
