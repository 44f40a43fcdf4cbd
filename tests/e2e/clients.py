"""One face over three foreign clients, so that one story can be told with any of them.

Answers are those of memcached: True/False for done or not, None for a miss, a number for a counter. What a client
does not have raises `Unsupported`. Errors of the server or the connection stay exceptions, with their text.
"""

import json
import subprocess
import threading

import pylibmc
import pymemcache

from cluster import HOST, die_with_parent

TIMEOUT_SECONDS = 10


class Unsupported(Exception):
    """The client has no such command."""


class PyMemcache:
    """pymemcache: pure Python."""

    label = "pymemcache"

    def __init__(self, node):
        self._client = pymemcache.Client(
            (HOST, node.port), connect_timeout=TIMEOUT_SECONDS, timeout=TIMEOUT_SECONDS, no_delay=True,
            default_noreply=False,
        )  # fmt: skip

    def set(self, key, value, expire=0):
        return self._client.set(key, value, expire)

    def get(self, key):
        return self._client.get(key)

    def get_many(self, keys):
        return self._client.get_many(keys)

    def gets(self, key):
        value, token = self._client.gets(key)
        return None if value is None else (value, token)

    def cas(self, key, value, token):
        """True, False (EXISTS) or None (NOT_FOUND)."""
        return self._client.cas(key, value, token)

    def add(self, key, value):
        return self._client.add(key, value)

    def replace(self, key, value):
        return self._client.replace(key, value)

    def append(self, key, value):
        return self._client.append(key, value)

    def prepend(self, key, value):
        return self._client.prepend(key, value)

    def incr(self, key, delta):
        return self._client.incr(key, delta)

    def decr(self, key, delta):
        return self._client.decr(key, delta)

    def touch(self, key, expire):
        return self._client.touch(key, expire)

    def delete(self, key):
        return self._client.delete(key)

    def flush_all(self):
        return self._client.flush_all()

    def close(self):
        self._client.close()


class PyLibMc:
    """pylibmc: libmemcached underneath."""

    label = "pylibmc"

    def __init__(self, node):
        self._node = node
        self._client = self._connect()

    def _connect(self):
        milliseconds = TIMEOUT_SECONDS * 1000
        return pylibmc.Client(
            [f"{HOST}:{self._node.port}"],
            binary=False,
            behaviors={
                "tcp_nodelay": True, "cas": True, "connect_timeout": milliseconds,
                "send_timeout": milliseconds * 1000, "receive_timeout": milliseconds * 1000, "retry_timeout": 1,
            },  # fmt: skip
        )

    def set(self, key, value, expire=0):
        return self._client.set(key, value, time=expire)

    def get(self, key):
        return self._client.get(key)

    def get_many(self, keys):
        return self._client.get_multi(keys)

    def gets(self, key):
        value, token = self._client.gets(key)
        return None if value is None else (value, token)

    def cas(self, key, value, token):
        try:
            return self._client.cas(key, value, token)
        except pylibmc.NotFound:
            return None

    def add(self, key, value):
        return self._client.add(key, value)

    def replace(self, key, value):
        return self._client.replace(key, value)

    def append(self, key, value):
        return self._client.append(key, value)

    def prepend(self, key, value):
        return self._client.prepend(key, value)

    def incr(self, key, delta):
        return self._count(lambda client: client.incr(key, delta))

    def decr(self, key, delta):
        return self._count(lambda client: client.decr(key, delta))

    def _count(self, ask):
        try:
            return ask(self._client)
        except pylibmc.NotFound:
            return None
        except pylibmc.Error:
            # An answer in doubt is a SERVER_ERROR, after which libmemcached refuses its only server, unasked, for a second:
            # the failures that followed would be the library's, not the node's. The error itself still counts.
            self._client.disconnect_all()
            self._client = self._connect()
            raise

    def touch(self, key, expire):
        return self._client.touch(key, expire)

    def delete(self, key):
        return self._client.delete(key)

    def flush_all(self):
        return self._client.flush_all()

    def close(self):
        self._client.disconnect_all()


class GoError(Exception):
    """What gomemcache returned beyond a plain no."""


class GoMemcache:
    """grafana/gomemcache, in a process of its own that takes one JSON line a command."""

    label = "gomemcache"
    program = None

    def __init__(self, node):
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [self.program, "agent", f"{HOST}:{node.port}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=die_with_parent,
        )  # fmt: skip

    def _call(self, op, key="", value=b"", number=0):
        with self._lock:
            line = json.dumps({"op": op, "key": key, "value": value.decode("latin-1"), "number": number})
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
        if not reply:
            raise GoError(f"{op} {key}: the Go program ended")
        answer = json.loads(reply)
        if answer.get("error"):
            raise GoError(f"{op} {key}: {answer['error']}")
        return answer

    @staticmethod
    def _done(answer):
        return {"ok": True, "no": False, "missing": None}[answer["result"]]

    def set(self, key, value, expire=0):
        return self._done(self._call("set", key, value, expire))

    def get(self, key):
        answer = self._call("get", key)
        return answer["value"].encode("latin-1") if answer["result"] == "ok" else None

    def get_many(self, keys):
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def gets(self, key):
        answer = self._call("gets", key)
        return (answer["value"].encode("latin-1"), None) if answer["result"] == "ok" else None

    def cas(self, key, value, _token):
        """The token is that of this client's last `gets` of the key: gomemcache keeps it to itself."""
        return self._done(self._call("cas", key, value))

    def add(self, key, value):
        return self._done(self._call("add", key, value))

    def replace(self, key, value):
        return self._done(self._call("replace", key, value))

    def append(self, _key, _value):
        raise Unsupported("append")

    def prepend(self, _key, _value):
        raise Unsupported("prepend")

    def incr(self, key, delta):
        answer = self._call("incr", key, number=delta)
        return answer["number"] if answer["result"] == "ok" else None

    def decr(self, key, delta):
        answer = self._call("decr", key, number=delta)
        return answer["number"] if answer["result"] == "ok" else None

    def touch(self, key, expire):
        return self._done(self._call("touch", key, number=expire)) is True

    def delete(self, key):
        return self._done(self._call("delete", key)) is True

    def flush_all(self):
        return self._done(self._call("flush_all"))

    def close(self):
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


ALL = (PyMemcache, PyLibMc, GoMemcache)
