"""What one memcached promises, told through any two nodes and any two clients: what one writes the other sees at once."""

import subprocess
import threading
import time

import clients
from clients import Unsupported

INCRS_EACH = 500
ROUNDS = 50
RACERS = 8
GO_WRITERS = 4


class Story:
    """Expectations of one writer and one reader; wrong answers are collected under their names."""

    def __init__(self, writer, reader, label, prefix):
        self.writer, self.reader = writer, reader
        self.label, self.prefix = label, prefix
        self.violations = []
        self.asked = 0

    def key(self, name):
        return f"{self.prefix}-{name}"

    def expect(self, what, act, wanted):
        try:
            found = act()
        except Unsupported:
            return False
        except Exception as error:
            self.violations.append(f"{self.label}: {what}: {error!r}, not {wanted!r}")
            return True
        self.asked += 1
        if found != wanted:
            self.violations.append(f"{self.label}: {what}: {found!r}, not {wanted!r}")
        return True

    def seen(self, what, key, wanted):
        self.expect(f"{what}, read back", lambda: self.reader.get(key), wanted)

    def tell(self):
        self.storage()
        self.counter()
        self.token()
        self.deletion()

    def storage(self):
        w, key = self.writer, self.key("item")
        self.expect("get of nothing", lambda: w.get(key), None)
        self.expect("replace of nothing", lambda: w.replace(key, b"r"), False)
        self.expect("append to nothing", lambda: w.append(key, b"r"), False)
        self.expect("add", lambda: w.add(key, b"one"), True)
        self.seen("add", key, b"one")
        self.expect("add to something", lambda: w.add(key, b"two"), False)
        self.seen("refused add", key, b"one")
        self.expect("replace", lambda: w.replace(key, b"three"), True)
        self.seen("replace", key, b"three")
        if self.expect("append", lambda: w.append(key, b"-four"), True):
            self.seen("append", key, b"three-four")
        if self.expect("prepend", lambda: w.prepend(key, b"two-"), True):
            self.seen("prepend", key, b"two-three-four")
        self.expect("set", lambda: w.set(key, b"\x00\r\n\xff"), True)
        self.seen("set", key, b"\x00\r\n\xff")
        self.expect("set to nothing", lambda: w.set(key, b""), True)
        self.seen("set to nothing", key, b"")

    def counter(self):
        w, r, key = self.writer, self.reader, self.key("counter")
        self.expect("incr of nothing", lambda: w.incr(key, 1), None)
        self.expect("decr of nothing", lambda: w.decr(key, 1), None)
        self.expect("set of a number", lambda: w.set(key, b"10"), True)
        self.expect("incr", lambda: w.incr(key, 5), 15)
        self.expect("incr at the other node", lambda: r.incr(key, 1), 16)
        self.expect("decr", lambda: w.decr(key, 6), 10)
        self.expect("decr below zero", lambda: w.decr(key, 50), 0)
        self.expect("incr from zero", lambda: r.incr(key, 7), 7)
        self.expect("value of a counter", lambda: r.get(key).strip(), b"7")

    def token(self):
        w, r, key = self.writer, self.reader, self.key("token")
        self.expect("gets of nothing", lambda: w.gets(key), None)
        self.expect("set before cas", lambda: w.set(key, b"0"), True)
        tokens = (w.gets(key)[1], r.gets(key)[1])
        self.expect("cas", lambda: w.cas(key, b"1", tokens[0]), True)
        self.seen("cas", key, b"1")
        self.expect("cas with an old token", lambda: r.cas(key, b"2", tokens[1]), False)
        token = r.gets(key)[1]
        self.expect("cas at the other node", lambda: r.cas(key, b"2", token), True)
        self.expect("read after cas at the other node", lambda: w.get(key), b"2")
        token = w.gets(key)[1]
        self.expect("delete before cas", lambda: r.delete(key), True)
        self.expect("cas of nothing", lambda: w.cas(key, b"3", token), None)
        self.seen("cas of nothing", key, None)

    def deletion(self):
        w, r, key = self.writer, self.reader, self.key("gone")
        self.expect("delete of nothing", lambda: w.delete(key), False)
        self.expect("set before delete", lambda: w.set(key, b"x"), True)
        self.expect("delete", lambda: r.delete(key), True)
        self.expect("get after delete", lambda: w.get(key), None)
        self.expect("add after delete", lambda: w.add(key, b"y"), True)
        self.seen("add after delete", key, b"y")
        self.expect("expired at once", lambda: w.set(key, b"z", -1), True)
        self.seen("expired at once", key, None)
        self.expect("touch of nothing", lambda: w.touch(key, 10), False)

    def flush(self):
        w, key, after = self.writer, self.key("flushed"), self.key("after")
        self.expect("set before flush_all", lambda: w.set(key, b"x"), True)
        self.expect("flush_all", lambda: w.flush_all(), True)
        self.seen("flush_all", key, None)
        self.expect("set after flush_all", lambda: w.set(after, b"y"), True)
        self.seen("set after flush_all", after, b"y")


