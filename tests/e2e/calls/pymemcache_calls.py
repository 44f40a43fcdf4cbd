"""Every call of pymemcache, through each node in turn: written through one, read through the next.

How it is started and what it prints: script.py.
"""

import sys
import time

import pymemcache
from pymemcache.exceptions import (
    MemcacheClientError,
    MemcacheIllegalInputError,
    MemcacheServerError,
    MemcacheUnknownCommandError,
)
from script import Script

HUNDRED = 100
LARGE = bytes(range(256)) * 3900
MEMORY_MEGABYTES = 512
# No words on the wire: `check_key` looks at a key. Told by `flush`: it would disturb the others.
ELSEWHERE = {"check_key", "flush_all"}


def connect(script, at, **more):
    host, port = script.addresses[at % len(script.addresses)].rsplit(":", 1)
    options = {"connect_timeout": 10, "timeout": 10, "no_delay": True, "default_noreply": False} | more
    return script.watched(pymemcache.Client((host, int(port)), **options))


def pair(script, at):
    return connect(script, at), connect(script, at + 1), lambda name: f"pymc-{at}-{name}"


def storage(script, at):
    writer, reader, key = pair(script, at)
    for name, value in (("small", b"v"), ("empty", b""), ("crlf", b"a\r\nEND\r\nb"), ("large", LARGE)):
        script.same(f"set {name}", writer.set(key(name), value, flags=4_294_967_295), True)
        script.same(f"get {name}", reader.get(key(name)), value)
    script.same("get of a missing key", reader.get(key("missing")), None)
    script.same("get with a default", reader.get(key("missing"), "d"), "d")
    writer.delete(key("add"))
    script.same("add", writer.add(key("add"), b"1"), True)
    script.same("add again", reader.add(key("add"), b"2"), False)
    script.same("replace", reader.replace(key("add"), b"3"), True)
    script.same("replace of nothing", writer.replace(key("missing"), b"3"), False)
    script.same("append", writer.append(key("add"), b"4"), True)
    script.same("prepend", reader.prepend(key("add"), b"2"), True)
    script.same("both are there", writer.get(key("add")), b"234")
    script.same("append to nothing", writer.append(key("missing"), b"4"), False)
    script.same("prepend to nothing", writer.prepend(key("missing"), b"4"), False)
    writer[key("item")] = b"x"
    script.same("[]", writer[key("item")], b"x")
    del writer[key("item")]
    script.raises("[] of nothing", KeyError, lambda: writer[key("item")])
    script.raises("a key of 251 bytes", MemcacheIllegalInputError, lambda: writer.set("k" * 251, b""))
    script.same("a key of 250 bytes", writer.set(key("k").ljust(250, "k"), b"long"), True)
    script.same("read again", reader.get(key("k").ljust(250, "k")), b"long")


def many(script, at):
    writer, reader, key = pair(script, at)
    values = {key(f"many-{number}"): b"%d" % number for number in range(HUNDRED)}
    keys = list(values)
    script.same("set_many", writer.set_many(values), [])
    script.same("get_many", reader.get_many([*keys, key("missing")]), values)
    found = reader.gets_many([*keys, key("missing")])
    script.same("gets_many", {name: value for name, (value, _) in found.items()}, values)
    script.holds("tokens are decimal numbers", found, all(token.isdigit() for _, token in found.values()))
    script.same("delete_many", writer.delete_many(keys[:50]), True)
    script.same("half is left", reader.get_multi(keys), dict(list(values.items())[50:]))
    script.same("set_multi", writer.set_multi(values, noreply=True), [])
    script.same("delete_multi without replies", writer.delete_multi(keys[:50], noreply=True), True)
    script.same("a reply after all", writer.get(keys[0]), None)
    script.same("half is left again", len(reader.get_many(keys)), 50)


