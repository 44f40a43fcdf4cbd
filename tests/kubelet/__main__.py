"""Plays kubelet and the StatefulSet controller for the rendered chart: a first start, an ordered rollout, a scale-out and a
scale-in, with clients at work: `python tests/kubelet`.

Real processes in the image's root file system, each in a network of its own; the commands, environment, probes, hooks and
grace periods are those that helm renders. A pod that is made again has another address, as in Kubernetes.
Started by scripts/kubelet.sh, as root and in namespaces of its own.
"""

import os
import pathlib
import sys
import tempfile
import threading
import time

sys.path += [str(pathlib.Path(__file__).parents[1] / name) for name in ("survive", "e2e")]

import load
import manifests
import pods
import settings as setting
from apiserver import ApiServer
from readers import RetryingReader
from timeline import Timeline

RELEASE, NAMESPACE = "cache", "caches"
VALUES = {"memory": 256, "threads": 2, "connectionLimit": 1024, "maxItemSize": "1m", "minReadySeconds": 2}
MORE_NODES = 2
READY_SECONDS_MAX = 120
CALM_SECONDS = 5
LOAD = {"RATE": "1500", "KEYS": "50000", "CALM": "5", "AFTER": "5"}


class Play:
    """The pods there should be and the pods there are."""

    def __init__(self, workload, folder):
        self.workload, self.folder = workload, folder
        self.root, self.secrets = folder / "root", folder / "secrets"
        self.api = None
        self.pods = {}
        self.failures = []
        self.tell = lambda members: None

    def fail(self, why):
        print(f"kubelet: FAILED {why}", flush=True)
        self.failures.append(why)

    def create(self, ordinal):
        pod = pods.Pod(self, ordinal)
        self.pods[ordinal] = pod
        self.publish()
        pod.start()
        return pod

    def publish(self):
        """The headless Service's names hold every pod; the clients' Service those that do not leave."""
        everyone = list(self.pods.values())
        lines = ["127.0.0.1 localhost", *(f"{pod.address} {self.workload.peers_name}" for pod in everyone)]
        for pod in everyone:
            pod.hosts.write_text("\n".join(lines) + "\n")
        self.tell(self.members())

    def members(self):
        client = self.workload.port("client")
        ready = self.workload.probe("readinessProbe")
        return [
            {"name": pod.name, "address": f"{pod.address}:{client}", "ready": f"http://{pod.address}:{ready.port}{ready.path}"}
            for pod in self.pods.values()
            if not pod.is_leaving
        ]

    def until_ready(self, chosen):
        end = time.monotonic() + READY_SECONDS_MAX
        while not all(pod.is_ready for pod in chosen):
            for pod in chosen:
                if pod.process.poll() is not None:
                    raise pods.PodError(f"{pod.name} ended: {pod.log_tail()}")
            if time.monotonic() > end:
                raise pods.PodError(f"not ready after {READY_SECONDS_MAX} s: {[pod.name for pod in chosen if not pod.is_ready]}")
            time.sleep(0.05)
        # What minReadySeconds asks for.
        time.sleep(self.workload.min_ready)

    def delete(self, pod):
        """Out of the Service at once, then its end."""
        pod.is_leaving = True
        self.publish()
        took = pod.stop()
        del self.pods[pod.ordinal]
        self.publish()
        return took

    def scale(self, replicas):
        """Parallel, as the chart asks for: all at once."""
        self.api.replicas = replicas
        added = [self.create(ordinal) for ordinal in range(replicas) if ordinal not in self.pods]
        self.until_ready(added)
        going = [self.pods[ordinal] for ordinal in sorted(self.pods, reverse=True) if ordinal >= replicas]
        took = []
        threads = [threading.Thread(target=lambda pod=pod: took.append(self.delete(pod))) for pod in going]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return took


def first_start(play):
    play.scale(play.workload.replicas)


def rollout(play):
    """The last ordinal first, each when the one before it is ready."""
    took = []
    for ordinal in sorted(play.pods, reverse=True):
        took.append(play.delete(play.pods[ordinal]))
        play.until_ready([play.create(ordinal)])
    return took


def scale_out(play):
    return play.scale(len(play.pods) + MORE_NODES)


def scale_in(play):
    took = play.scale(len(play.pods) - MORE_NODES)
    for one in took:
        if "prestop: drained" not in one["told"]:
            play.fail(f"scale-in without a drain: {one['told']!r}")
    return took


