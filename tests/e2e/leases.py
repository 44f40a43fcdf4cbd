"""Recache leases over real nodes: of 200 clients that meet a stale, absent or soon ending item, exactly one is told to
fetch it anew, whichever nodes they ask; never two while a node is killed. Marks and expiry are the same on every copy.

Speaks plain sockets: what counts is every byte of the answer lines, and all clients asking at the same moment.
"""

import selectors
import socket
import time

from cluster import HOST
from report import Stopwatch

CLIENTS = 200
KEYS = 20
# Rounds while a node is killed; the kill comes in the middle of this one.
KILL_ROUNDS = 10
KILL_IN = 3
# Keys that were invalidated just before a kill: some of them are ordered by the node that dies.
ORPHANS = 30
ORPHAN_SECONDS = 5
TOO_LARGE_BYTES = 2_000_000
ANSWER_SECONDS_MAX = 10
COPY_SECONDS_MAX = 2


class Answer:
    """One answer: its code, its flags by letter, and its value."""

    def __init__(self, line, value):
        words = line.decode("latin-1").split(" ")
        self.line = line
        self.code = words[0]
        self.flags = {word[0]: word[1:] for word in words[2 if self.code == "VA" else 1 :] if word}
        self.value = value

    def has(self, letters):
        return all(letter in self.flags for letter in letters)

    def __repr__(self):
        return f"{self.line!r} {self.value!r}"


