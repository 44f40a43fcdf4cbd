"""Every call of pylibmc (libmemcached), through each node in turn: written through one, read through the next.

How it is started and what it prints: script.py.
"""

import sys
import time

import pylibmc
from script import Script

HUNDRED = 100
LARGE = bytes(range(256)) * 3900
# No words on the wire, or only a spelling that raises.
ELSEWHERE = {"behaviours", "serialize", "deserialize", "hash", "flush_all"}


def connect(script, addresses, **more):
    behaviors = {
        "tcp_nodelay": True,
        "cas": True,
        "connect_timeout": 10_000,
        "send_timeout": 10_000_000,
        "receive_timeout": 10_000_000,
    }
    return script.watched(pylibmc.Client(addresses, binary=False, behaviors=behaviors | more))


def pair(script, at):
    ring = script.addresses
    return connect(script, [ring[at]]), connect(script, [ring[(at + 1) % len(ring)]]), lambda name: f"plmc-{at}-{name}"


def storage(script, at):
    writer, reader, key = pair(script, at)
    for name, value in (("small", b"v"), ("empty", b""), ("crlf", b"a\r\nEND\r\nb"), ("large", LARGE)):
        script.same(f"set {name}", writer.set(key(name), value), True)
        script.same(f"get {name}", reader.get(key(name)), value)
    for name, value in (("text", "schön"), ("number", 2**40), ("pickled", {"a": [1, 2.5]})):
        script.same(f"set, flags tell the type: {name}", writer.set(key(name), value), True)
        script.same(f"get {name}", reader.get(key(name)), value)
    script.same("compressed", writer.set(key("zip"), LARGE, min_compress_len=1000), True)
    script.same("get compressed", reader.get(key("zip")), LARGE)
    script.same("get of a missing key", (reader.get(key("missing")), reader.get(key("missing"), 7)), (None, 7))
    script.same("add", (writer.add(key("add"), b"1"), reader.add(key("add"), b"2")), (True, False))
    script.same("replace", (reader.replace(key("add"), b"3"), writer.replace(key("missing"), b"3")), (True, False))
    script.same("append", (writer.append(key("add"), b"4"), writer.append(key("missing"), b"4")), (True, False))
    script.same("prepend", (reader.prepend(key("add"), b"2"), writer.prepend(key("missing"), b"4")), (True, False))
    script.same("both are there", writer.get(key("add")), b"234")
    writer[key("item")] = b"x"
    script.same("[]", (reader[key("item")], key("item") in reader), (b"x", True))
    del writer[key("item")]
    script.raises("[] of nothing", KeyError, lambda: reader[key("item")])
    script.same("delete", (writer.delete(key("add")), writer.delete(key("add"))), (True, False))


def many(script, at):
    writer, reader, key = pair(script, at)
    values = {key(f"many-{number}"): b"%d" % number for number in range(HUNDRED)}
    keys = list(values)
    script.same("set_multi", writer.set_multi(values, time=100), [])
    script.same("get_multi", reader.get_multi([*keys, key("missing")]), values)
    writer.delete(key("fresh"))
    script.same("add_multi", reader.add_multi({keys[0]: b"again", key("fresh"): b"x"}), [keys[0]])
    script.same("with a prefix", writer.set_multi({"a": b"1", "b": b"2"}, key_prefix=key("prefix-")), [])
    script.same("read with it", reader.get_multi(["a", "b", "c"], key_prefix=key("prefix-")), {"a": b"1", "b": b"2"})
    script.same("incr_multi", writer.incr_multi(keys[:50], delta=1000), None)
    script.same(
        "all are counted", reader.get_multi(keys[:50]), {name: b"%d" % (1000 + at) for at, name in enumerate(keys[:50])}
    )
    script.same("incr_multi with a prefix", writer.incr_multi(["a", "b"], key_prefix=key("prefix-")), None)
    script.same("counted", reader.get_multi(["a", "b"], key_prefix=key("prefix-")), {"a": b"2", "b": b"3"})
    script.same("delete_multi", writer.delete_multi(keys[:50]), True)
    script.same("half is left", reader.get_multi(keys), dict(list(values.items())[50:]))
    script.same("delete_multi of some that are gone", writer.delete_multi(keys), False)


def compare_and_swap(script, at):
    writer, reader, key = pair(script, at)
    writer.set(key("cas"), b"a")
    value, token = reader.gets(key("cas"))
    script.same("gets", value, b"a")
    script.same("gets of nothing", reader.gets(key("missing")), (None, None))
    script.same(
        "cas, and again", (writer.cas(key("cas"), b"b", token), reader.cas(key("cas"), b"c", token)), (True, False)
    )
    script.raises("cas of nothing", pylibmc.NotFound, lambda: reader.cas(key("missing"), b"c", token))
    script.same("it holds", reader.get(key("cas")), b"b")


