"""Part `random`: the same random commands to memcached, one node and three; every answer is compared.

COMMANDS is how many (200,000), SEED the first seed (from the clock, printed); SEED=n COMMANDS=1 replays one sequence.
"""

import concurrent.futures
import itertools
import multiprocessing
import os
import random
import re
import select
import socket
import time

from answers import Masked
from cluster import HOST, Yardstick, die_with_parent
from report import Stopwatch
from sequences import CAS, CLOSE, EXCESS_MAX, HOP, LEARN, NOW, Generator

PROCESSES = 4
SILENCE_SECONDS = 3
DIFFERENCES_SHOWN_MAX = 8
DIFFERENCES_MAX = 40
SHRINK_SECONDS = 20
END_VALUE = b"answered so far"
# Ends whatever data a wrong length still waits for.
PAD = b"\r\n" * (EXCESS_MAX // 2 + 2)


class Target:
    def __init__(self, label, ports):
        self.label, self.ports = label, ports


class Connections:
    """To one target: a connection to each of its ports, opened when needed."""

    def __init__(self, target):
        self.target = target
        self._sockets = [None] * len(target.ports)

    def at(self, number):
        number %= len(self._sockets)
        if self._sockets[number] is None:
            connection = socket.create_connection((HOST, self.target.ports[number]), timeout=SILENCE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            self._sockets[number] = connection
        return self._sockets[number]

    def drop(self):
        for connection in filter(None, self._sockets):
            connection.close()
        self._sockets = [None] * len(self._sockets)


class Exchange:
    """One target's side of a segment: pieces out, bytes in, until the end mark or the end of the connection."""

    def __init__(self, connection, pieces, end):
        self.connection, self.pieces, self.end = connection, pieces, end
        self.found, self.over = bytearray(), ""

    @property
    def events(self):
        return select.POLLIN | (select.POLLOUT if self.pieces else 0)

    def on(self, events):
        try:
            if events & select.POLLOUT and self.pieces:
                sent = self.connection.send(self.pieces[0])
                self.pieces[0] = self.pieces[0][sent:]
                if not self.pieces[0]:
                    self.pieces.pop(0)
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR):
                piece = self.connection.recv(1 << 20)
                self.found += piece
                if not piece:
                    self.over = "closed"
        except BlockingIOError:
            pass
        except OSError:
            self.over = "closed"
        if not self.over and self.found.endswith(self.end):
            del self.found[-len(self.end) :]
            self.over = "answered"


def converse(exchanges):
    poll, by_file = select.poll(), {exchange.connection.fileno(): exchange for exchange in exchanges}
    for file, exchange in by_file.items():
        poll.register(file, exchange.events)
    give_up = time.monotonic() + SILENCE_SECONDS
    while by_file:
        for file, events in poll.poll(1000):
            exchange = by_file[file]
            exchange.on(events)
            if exchange.over:
                poll.unregister(file)
                del by_file[file]
            else:
                poll.modify(file, exchange.events)
        if time.monotonic() > give_up:
            for exchange in by_file.values():
                exchange.over = "silent"
            return


def cut(data, rng):
    """The bytes in random pieces: mostly a few, now and then very many."""
    times = rng.choice([0, 1, 2, 5, 5, 20, 60])
    places = sorted({0, len(data), *(rng.randrange(len(data) + 1) for _ in range(times))})
    return [data[begin:end] for begin, end in zip(places, places[1:])]


class Told:
    """One sequence, told to all targets at once. `answers` are each target's, a segment at a time."""

    def __init__(self, all_connections, number, prefix):
        self.all_connections = all_connections
        self.answers = [[] for _ in all_connections]
        self.tokens = [{} for _ in all_connections]
        self.prefix = prefix
        self.now = int(time.time())
        self.rng = random.Random(number)
        self.hops = number
        self.over = False

    def tell(self, commands):
        segment = [[b"set %s-end 0 0 %d\r\n%s\r\n" % (self.prefix, len(END_VALUE), END_VALUE)]]
        for command in commands:
            word = command[0][0] if isinstance(command[0], tuple) else None
            if word not in (LEARN, HOP, CLOSE):
                segment.append(command)
                continue
            if word == CLOSE:
                return self.close(segment, command[0][1])
            self.send(segment)
            segment = []
            if word == HOP:
                self.hops += 1
            elif not self.over:
                self.learn(command[0][1], command[0][2])
            if self.over:
                return self
        self.send(segment)
        return self

    def close(self, segment, last):
        """Nothing is sent behind what closes: unread bytes would make the system drop answers that are on their way."""
        self.send(segment, last)
        return self

    def send(self, segment, last=None):
        last = last or b"get %s-end\r\n" % self.prefix
        ends = b"VALUE %s-end 0 %d\r\n%s\r\nEND\r\n" % (self.prefix, len(END_VALUE), END_VALUE)
        exchanges = []
        for connections, tokens in zip(self.all_connections, self.tokens):
            data = b"".join(self.render(part, tokens) for command in segment for part in command)
            pieces = cut(data + PAD + last, self.rng)
            exchanges.append(Exchange(connections.at(self.hops), pieces, ends))
        converse(exchanges)
        for connections, answers, exchange in zip(self.all_connections, self.answers, exchanges):
            answers.append(bytes(exchange.found))
            if exchange.over != "answered":
                answers.append(b"(%s)" % exchange.over.encode())
                connections.drop()
                self.over = True

    def learn(self, variable, key):
        self.send([[b"gets %s\r\n" % key]])
        for answers, tokens in zip(self.answers, self.tokens):
            words = answers[-1].split(b"\r\n", 1)[0].split()
            tokens[variable] = int(words[4]) if len(words) == 5 else 0

    def render(self, part, tokens):
        if isinstance(part, bytes):
            return part
        if part[0] == NOW:
            return b"%d" % (self.now + part[1])
        assert part[0] == CAS
        # As long as the longest: a data block that swallows what follows ends at the same byte on every server.
        return b"%020d" % tokens.get(part[1], 0)

    def masked(self, side, copies):
        masked = Masked(copies)
        for answer in self.answers[side]:
            masked.add(answer)
        return masked


class Duel:
    """The targets, and a name for every story told to them: keys are never used twice."""

    def __init__(self, share, targets):
        self.share, self.targets = share, targets
        self.connections = [Connections(target) for target in targets]
        self.stories = 0

    def tell(self, number, kept=None, against=None):
        """(commands, what was told, those of the targets that differ from the first). `kept`: only these commands."""
        self.stories += 1
        prefix = b"r%d-%06d" % (self.share, self.stories)
        commands = Generator(number, prefix).sequence()
        chosen = commands if kept is None else [commands[at] for at in kept]
        connections = self.connections if against is None else [self.connections[0], self.connections[against]]
        told = Told(connections, number, prefix).tell(chosen)
        sides = range(1, len(self.targets)) if against is None else [against]
        differ = []
        for place, side in enumerate(sides, start=1):
            copies = len(self.targets[side].ports)
            if not told.masked(0, copies).same_as(told.masked(place, copies)):
                differ.append((side, first_difference(told.masked(0, copies), told.masked(place, copies))))
        return chosen, told, differ

    def shrink(self, number, side):
        """The fewest commands that still differ, found by leaving out ever smaller parts."""
        kept = list(range(len(Generator(number, b"x").sequence())))
        give_up, size = time.monotonic() + SHRINK_SECONDS, len(kept) // 2
        while size and time.monotonic() < give_up:
            begin = 0
            while begin < len(kept):
                fewer = kept[:begin] + kept[begin + size :]
                if fewer and self.tell(number, fewer, side)[2]:
                    kept = fewer
                else:
                    begin += size
            size //= 2
        return kept

    def describe(self, number, side, first_seen):
        kept = self.shrink(number, side)
        commands, told, differ = self.tell(number, kept, side)
        copies = len(self.targets[side].ports)
        again = "" if differ else f", not again when shrunk; it was {first_seen}"
        lines = [f"SEED={number} COMMANDS=1, {self.targets[side].label}: {len(kept)} commands{again}"]
        lines += [f"    {shown(command)}" for command in commands]
        for place, target in ((0, self.targets[0]), (1, self.targets[side])):
            masked = told.masked(place, copies)
            replies = brief(" ".join(repr(reply)[2:-1] for reply in masked.replies[1 : -PAD.count(b"\n")]))
            lines.append(f"  {target.label}: {replies} {masked.seconds or ''}")
        return "\n".join(lines).replace(told.prefix.decode(), "K")


def first_difference(one, other):
    pairs = [*itertools.zip_longest(one.replies, other.replies), *itertools.zip_longest(one.seconds, other.seconds)]
    at = next((at for at, (mine, others) in enumerate(pairs) if mine != others), 0)
    return brief(f"after {one.replies[max(at - 4, 0) : at]} {one.replies[at : at + 3]} and {other.replies[at : at + 3]}")


def brief(text):
    """What repeats itself told by its number."""
    pattern = r"(CLIENT_ERROR bad command line format\\r\\n )\1{3,}|(\\r\\n|.)\2{20,}"
    return re.sub(pattern, lambda run: f"{run[1] or run[2]}…{len(run[0]) // len(run[1] or run[2])} ", text)


def shown(command):
    texts = {NOW: "${{now+{0}}}", CAS: "${{cas {0}}}", LEARN: "learn {0} of {1}", CLOSE: "{0}", HOP: "through another node"}
    parts = [part if isinstance(part, bytes) else texts[part[0]].format(*part[1:]).encode() for part in command]
    return brief(repr(b"".join(parts))[2:-1])


def count_tokens_up(target):
    """memcached's first tokens are 1, 2, 3 …: past the small ones that sequences use themselves."""
    with socket.create_connection((HOST, target.ports[0]), timeout=SILENCE_SECONDS) as connection:
        connection.sendall(b"set tokens 0 0 1 noreply\r\nx\r\n" * 1000 + b"get tokens\r\n")
        found = b""
        while not found.endswith(b"END\r\n"):
            found += connection.recv(4096) or b"END\r\n"


def share_of(share, targets, first_seed, commands_wanted):
    """In a process of its own: (commands told, numbers of differing sequences by target, descriptions)."""
    die_with_parent()
    duel, told, differing, described = Duel(share, targets), 0, [], []
    number = first_seed + share
    while told < commands_wanted and len(differing) < DIFFERENCES_MAX:
        commands, _, differ = duel.tell(number)
        told += len(commands)
        differing += [(number, *difference) for difference in differ]
        number += PROCESSES
    for difference in differing[:DIFFERENCES_SHOWN_MAX]:
        described.append(duel.describe(*difference))
    return told, len(differing), described


def run(cluster, report):
    wanted = int(os.environ.get("COMMANDS", "200000"))
    seed = int(os.environ.get("SEED", str(int(time.time()))))
    processes = PROCESSES if wanted >= 1000 else 1
    with Yardstick() as yardstick, cluster.alike(nodes=1) as one:
        if yardstick.flavour == "old":
            report.figure(f"not run: memcached {yardstick.version} is too old; 1.6.45 is what answers are compared with")
            return
        targets = [
            Target(f"memcached {yardstick.version}", [node.port for node in yardstick.nodes]),
            Target("one node", [node.port for node in one.nodes][:1]),
            Target("three nodes", [node.port for node in cluster.nodes]),
        ]
        for target in targets:
            count_tokens_up(target)
        watch = Stopwatch()
        with concurrent.futures.ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
            shares = [pool.submit(share_of, share, targets, seed, -(-wanted // processes)) for share in range(processes)]
            results = [share.result() for share in shares]
    told, differing = sum(result[0] for result in results), sum(result[1] for result in results)
    report.figure(f"SEED={seed}: {watch.rate(told)} commands, each to {len(targets)} targets; {differing} sequences differ")
    descriptions = [description for result in results for description in result[2]]
    unseen = [f"and {differing - len(descriptions)} more"] if differing > len(descriptions) else []
    report.check(f"{told} random commands get the same answers from all", descriptions + unseen)
