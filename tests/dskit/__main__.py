"""grafana/dskit's cache client while a node is killed: `python tests/dskit`.

Through one service address and with a list of addresses, memring with three copies and three memcacheds: failed and short
batches of each are printed. Fails if memring behind one address fails a batch after the first 100 ms (a connection that has
died in the client's pool does it now and then: it is found out when it is used), or gives a lock twice. Started by scripts/dskit.sh, which sets MEMRING_BIN, MEMRING_DSKIT_LOAD and MEMRING_SURVIVE_LOAD.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

sys.path += [str(pathlib.Path(__file__).parents[1] / name) for name in ("survive", "e2e")]

import load
import servers
import settings as setting
from cluster import ClusterError, die_with_parent

SECONDS = 12.0
KILLED_AFTER = 4.0
UNDER_WAY_SECONDS = 0.1
MEMORY = 256


class Client:
    """dskit's client, in a process of its own."""

    def __init__(self, addresses):
        command = [os.environ["MEMRING_DSKIT_LOAD"], ",".join(addresses), str(SECONDS)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
        )
        if self.process.stdout.readline() != "filled\n":
            raise ClusterError("the client did not fill the cache")

    def begin(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def told(self):
        told = json.loads(self.process.stdout.readline())
        self.process.wait()
        return told


def story(word, setup):
    """One node killed in the middle; what the client told, and when the node was killed by the client's clock."""
    settings = setting.read({"KEYS": "1000"})
    with (
        servers.make(word, os.environ["MEMRING_BIN"], MEMORY) as server,
        load.Load(settings, setup, server.members()) as balancer,
    ):
        addresses = [balancer.service] if setup == "service" else [node.address for node in server.nodes]
        client = Client(addresses)
        client.begin()
        time.sleep(KILLED_AFTER)
        killed = time.time()
        server.nodes[1].kill()
        told = client.told()
        return server.label, told, killed - told["begin"]


def judge(label, setup, told, killed):
    """Prints one line, and gives back what memring may not do."""
    kinds = told["kinds"]
    batches, locks = kinds["get-multi"], kinds["lock"]
    # dskit tells nothing of a failed batch but that it found nothing.
    failed = [one for one in batches["short"] if not one["found"] and one["at"] >= killed - 1]
    late = [one for one in failed if one["at"] > killed + UNDER_WAY_SECONDS]
    short = [one for one in batches["short"] if one["found"] and one["at"] >= killed - 1]
    before = [one for one in batches["short"] if one["at"] < killed - 1]
    twice = [one for one in locks["failed"] if "twice" in one["why"]]
    print(
        f"dskit: {label}, {setup}: of {batches['done']} batches {len(failed)} failed, {len(late)} of them later than 100 ms after "
        f"the kill, {len(short)} found less than all ({len(before)} before the kill); of {locks['done']} locks {len(locks['failed'])} "
        f"failed, {len(twice)} given twice; {kinds['set']['done']} sets; dskit counted {told['metrics'] or 'no failure'}",
        flush=True,
    )
    wrong = []
    if label.startswith("memring"):
        if twice:
            wrong.append(f"{label}, {setup}: {len(twice)} locks given twice")
        if setup == "service" and late:
            wrong.append(f"{label}, {setup}: {len(late)} batches failed later than 100 ms after the kill")
        if before:
            wrong.append(f"{label}, {setup}: {len(before)} batches found less than all in calm")
    return wrong


def main():
    wrong, told = [], 0
    for setup in setting.SETUPS:
        for word in ("3", "memcached"):
            label, client, killed = story(word, setup)
            wrong += judge(label, setup, client, killed)
            told += 1
    for one in wrong:
        print(f"dskit: FAILED {one}")
    print(f"{told - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        print(f"dskit: {error}", file=sys.stderr)
        sys.exit(1)