def compare_and_swap(script, at):
    writer, reader, key = pair(script, at)
    writer.set(key("cas"), b"a")
    value, token = reader.gets(key("cas"))
    script.same("gets", value, b"a")
    script.same("gets of nothing", reader.gets(key("missing")), (None, None))
    script.same("cas", writer.cas(key("cas"), b"b", token), True)
    script.same("cas with a used token", reader.cas(key("cas"), b"c", token), False)
    script.same("cas of nothing", reader.cas(key("missing"), b"c", token), None)
    script.same("it holds", reader.get(key("cas")), b"b")
    token = reader.gets(key("cas"))[1]
    script.same("touch keeps the token", (writer.touch(key("cas"), 100), reader.gets(key("cas"))[1]), (True, token))
    script.same("cas without reply", writer.cas(key("cas"), b"d", token, noreply=True), True)
    script.same("it has been heard", (writer.version() != b"", reader.get(key("cas"))), (True, b"d"))


def counters(script, at):
    writer, reader, key = pair(script, at)
    writer.set(key("n"), b"10")
    script.same("incr", writer.incr(key("n"), 5), 15)
    script.same("decr", reader.decr(key("n"), 6), 9)
    script.same("a shorter number is padded", writer.get(key("n")), b"9 ")
    script.same("decr below zero", writer.decr(key("n"), 100), 0)
    writer.set(key("n"), b"18446744073709551615")
    script.same("incr wraps", reader.incr(key("n"), 2), 1)
    script.same("incr of nothing", writer.incr(key("missing"), 1), None)
    script.same("decr of nothing", writer.decr(key("missing"), 1), None)
    writer.set(key("word"), b"word")
    script.raises("incr of a word", MemcacheClientError, lambda: writer.incr(key("word"), 1), "non-numeric value")
    writer.set(key("n"), b"1")
    script.same(
        "without replies",
        (writer.incr(key("n"), 5, noreply=True), writer.decr(key("n"), 2, noreply=True)),
        (None, None),
    )
    script.same("they have been heard", (writer.version() != b"", reader.get(key("n"))), (True, b"4"))


def noreply(script, at):
    """The client's own default: no command waits for a reply."""
    writer, reader, key = (
        connect(script, at, default_noreply=True),
        connect(script, at + 1),
        lambda name: f"pymc-{at}-quiet-{name}",
    )
    told = [
        writer.set(key("a"), b"1"), writer.add(key("a"), b"2"), writer.add(key("b"), b"2"),
        writer.replace(key("b"), b"3"), writer.append(key("b"), b"4"), writer.prepend(key("b"), b"0"),
        writer.touch(key("b"), 100), writer.set_many({key("c"): b"5"}) == [], writer.set(key("d"), b"6"), writer.delete(key("d")),
    ]  # fmt: skip
    script.same("every call says it is done", told, [True] * len(told))
    script.same("the next reply is its own", writer.get(key("b")), b"034")
    found = reader.get_many([key(name) for name in "abcd"])
    script.same("all were heard", found, {key("a"): b"1", key("b"): b"034", key("c"): b"5"})


def expiry(script, at):
    writer, reader, key = pair(script, at)
    script.same("a second to live", writer.set(key("short"), b"x", expire=1), True)
    script.same("a hundred", writer.set(key("kept"), b"x", expire=100), True)
    script.same("gone at once", (writer.set(key("past"), b"x", expire=-1), reader.get(key("past"))), (True, None))
    script.same("touch", (writer.touch(key("kept"), 0), writer.touch(key("missing"), 1)), (True, False))
    script.same("touch to the past", (reader.touch(key("kept"), -1), writer.get(key("kept"))), (True, None))
    script.same("in an hour of 2033", writer.set(key("dated"), b"x", expire=2_000_000_000), True)
    script.same("still there", reader.get(key("dated")), b"x")


def expired(script, at):
    script.same("after more than a second", connect(script, at + 1).get(f"pymc-{at}-short"), None)