def watched(play, name, event):
    """An event under load: prints what clients saw of it."""
    settings = setting.read(LOAD)
    with load.Load(settings, "service", play.members()) as clients:
        play.tell = clients.tell_nodes
        clients.fill()
        reader = RetryingReader(clients.service, settings)
        away = {}
        clients.begin()
        reader.start()
        time.sleep(CALM_SECONDS)
        begin = time.time()
        leaving_watch = threading.Event()
        watcher = threading.Thread(target=watch_leaving, args=(play, away, leaving_watch))
        watcher.start()
        took = event(play)
        end = time.time()
        time.sleep(CALM_SECONDS)
        leaving_watch.set()
        watcher.join()
        reader.end()
        record = clients.end()
        play.tell = lambda members: None
    facts = {"begin": begin, "end": end, "away": [one for spans in away.values() for one in spans], "notes": {}}
    report(play, name, Timeline(record, facts).figures(), reader, end - begin, took)


def watch_leaving(play, away, done):
    """Which pod was leaving or not there, from when to when."""
    while not done.is_set():
        now = time.time()
        there = {pod.name: pod for pod in list(play.pods.values())}
        for name, pod in there.items():
            if pod.is_leaving:
                spans = away.setdefault(name, [])
                if not spans or spans[-1]["to"] < now - 1:
                    spans.append({"node": name, "from": now, "to": now})
                spans[-1]["to"] = now
        time.sleep(0.02)


def report(play, name, figures, reader, seconds, took):
    lowest = min(rate for rate in figures["hit_rate"].values() if rate is not None)
    on_leaving = {kind: counts[0] for kind, counts in figures["failed"].items()}
    elsewhere = sum(counts[1] for counts in figures["failed"].values())
    hooks = ", ".join(f"{one['hook_s']:.1f} of {one['all_s']:.1f} s" for one in took)
    print(
        f"kubelet: {name}: {seconds:.1f} s; lowest hit rate {100 * lowest:.2f} %; a client that asks again after a closed "
        f"connection: {reader.done} gets, {reader.failed} failed; gomemcache, which does not: failed on pods that left "
        f"{on_leaving['get']} gets, {on_leaving['set']} sets, {on_leaving['batch']} batches, elsewhere {elsewhere}; "
        f"p99 {1000 * figures['p99'][0]:.1f} ms before, {1000 * figures['p99'][1]:.1f} ms meanwhile"
        + (f"; hooks {hooks}" if hooks else ""),
        flush=True,
    )
    if reader.failed:
        play.fail(f"{name}: {reader.failed} reads failed: {dict(reader.reasons)}")
    if elsewhere:
        play.fail(f"{name}: {elsewhere} operations failed on pods that stayed: {figures['reasons'][:5]}")
    if lowest < 0.99:
        play.fail(f"{name}: hit rate {lowest:.4f}")


def main():
    tools = os.environ["MEMRING_TOOLS"]
    top = pathlib.Path(__file__).parents[2]
    objects = manifests.render(manifests.helm_binary(tools), top / "deploy/chart/memring", RELEASE, NAMESPACE, VALUES)
    workload = manifests.Workload(objects, NAMESPACE)
    with tempfile.TemporaryDirectory(prefix="memring-kubelet-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        play = Play(workload, folder)
        pods.run(str(top / "deploy/container/rootfs.sh"), os.environ["MEMRING_BIN"], str(play.root))
        (play.root / "etc/hosts").touch()
        for where in workload.mounts():
            (play.root / where.lstrip("/")).mkdir(parents=True)
        pods.make_network()
        with ApiServer(pods.GATEWAY, play.secrets, workload) as play.api:
            begin = time.monotonic()
            first_start(play)
            passed = [not play.failures]
            started = max(pod.started_s for pod in play.pods.values())
            ready = time.monotonic() - begin
            print(f"kubelet: first start: {len(play.pods)} pods ready after {ready:.1f} s, started {started:.1f} s")
            for story, event in (("rollout", rollout), ("scale-out", scale_out), ("scale-in", scale_in)):
                before = len(play.failures)
                watched(play, story, event)
                passed.append(len(play.failures) == before)
            for pod in list(play.pods.values()):
                os.kill(pod.pid, 9)
            if not play.api.asked:
                play.fail("no hook has asked for the StatefulSet")
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 1 if play.failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (pods.PodError, manifests.ManifestError) as error:
        print(f"kubelet: {error}", file=sys.stderr)
        sys.exit(1)