class Client:
    """One connection with one command in flight."""

    def __init__(self, node):
        self.connect(node)

    def connect(self, node):
        self.node = node
        self.socket = socket.create_connection((HOST, node.port), timeout=ANSWER_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def send(self, command):
        self.socket.sendall(command.encode("latin-1") + b"\r\n")

    def receive(self):
        """Reads what there is; the answer once it is whole, else None. ConnectionError at its end."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionResetError("closed")
        self.received += chunk
        return self.take()

    def take(self):
        line, end, rest = self.received.partition(b"\r\n")
        if not end:
            return None
        value = None
        if line.startswith(b"VA "):
            size = int(line.split(b" ")[1])
            if len(rest) < size + 2:
                return None
            value, rest = rest[:size], rest[size + 2 :]
        self.received = rest
        return Answer(line, value)

    def ask(self, command):
        self.send(command)
        while (answer := self.receive()) is None:
            pass
        return answer

    def get(self, key):
        """A classic get: the value or None."""
        self.send(f"get {key}")
        while not self.received.endswith(b"END\r\n"):
            self.received += self.socket.recv(65536)
        lines, self.received = self.received, b""
        return None if lines == b"END\r\n" else lines.split(b"\r\n")[1]

    def close(self):
        self.socket.close()


class Crowd:
    """All clients, dealt round to the nodes."""

    def __init__(self, nodes):
        self.nodes = list(nodes)
        self.clients = [Client(self.nodes[n % len(self.nodes)]) for n in range(CLIENTS)]

    def ask_all(self, command, halfway=lambda: None):
        """All send at once; their answers, None for those that never came. `halfway` happens when half have sent.

        A client whose node dies asks another one; an answer that it had got before counts, too."""
        answers = []
        waiting = set()
        with selectors.DefaultSelector() as selector:
            for number, client in enumerate(self.clients):
                if number == CLIENTS // 2:
                    halfway()
                self.try_to_send(client, command)
                selector.register(client.socket, selectors.EVENT_READ, client)
                waiting.add(client)
            give_up = time.monotonic() + ANSWER_SECONDS_MAX
            while waiting and time.monotonic() < give_up:
                for key, _ in selector.select(0.1):
                    client = key.data
                    try:
                        answer = client.receive()
                    except OSError:
                        selector.unregister(client.socket)
                        self.move(client, command)
                        selector.register(client.socket, selectors.EVENT_READ, client)
                        continue
                    if answer is not None:
                        answers.append(answer)
                        selector.unregister(client.socket)
                        waiting.discard(client)
        return answers + [None] * len(waiting)

    def try_to_send(self, client, command):
        try:
            client.send(command)
        except OSError:
            self.move(client, command)

    def move(self, client, command):
        """To another node, which is asked anew."""
        client.close()
        others = [node for node in self.nodes if node is not client.node]
        for node in others:
            try:
                client.connect(node)
                client.send(command)
                return
            except OSError:
                continue
        raise ConnectionError("no node takes connections")


def expect(violations, what, answer, code):
    if answer.code != code:
        violations.append(f"{what}: {answer}, not {code}")
    return answer


def judge(violations, key, answers, marks, value):
    """One W, the others Z; all with these marks beside, and this value. Returns the winner's answer."""
    winners = [answer for answer in answers if answer and answer.has("W")]
    losers = [answer for answer in answers if answer and answer.has("Z")]
    if (len(winners), len(losers)) != (1, CLIENTS - 1):
        violations.append(f"{key}: {len(winners)} W, {len(losers)} Z of {CLIENTS}")
    wrong = [answer for answer in answers if not answer or answer.value != value or not answer.has(marks)]
    violations += [f"{key}: {answer}" for answer in wrong[:3]]
    return winners[0] if winners else None


def win_once(crowd, report, talkers):
    """Each way to a lease, over and over; the winner stores, and nobody sees marks from then on."""
    ways = {
        "stale": (["set {key} 0 0 3\r\nold", "md {key} I"], "mg {key} v c", "X", b"old"),
        "absent": ([], "mg {key} v c N60", "", b""),
        "ending": (["set {key} 0 100 3\r\nold"], "mg {key} v c R200", "", b"old"),
    }
    asked = 0
    for way, (before, question, marks, value) in ways.items():
        violations, unstored = [], []
        for number in range(KEYS):
            key = f"{way}-{number}"
            for command in before:
                talkers[number % 3].ask(command.format(key=key))
            winner = judge(violations, key, crowd.ask_all(question.format(key=key)), marks, value)
            asked += CLIENTS
            if winner is None:
                continue
            token = winner.flags["c"]
            expect(unstored, key, talkers[number % 3].ask(f"ms {key} 3 C{token}\r\nnew"), "HD")
            for talker in talkers:
                answer = expect(unstored, key, talker.ask(f"mg {key} v"), "VA")
                if answer.value != b"new" or answer.flags:
                    unstored.append(f"{key} through {talker.node.name}: {answer}")
        report.check(f"{way}: of {CLIENTS} clients over 3 nodes one wins, the others lose ({KEYS} keys)", violations)
        report.check(f"{way}: what the winner stores is what every node serves, without X or Z", unstored)
    return asked


def remove_by_size(report, talkers):
    """A set over the limit removes the old value on every copy."""
    violations = []
    for number in range(KEYS):
        key = f"large-{number}"
        expect(violations, key, talkers[number % 3].ask(f"set {key} 0 0 3\r\nold"), "STORED")
        command = f"set {key} 0 0 {TOO_LARGE_BYTES}\r\n{'v' * TOO_LARGE_BYTES}"
        answer = talkers[(number + 1) % 3].ask(command)
        if answer.line != b"SERVER_ERROR object too large for cache":
            violations.append(f"{key}: {answer}")
        for talker in talkers:
            if talker.get(key) is not None:
                violations.append(f"{key}: still got through {talker.node.name}")
            # A copy beyond the majority may come a moment later.
            give_up = time.monotonic() + COPY_SECONDS_MAX
            while (answer := talker.ask(f"mg {key} v Lone")).code != "EN" and time.monotonic() < give_up:
                time.sleep(0.01)
            expect(violations, f"{key} on {talker.node.name} alone", answer, "EN")
    report.check(f"a set over the limit removes the old value on every copy ({KEYS} keys)", violations)


def times_agree(report, talkers):
    """TTLs are moments, the same on every copy, whichever node was told."""
    violations = []
    steps = [("set {key} 0 100 1\r\nv", 100), ("touch {key} 200", 200), ("mg {key} T300", 300)]
    for number in range(KEYS):
        key = f"ttl-{number}"
        for at, (command, ttl) in enumerate(steps):
            talkers[at].ask(command.format(key=key))
            for talker in talkers:
                left = int(talker.ask(f"mg {key} t").flags["t"])
                debug = dict(word.split("=") for word in talker.ask(f"me {key}").line.decode().split(" ")[2:])
                if not (ttl - 1 <= left <= ttl and ttl - 1 <= int(debug["exp"]) <= ttl):
                    violations.append(f"{key} through {talker.node.name}: t{left}, exp={debug['exp']}, not {ttl}")
    report.check(f"every node tells the same time left after set, touch and mg T elsewhere ({KEYS} keys)", violations)


def kill_amid(cluster, crowd, report, talkers, victim):
    """Rounds of all clients on one stale key each; in the middle of one a node is killed."""
    rounds = [f"round-{victim.name}-{number}" for number in range(KILL_ROUNDS)]
    orphans = [f"orphan-{victim.name}-{number}" for number in range(ORPHANS)]
    prepared = []
    for key in rounds:
        expect(prepared, key, talkers[0].ask(f"set {key} 0 0 3\r\nold"), "STORED")
        expect(prepared, key, talkers[1].ask(f"md {key} I"), "HD")
    for key in orphans:
        expect(prepared, key, talkers[0].ask(f"set {key} 0 0 3\r\nold"), "STORED")
        expect(prepared, key, talkers[1].ask(f"md {key} I T{ORPHAN_SECONDS}"), "HD")
    invalidated = time.monotonic()
    report.check(f"items are stored and invalidated before {victim.name} is killed", prepared)
    survivors = [talker for talker in talkers if talker.node is not victim]
    twice, odd, misses = [], [], 0
    for number, key in enumerate(rounds):
        is_kill = number == KILL_IN
        answers = crowd.ask_all(f"mg {key} v c", (lambda: cluster.kill(victim)) if is_kill else (lambda: None))
        if is_kill:
            orphans_seen = [(key, [talker.ask(f"mg {key} v t") for talker in survivors]) for key in orphans]
            seen_after = time.monotonic() - invalidated
        winners = sum(1 for answer in answers if answer and answer.has("W"))
        if winners > 1:
            twice.append(f"{key}: {winners} W")
        misses += sum(1 for answer in answers if answer and answer.code == "EN")
        odd += [f"{key}: {answer}" for answer in answers if not is_lease_or_miss(answer)][:3]
    report.check(f"{victim.name} killed amid {KILL_ROUNDS} rounds: never two W", twice)
    report.check(f"{victim.name} killed amid {KILL_ROUNDS} rounds: every client gets W, Z or EN", odd)
    check_orphans(report, orphans_seen, seen_after, survivors, invalidated)
    return misses


def is_lease_or_miss(answer):
    if answer is None:
        return False
    leased = answer.value == b"old" and answer.has("X") and (answer.has("W") or answer.has("Z"))
    return leased or answer.code == "EN"


def check_orphans(report, seen, seen_after, survivors, invalidated):
    wrong = []
    for key, (first, second) in seen:
        for answer, marks in ((first, "WX"), (second, "ZX")):
            if answer.code != "VA" or not answer.has(marks) or not 0 <= int(answer.flags["t"]) <= ORPHAN_SECONDS:
                wrong.append(f"{key}: {answer}, not {marks}")
    in_time = seen_after < ORPHAN_SECONDS - 1
    what = f"{ORPHANS} items invalidated with T{ORPHAN_SECONDS} before the kill are stale on the copies left"
    report.check(what, wrong if in_time else [f"asked only after {seen_after:.1f} s"])
    time.sleep(max(0.0, invalidated + ORPHAN_SECONDS + 1 - time.monotonic()))
    left = [
        f"{key} through {talker.node.name}"
        for key, _ in seen
        for talker in survivors
        if talker.ask(f"mg {key} v u").code != "EN"
    ]
    report.check(f"and end after {ORPHAN_SECONDS} s on each of them", left)


def run(cluster, report):
    crowd, talkers = Crowd(cluster.nodes), [Client(node) for node in cluster.nodes]
    watch = Stopwatch()
    asked = win_once(crowd, report, talkers)
    calm = watch.rate(asked)
    remove_by_size(report, talkers)
    times_agree(report, talkers)
    figures = []
    for victim in (cluster.nodes[2], cluster.nodes[0]):
        misses = kill_amid(cluster, crowd, report, talkers, victim)
        figures.append(f"{victim.name} killed: {misses} EN, back after {cluster.restart(victim):.1f} s")
        for client in talkers + crowd.clients:
            client.close()
        crowd, talkers = Crowd(cluster.nodes), [Client(node) for node in cluster.nodes]
    for client in talkers + crowd.clients:
        client.close()
    report.figure(
        f"{CLIENTS} clients: {calm} asked for leases, one W each; {KILL_ROUNDS * CLIENTS} more around each kill: "
        + "; ".join(figures)
    )