def everyone(cluster):
    """{(label, node number): client}: each of the three clients on each of the three nodes."""
    return {(make.label, at): make(node) for make in clients.ALL for at, node in enumerate(cluster.nodes)}


def pairs(players):
    """Every writer with a reader at each other node, the clients taken in turn; and each client with itself."""
    for writer in players:
        for reader in players:
            if writer[1] != reader[1] or writer == reader:
                yield writer, reader


def stories(players, report):
    told = []
    for number, (writer, reader) in enumerate(pairs(players)):
        label = f"{writer[0]} at n{writer[1] + 1}, {reader[0]} at n{reader[1] + 1}"
        story = Story(players[writer], players[reader], label, f"s{number}")
        story.tell()
        told.append(story)
    violations = [violation for story in told for violation in story.violations]
    asked = sum(story.asked for story in told)
    report.check(f"storage, counters, cas and delete: {len(told)} pairs of client and node, {asked} answers", violations)
    return told


def flushes(players, told, report):
    for story in told:
        story.violations.clear()
        story.flush()
    violations = [violation for story in told for violation in story.violations]
    report.check(f"flush_all through one node empties all, {len(told)} pairs", violations)
    first, keys = players["pymemcache", 0], [f"flood-{n}" for n in range(1000)]
    for key in keys:
        first.set(key, b"x")
    players["gomemcache", 1].flush_all()
    left = [f"{place}: {key}" for place, player in players.items() for key in player.get_many(keys)]
    report.check("1,000 keys are gone for every client at every node after one flush_all", left)


def expiry(players, report):
    """Within one second of the deadline; touch moves it."""
    violations = []
    for (label, at), player in players.items():
        for name, expire in (("short", 2), ("kept", 2), ("cut", 100)):
            if player.set(f"ttl-{label}-{at}-{name}", b"x", expire) is not True:
                violations.append(f"{label} at n{at + 1}: set {name}")
    for (label, at), player in players.items():
        for name, expire in (("kept", 100), ("cut", 2)):
            if player.touch(f"ttl-{label}-{at}-{name}", expire) is not True:
                violations.append(f"{label} at n{at + 1}: touch {name} is refused")
    time.sleep(3.2)
    for label, at in players:
        for reader in (players["pylibmc", (at + 1) % 3], players["gomemcache", (at + 2) % 3]):
            for name, wanted in (("short", None), ("kept", b"x"), ("cut", None)):
                if (found := reader.get(f"ttl-{label}-{at}-{name}")) != wanted:
                    violations.append(f"{name} of {label} at n{at + 1}: {reader.label} finds {found!r}")
    report.check("values expire within a second of their time, and touch moves it", violations)


