"""Pods: the image's root file system, a network of their own, probes, hooks and signals, as kubelet gives them.

Does not know how many there should be. Runs in namespaces of the whole play (scripts/kubelet.sh), so that nothing of it is left.
"""

import http.client
import os
import signal
import subprocess
import threading
import time

BRIDGE = "pods"
GATEWAY = "10.77.0.1"
# As the container runtime would: what is mounted, the host's name, then the container's process as 1.
INIT = """
root=$1 hosts=$2 secrets=$3 where=$4 name=$5 user=$6; shift 6
hostname "$name"
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$hosts" "$root/etc/hosts"
if [ -n "$where" ]; then mount --bind "$secrets" "$root$where"; fi
mount -o remount,ro,bind "$root"
exec setpriv --no-new-privs chroot --userspec="$user" "$root" "$@"
"""


class PodError(Exception):
    """A pod did not do what Kubernetes expects of it."""


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


def make_network():
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


class Pod:
    """One pod: an ordinal's process, from its start to its end. A pod that is made again has another address."""

    made = 0

    def __init__(self, play, ordinal):
        Pod.made += 1
        self.play, self.workload = play, play.workload
        self.ordinal, self.name = ordinal, f"{play.workload.name}-{ordinal}"
        self.address = f"10.77.0.{Pod.made + 9}"
        self.is_ready = self.is_leaving = False
        self.ended = threading.Event()
        self._network = f"pod{Pod.made}"
        self.hosts = play.folder / f"hosts-{Pod.made}"
        self.hosts.touch()
        self.log = play.folder / f"{self.name}.log"
        self.process = self.pid = None
        self.started_s = None

    def start(self):
        outside = f"v{self._network}"
        run("ip", "netns", "add", self._network)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", self._network)
        run("ip", "link", "set", outside, "master", BRIDGE, "up")
        run("ip", "-n", self._network, "address", "add", f"{self.address}/24", "dev", "eth0")
        run("ip", "-n", self._network, "link", "set", "eth0", "up")
        run("ip", "-n", self._network, "link", "set", "lo", "up")
        where = self.workload.mounts()
        user = "{}:{}".format(*self.workload.user)
        command = [
            "ip", "netns", "exec", self._network, "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
            "bash", "-ec", INIT, "-", str(self.play.root), str(self.hosts), str(self.play.secrets), where[0] if where else "",
            self.name, user, *self.workload.command(),
        ]  # fmt: skip
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment())
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        while not self.pid:
            if self.process.poll() is not None:
                raise PodError(f"{self.name} ended with {self.process.returncode}: {self.log_tail()}")
            with open(children, encoding="ascii") as text:
                self.pid = int((text.read().split() or [0])[0])
        threading.Thread(target=self._watch, daemon=True).start()

    def _environment(self):
        values = self.workload.environment(self.name, self.address)
        api = {"KUBERNETES_SERVICE_HOST": GATEWAY, "KUBERNETES_SERVICE_PORT": str(self.play.api.port)}
        # What bash and ip need before the container's command is run with the container's PATH.
        return values | api | {"PATH": f"{values['PATH']}:/usr/sbin:/sbin:/bin"}

    def _watch(self):
        """Startup, then readiness and liveness, each by its own period."""
        begin = time.monotonic()
        startup = self.workload.probe("startupProbe")
        if startup and not self._until_started(startup):
            return
        self.started_s = time.monotonic() - begin
        for name in ("readinessProbe", "livenessProbe"):
            probe = self.workload.probe(name)
            if probe:
                threading.Thread(target=self._keep_asking, args=(probe, name), daemon=True).start()

    def _until_started(self, probe):
        time.sleep(probe.delay)
        failures = 0
        while not self.ended.is_set():
            if self.answers(probe):
                return True
            failures += 1
            if failures >= probe.failures_max:
                self.play.fail(f"{self.name}: startup probe failed {failures} times")
                return False
            self.ended.wait(probe.period)
        return False

    def _keep_asking(self, probe, name):
        failures = 0
        self.ended.wait(probe.delay)
        while not self.ended.is_set():
            good = self.answers(probe)
            failures = 0 if good else failures + 1
            if name == "readinessProbe":
                if good or failures >= probe.failures_max:
                    self.is_ready = good
            elif failures >= probe.failures_max and not self.is_leaving:
                self.play.fail(f"{self.name}: liveness probe failed {failures} times")
                return
            self.ended.wait(probe.period)

    def answers(self, probe):
        connection = http.client.HTTPConnection(self.address, probe.port, timeout=probe.timeout)
        try:
            connection.request("GET", probe.path)
            return 200 <= connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def enter(self, *command, timeout=None):
        """Runs it in the container, as `kubectl exec` would."""
        uid, gid = self.workload.user
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--root", "--wd",
                  "--setgid", str(gid), "--setuid", str(uid)]  # fmt: skip
        return subprocess.run(
            [*inside, *command], env=self._environment(), capture_output=True, text=True, timeout=timeout, check=False
        )

    def stop(self):
        """The preStop hook, SIGTERM, and SIGKILL when the grace is over; how long each took."""
        begin = time.monotonic()
        self.is_leaving = True
        try:
            hook = self.enter(*self.workload.pre_stop, timeout=self.workload.grace)
            if hook.returncode != 0:
                self.play.fail(f"{self.name}: the preStop hook ended with {hook.returncode}: {hook.stderr.strip()}")
            told = (hook.stdout + hook.stderr).strip()
        except subprocess.TimeoutExpired:
            self.play.fail(f"{self.name}: the preStop hook took all of the grace period")
            told = ""
        hook_s = time.monotonic() - begin
        os.kill(self.pid, signal.SIGTERM)
        try:
            status = self.process.wait(max(1.0, self.workload.grace - hook_s))
            if status != 0:
                self.play.fail(f"{self.name} ended with {status}: {self.log_tail()}")
        except subprocess.TimeoutExpired:
            self.play.fail(f"{self.name} still ran after {self.workload.grace} s")
            os.kill(self.pid, signal.SIGKILL)
            self.process.wait()
        self.ended.set()
        self.is_ready = False
        run("ip", "netns", "delete", self._network)
        return {"hook_s": hook_s, "all_s": time.monotonic() - begin, "told": told}

    def log_tail(self):
        return b"".join(self.log.read_bytes().splitlines(keepends=True)[-5:]).decode(errors="replace")
