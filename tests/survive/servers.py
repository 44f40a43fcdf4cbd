"""The servers measured: rings of memring with so many copies, and memcached as it is used today. One face for both.

A server starts, stops, stops for a while, takes nodes in and lets them go; what that does to its clients is not known
here. Processes come from tests/e2e/cluster.py.
"""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from cluster import HOST, Cluster, ClusterError, Node, free_base_port, yardstick_binary

NODES = 3
# Nodes there are at most, while scaled out.
NODES_MAX = 5
START_SECONDS_MAX = 90
STOP_SECONDS_MAX = 90
DRAIN_SECONDS_MAX = 60
POLL_SECONDS = 0.05


def make(word, binary, memory):
    """The server that a word of SERVERS stands for."""
    return Memcached(memory) if word == "memcached" else Memring(binary, int(word), memory)


class Nodes:
    """What both have: a context that stops whatever it has started."""

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, _value, _trace):
        if kind is not None and issubclass(kind, Exception):
            self.show_logs()
        self.stop()

    def stop(self):
        for node in self.nodes:
            if node.is_running():
                node.process.kill()
                node.process.wait()

    def members(self):
        """The nodes as the load generator is told of them."""
        return [{"name": node.name, "address": node.address, "ready": self.ready_address(node)} for node in self.nodes]

    def pause(self, node):
        node.process.send_signal(signal.SIGSTOP)

    def go_on(self, node):
        node.process.send_signal(signal.SIGCONT)

    def terminate(self, node):
        """SIGTERM; returns the seconds until it was gone."""
        begin = time.monotonic()
        node.process.terminate()
        try:
            node.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{node.name} still runs {STOP_SECONDS_MAX} s after SIGTERM") from error
        return time.monotonic() - begin

    def wait_started(self, node):
        """Until the next one of a rolling restart may go. Returns the seconds it took; None when it never came."""
        begin = time.monotonic()
        while time.monotonic() < begin + START_SECONDS_MAX:
            if not node.is_running():
                raise ClusterError(f"{node.name} ended")
            if self.has_started(node):
                return time.monotonic() - begin
            time.sleep(POLL_SECONDS)
        return None


class Memring(Nodes, Cluster):
    """Three nodes of a ring with so many copies of everything."""

    hands_over = True

    def __init__(self, binary, replicas, memory):
        self.label = f"memring N={replicas}"
        more = ("--replicas", str(replicas))
        super().__init__(binary, f"{memory}m", more=more, base=free_base_port(NODES_MAX))

    def ready_address(self, node):
        return f"http://{HOST}:{node.admin_port}/readyz"

    def has_started(self, node):
        return node.admin("/startupz")[0] == 200

    def add(self, name):
        """Starts one more that joins the others."""
        first = self.nodes[0]
        node = self.node_at(name, first.port + 10 * (int(name[1:]) - 1), f"{HOST}:{first.peer_port}")
        self.nodes.append(node)
        node.start()
        return node

    def drain(self, node):
        """Asks it to hand its share over; returns the seconds until it is in no ring any more, None if it stays in one."""
        begin = time.monotonic()
        node.admin("/api/drain", b"")
        others = [other for other in self.nodes if other is not node]
        while time.monotonic() < begin + DRAIN_SECONDS_MAX:
            status, body = others[0].admin("/api/cluster")
            if status == 200 and node.name not in {member["name"] for member in json.loads(body)["members"]}:
                return time.monotonic() - begin
            time.sleep(POLL_SECONDS)
        return None


class Memcached(Nodes):
    """Three that know nothing of each other."""

    label = "memcached"
    hands_over = False

    def __init__(self, memory):
        self.logs = tempfile.mkdtemp(prefix="memring-survive-")
        self.memory = memory
        self.base = free_base_port(NODES_MAX)
        self.nodes = [self._node(f"n{number}") for number in range(1, NODES + 1)]

    def _node(self, name):
        port = self.base + 10 * (int(name[1:]) - 1)
        command = [
            yardstick_binary(), "-B", "ascii", "-u", "root", "-l", HOST, "-p", str(port), "-U", "0", "-m",
            str(self.memory), "-c", "16384", "-t", "2",
        ]  # fmt: skip
        return Node(name, port, command, os.path.join(self.logs, f"{name}.log"))

    def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            self.wait_started(node)

    def show_logs(self):
        """It writes nothing that would help."""

    def ready_address(self, _node):
        return ""

    def has_started(self, node):
        try:
            socket.create_connection((HOST, node.port), timeout=1).close()
        except OSError:
            return False
        return True

    def add(self, name):
        node = self._node(name)
        self.nodes.append(node)
        node.start()
        return node