def sum_of_increments(cluster, report):
    """8 writers on 3 nodes: 4 goroutines, 2 pymemcache, 2 pylibmc."""
    key, answers, failures = "sum", [], []
    setter = clients.PyMemcache(cluster.nodes[0])
    setter.set(key, b"0")
    addresses = ",".join(node.address for node in cluster.nodes)
    command = [clients.GoMemcache.program, "incr", addresses, key, str(GO_WRITERS), str(INCRS_EACH)]
    go = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def write(number, make):
        client = make(cluster.nodes[number % 3])
        try:
            answers.extend([client.incr(key, 1) for _ in range(INCRS_EACH)])
        except Exception as error:
            failures.append(f"{make.label} at n{number % 3 + 1}: {error!r}")
        client.close()

    makers = [clients.PyMemcache, clients.PyLibMc] * ((RACERS - GO_WRITERS) // 2)
    threads = [threading.Thread(target=write, args=pair) for pair in enumerate(makers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out, err = go.communicate(timeout=120)
    failures += err.splitlines()
    answers += [int(line) for line in out.split()]
    total = RACERS * INCRS_EACH
    report.check(f"{RACERS} writers incr one key {INCRS_EACH} times each and none fails", failures)
    if sorted(answers) != list(range(1, total + 1)):
        failures.append(f"{len(answers)} answers, {len(set(answers))} distinct, largest {max(answers, default=0)}")
    report.check(f"every number from 1 to {total} is answered exactly once", failures)
    for node in cluster.nodes:
        reader = clients.PyLibMc(node)
        report.check(f"the sum read through {node.name} is {total}", int(reader.get(key)) == total)
        reader.close()
    setter.close()


def race(racers, round_number, act):
    """Lets all act at the same moment; returns their answers."""
    barrier, answers = threading.Barrier(len(racers)), [None] * len(racers)

    def start(at):
        try:
            barrier.wait(30)
            answers[at] = act(racers[at], at, round_number)
        except Exception as error:
            answers[at] = repr(error)

    threads = [threading.Thread(target=start, args=(at,)) for at in range(len(racers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def races(cluster, report):
    makers = [clients.ALL[n % 3] for n in range(RACERS)]
    racers = [make(cluster.nodes[n // 3 % 3]) for n, make in enumerate(makers)]
    referee = clients.PyMemcache(cluster.nodes[2])
    lost, winners = {"add": [], "cas": []}, set()

    def judge(kind, number, key, answers, value_of):
        won = [at for at, answer in enumerate(answers) if answer is True]
        others = [answer for answer in answers if answer not in (True, False)]
        found = referee.get(key)
        if len(won) != 1 or others or found != value_of(won[0]):
            lost[kind].append(f"round {number}: {answers}, then {found!r}")
        winners.update((makers[at].label, at) for at in won)

    for number in range(ROUNDS):
        key = f"race-add-{number}"
        answers = race(racers, number, lambda racer, at, _: racer.add(key, b"by %d" % at))
        judge("add", number, key, answers, lambda at: b"by %d" % at)
        key = f"race-cas-{number}"
        referee.set(key, b"before")
        tokens = [racer.gets(key)[1] for racer in racers]
        answers = race(racers, number, lambda racer, at, _: racer.cas(key, b"by %d" % at, tokens[at]))
        judge("cas", number, key, answers, lambda at: b"by %d" % at)
    report.check(f"of {RACERS} concurrent adds exactly one wins, {ROUNDS} rounds", lost["add"])
    report.check(f"of {RACERS} concurrent cas on one token exactly one wins, {ROUNDS} rounds", lost["cas"])
    report.figure(f"{len(winners)} of {RACERS} racers won at least once")
    for racer in [*racers, referee]:
        racer.close()


def run(cluster, report):
    players = everyone(cluster)
    told = stories(players, report)
    expiry(players, report)
    sum_of_increments(cluster, report)
    races(cluster, report)
    flushes(players, told, report)
    for player in players.values():
        player.close()