def deletes(script, at):
    writer, reader, key = pair(script, at)
    writer.set(key("gone"), b"x")
    script.same("delete", reader.delete(key("gone")), True)
    script.same("delete of nothing", writer.delete(key("gone")), False)
    script.same("it is gone", writer.get(key("gone")), None)


def raw(script, at):
    """gat, gats and the meta commands, for which pymemcache has no calls of their own."""
    writer, reader, key = pair(script, at)
    ask, name = reader.raw_command, key("raw")
    script.same("ms", writer.raw_command(f"ms {name} 5 F7 T100\r\nhello"), b"HD")
    # A second may end between the two.
    found = ask(f"mg {name} s f t")
    script.holds("mg", found, found in (b"HD s5 f7 t100", b"HD s5 f7 t99"))
    script.same("mg with the value", ask(f"mg {name} k v Oq", "hello\r\n"), f"VA 5 k{name} Oq\r\n".encode())
    script.same("mg of nothing", ask(f"mg {key('missing')} v"), b"EN")
    script.same("mn", ask(b"mn"), b"MN")
    script.same("gat", ask(f"gat 50 {name}", "END\r\n"), f"VALUE {name} 7 5\r\nhello\r\n".encode())
    line = ask(f"gats 40 {name}", "\r\nhello\r\nEND\r\n").split(b" ")
    script.holds("gats", line, line[:4] == [b"VALUE", name.encode(), b"7", b"5"] and line[4].isdigit())
    script.same("gat of nothing", ask(f"gat 50 {key('missing')}", "END\r\n"), b"")
    script.holds("the time to live is that of gats", "", ask(f"mg {name} t") in (b"HD t40", b"HD t39"))
    writer.delete(key("count"))
    script.same("ma creates", ask(f"ma {key('count')} N0 J5 v", "5\r\n"), b"VA 1\r\n")
    script.same("ma adds", writer.raw_command(f"ma {key('count')} D3"), b"HD")
    script.same("the sum", reader.get(key("count")), b"8")
    script.holds("me", "", ask(f"me {name}").startswith(f"ME {name} exp=".encode()))
    script.same("md", (ask(f"md {name}"), writer.raw_command(f"md {name}")), (b"HD", b"NF"))
    # Only its opening is read here: then the connection is in the middle of a dump.
    opening = ask("lru_crawler metadump all")
    script.holds("lru_crawler metadump", opening, opening == b"OK" or opening.startswith(b"BUSY"))
    reader.close()
    script.raises("an unknown command", MemcacheUnknownCommandError, lambda: ask("no-such-command"))


def statistics(script, at):
    asker = connect(script, at)
    asker.set(f"pymc-{at}-counted", b"x")
    general = asker.stats()
    wanted = {
        "pid",
        "uptime",
        "time",
        "version",
        "curr_items",
        "bytes",
        "cmd_get",
        "cmd_set",
        "threads",
        "limit_maxbytes",
    }
    script.same("stats has its fields", sorted(wanted - {name.decode() for name in general}), [])
    script.holds("stats counts", general, general.get(b"cmd_set", 0) >= 1 and general.get(b"curr_items", 0) >= 1)
    items, slabs, settings = asker.stats("items"), asker.stats("slabs"), asker.stats("settings")
    script.holds("stats items", items, any(name.startswith(b"items:") and name.endswith(b":number") for name in items))
    script.holds("stats slabs", slabs, {b"active_slabs", b"total_malloced"} <= slabs.keys())
    script.holds("stats slabs has classes", slabs, any(name.endswith(b":chunk_size") for name in slabs))
    wanted = {
        b"maxbytes",
        b"maxconns",
        b"evictions",
        b"item_size_max",
        b"cas_enabled",
        b"domain_socket",
        b"num_threads",
    }
    script.same("stats settings has its fields", sorted(wanted - settings.keys()), [])
    script.same("stats sizes", asker.stats("sizes"), {b"sizes_status": b"disabled"})
    script.holds("stats conns", "", any(name.endswith(b":addr") for name in asker.stats("conns")))
    before = asker.stats()
    for _ in range(10):
        asker.get(f"pymc-{at}-counted")
    script.holds("ten hits count", "", asker.stats()[b"get_hits"] - before[b"get_hits"] >= 10)