def counters(script, at):
    writer, reader, key = pair(script, at)
    writer.set(key("n"), 10)
    script.same("incr", (writer.incr(key("n")), reader.incr(key("n"), 4)), (11, 15))
    script.same("decr", (reader.decr(key("n")), writer.decr(key("n"), 4)), (14, 10))
    script.same("decr below zero", writer.decr(key("n"), 100), 0)
    script.raises("incr of nothing", pylibmc.NotFound, lambda: writer.incr(key("missing")))
    script.raises("decr of nothing", pylibmc.NotFound, lambda: writer.decr(key("missing")))
    writer.set(key("word"), b"word")
    script.raises(
        "incr of a word", pylibmc.ClientError, lambda: connect(script, [script.addresses[at]]).incr(key("word"))
    )


def expiry(script, at):
    writer, reader, key = pair(script, at)
    script.same("a second to live", writer.set(key("short"), b"x", time=1), True)
    script.same("a hundred", writer.set(key("kept"), b"x", time=100), True)
    script.same("touch", (reader.touch(key("kept"), 1000), reader.touch(key("missing"), 1)), (True, False))
    script.same("in 2033", (writer.set(key("dated"), b"x", time=2_000_000_000), reader.get(key("dated"))), (True, b"x"))
    script.same("in 1970", (writer.set(key("past"), b"x", time=2_592_001), reader.get(key("past"))), (True, None))


def expired(script, at):
    reader = pair(script, at)[1]
    script.same(
        "after more than a second", (reader.get(f"plmc-{at}-short"), reader.get(f"plmc-{at}-kept")), (None, b"x")
    )


def statistics(script, at):
    asker, _, key = pair(script, at)
    asker.set(key("counted"), b"x")
    told = asker.get_stats()
    script.same("get_stats is of one server", len(told), 1)
    server, fields = told[0]
    wanted = {"pid", "uptime", "version", "curr_items", "cmd_get", "cmd_set", "limit_maxbytes", "evictions"}
    script.holds("the server is named", server, script.addresses[at].rsplit(":", 1)[1] in str(server))
    script.same("get_stats has its fields", sorted(wanted - fields.keys()), [])
    script.holds("they are numbers", fields, int(fields["cmd_set"]) >= 1 and int(fields["pid"]) > 1)
    # libmemcached reads the lines of the other forms and keeps none: what shows is whether it stays in step.
    for form in ("settings", "slabs", "items", "sizes"):
        script.same(f"get_stats({form!r}) is of one server", len(asker.get_stats(form)), 1)
        script.same("the next answer is its own", asker.get(key("counted")), b"x")


def ketama(script, at):
    """libmemcached's ketama over all nodes; then every node answers for every key."""
    ring = connect(script, script.addresses, ketama=True)
    values = {f"plmc-{at}-ring-{number}": b"%d" % number for number in range(HUNDRED)}
    script.same("set_multi", ring.set_multi(values), [])
    script.same("get_multi", ring.get_multi(list(values)), values)
    script.same("one node has them all", connect(script, [script.addresses[at]]).get_multi(list(values)), values)
    for name, value in list(values.items())[:20]:
        script.same("one by one", (ring.get(name), ring.incr(name, 1)), (value, int(value) + 1))
    script.same("get_stats of each", len(ring.get_stats()), len(script.addresses))
    again = ring.clone()
    script.same("a clone", again.get(f"plmc-{at}-ring-30"), b"30")
    script.same("get_behaviors", ring.get_behaviors()["ketama"], 1)
    ring.set_behaviors({"ketama": False})
    script.same("behaviors", ring.behaviors["ketama"], 0)
    ring.disconnect_all()


def quiet(script, at):
    """libmemcached's noreply and buffered requests."""
    writer, reader, key = (
        connect(script, [script.addresses[at]], _noreply=True),
        pair(script, at)[1],
        f"plmc-{at}-quiet",
    )
    script.same("set, append", (writer.set(key, b"1"), writer.append(key, b"2")), (True, True))
    writer.incr(key, 1)  # Its result is not told: libmemcached says 2^64 - 1.
    deadline = time.monotonic() + 5
    while reader.get(key) != b"13" and time.monotonic() < deadline:
        time.sleep(0.01)
    script.same("all were heard", reader.get(key), b"13")
    script.same("delete", writer.delete(key), True)
    while reader.get(key) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    script.same("it was heard", reader.get(key), None)


def flush(script, at):
    writer, reader, key = pair(script, at)
    writer.set(key("flushed"), b"x")
    script.same("flush_all", (reader.flush_all(), writer.get(key("flushed"))), (True, None))
    writer.set(key("flushed"), b"x")
    script.same("flush_all in a minute", (reader.flush_all(time=60), writer.get(key("flushed"))), (True, b"x"))
    script.same("flush_all takes its place", (writer.flush_all(), reader.get(key("flushed"))), (True, None))


def main():
    script = Script()
    if script.mode == "flush":
        script.try_all([flush])
        return script.done()
    script.try_all([expiry, storage, many, compare_and_swap, counters, statistics, ketama, quiet])
    time.sleep(2.1)
    script.try_all([expired])
    script.offers(pylibmc.Client, ELSEWHERE)
    return script.done()


if __name__ == "__main__":
    sys.exit(main())