def management(script, at):
    asker = connect(script, at)
    version = asker.version()
    script.holds("version is numbers", version, version.replace(b".", b"").isdigit() and version.count(b".") == 2)
    script.same("cache_memlimit", asker.cache_memlimit(MEMORY_MEGABYTES), True)
    script.same("the limit is the one set", asker.stats()[b"limit_maxbytes"], MEMORY_MEGABYTES << 20)
    for graceful in (False, True):
        refused = "shutdown not enabled"
        script.raises("shutdown is refused", MemcacheServerError, lambda: asker.shutdown(graceful=graceful), refused)
    script.same("verbosity", asker.raw_command("verbosity 0"), b"OK")
    asker.quit()
    script.same("a call after quit connects again", asker.version(), version)
    asker.close()
    script.same("and after close", asker.version(), version)
    asker.disconnect_all()


def hashed(script, at):
    """pymemcache's own ring over all nodes; then every node answers for every key."""
    servers = [address.rsplit(":", 1) for address in script.addresses]
    ring = pymemcache.HashClient(
        [(host, int(port)) for host, port in servers], default_noreply=False, timeout=10, connect_timeout=10
    )
    key = lambda name: f"pymc-{at}-hash-{name}"  # noqa: E731
    values = {key(number): b"%d" % number for number in range(HUNDRED)}
    script.same("set_many", ring.set_many(values), [])
    script.same("get_many", ring.get_many(list(values)), values)
    script.same("one node has them all", connect(script, at).get_many(list(values)), values)
    script.same("gets_many", {name: value for name, (value, _) in ring.gets_many(list(values)).items()}, values)
    script.same(
        "add, replace",
        (ring.add(key("a"), b"1"), ring.add(key("a"), b"1"), ring.replace(key("a"), b"2")),
        (True, False, True),
    )
    script.same(
        "append, prepend",
        (ring.append(key("a"), b"3"), ring.prepend(key("a"), b"1"), ring.get(key("a"))),
        (True, True, b"123"),
    )
    script.same("incr, decr", (ring.incr(key("a"), 7), ring.decr(key("a"), 100)), (130, 30))
    script.same("touch", ring.touch(key("a"), 100), True)
    token = ring.gets(key("a"))[1]
    script.same("cas", (ring.cas(key("a"), b"x", token), ring.cas(key("a"), b"y", token)), (True, False))
    script.same("delete", (ring.delete(key("a")), ring.delete(key("a"))), (True, False))
    script.same("delete_many", (ring.delete_many(list(values)), ring.get_many(list(values))), (True, {}))
    ring.quit()


def flush(script, at):
    writer, reader, key = pair(script, at)
    writer.set(key("flushed"), b"x")
    script.same("flush_all", (reader.flush_all(), writer.get(key("flushed"))), (True, None))
    writer.set(key("flushed"), b"x")
    script.same("flush_all without reply", (reader.flush_all(noreply=True), reader.get(key("flushed"))), (True, None))
    script.same("stats reset", reader.raw_command("stats reset"), b"RESET")
    if at == 0:
        writer.set(key("later"), b"x")
        script.same("flush_all in three seconds", (reader.flush_all(delay=3), writer.get(key("later"))), (True, b"x"))
        time.sleep(3.2)
        script.same("three seconds later", writer.get(key("later")), None)


def main():
    script = Script()
    if script.mode == "flush":
        script.try_all([flush])
        return script.done()
    script.try_all(
        [expiry, storage, many, compare_and_swap, counters, noreply, deletes, raw, statistics, management, hashed]
    )
    time.sleep(2.1)
    script.try_all([expired])
    script.offers(pymemcache.Client, ELSEWHERE)
    return script.done()


if __name__ == "__main__":
    sys.exit(main())
