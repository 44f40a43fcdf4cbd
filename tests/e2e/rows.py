"""The rows of tests/text/*.toml and how one is run on one connection. Must not know who the server is.

A row, below [[row]]:
  name             a sentence; unique in its file
  lines, replies   each element is a line, CR LF is added; `send`, `expect` are raw instead
  match            a regular expression for the whole answer, instead of `replies`
  closed           the connection ends after the answer (default: it goes on)
  whole            sent in one piece only (default: also byte by byte)
  until            the answer's last bytes, for what takes the connection over: nothing can be asked behind it
  alone            nothing else may run on that server meanwhile: it touches what all connections share
  old              what memcached 1.6.18 answers where it differs; "?" where it is not asked
  difference       memring answers otherwise on purpose: an id that docs/compatibility.md gives the reason for; then
  memring          is memring's answer, as a list of lines or raw, or memring_match a regular expression for it
Marks in both texts: see masks.py.
"""

import glob
import os
import re
import socket
import time
import tomllib

from cluster import HOST
from masks import MARK, Expectation, expand, shown, without_key

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "text")
# Asked after every piece that another one follows, and at the end: its answer says that all before is answered. The
# second serves where a row expects the answer of the first.
SENTINELS = [
    (b"incr sentinel-of-the-tables x\r\n", b"CLIENT_ERROR invalid numeric delta argument\r\n"),
    (b"gat x sentinel-of-the-tables\r\n", b"CLIENT_ERROR invalid exptime argument\r\n"),
]
ANSWER_SECONDS = 5
# The table that is asked on servers with a file of users.
AUTH = "auth.toml"
FIELDS = {"name", "lines", "replies", "send", "expect", "match", "closed", "until", "whole", "alone", "old", "difference",
          "memring", "memring_match"}  # fmt: skip


class Row:
    """What the table says, the same for every server."""

    def __init__(self, file, table):
        self.file, self.name = file, table["name"]
        if unknown := set(table) - FIELDS:
            raise ValueError(f"{file}: {self.name}: unknown fields {unknown}")
        self.sent = table["send"] if "send" in table else in_lines(table["lines"])
        self.match, self.memring_match = (compiled(table.get(field)) for field in ("match", "memring_match"))
        self.expect = table["expect"] if "expect" in table else in_lines(table.get("replies", []))
        # Before a login nothing can be asked: the whole answer is its own end.
        until = self.expect if file == AUTH else table.get("until", "")
        self.until = until.encode("latin-1")
        self.closed, self.whole = table.get("closed", False), table.get("whole", False)
        self.alone, self.old = table.get("alone", False), table.get("old")
        self.difference, memring = table.get("difference"), table.get("memring", "")
        self.memring = in_lines(memring) if isinstance(memring, list) else memring
        if bool(self.difference) != ("memring" in table or "memring_match" in table):
            raise ValueError(f"{file}: {self.name}: a difference, and what memring answers, go together")
        self.sleeps = any(float(seconds) for seconds in re.findall(r"\$\{sleep:([\d.]+)\}", self.sent))

    def answer(self, flavour):
        """What a server of this flavour ("memcached", "old", "memring") answers, as text or as a pattern; None where it is
        not asked."""
        if flavour == "old" and self.old is not None:
            return None if self.old == "?" else self.old
        if flavour == "memring" and self.difference:
            return self.memring_match or self.memring
        return self.match or self.expect

    def __str__(self):
        return f"{self.file}: {self.name}"


def compiled(pattern):
    return pattern and re.compile(pattern.encode("latin-1"), re.DOTALL)


def in_lines(lines):
    return "".join(line + "\r\n" for line in lines)


def load():
    rows = []
    for path in sorted(glob.glob(os.path.join(FOLDER, "*.toml"))):
        with open(path, "rb") as file:
            rows += [Row(os.path.basename(path), table) for table in tomllib.load(file)["row"]]
    return rows


class Run:
    """One row on one connection."""

    def __init__(self, row, key, flavour, copies, bytewise):
        self.row, self.key, self.bytewise = row, key, bytewise
        answer = row.answer(flavour)
        self.pattern = answer if isinstance(answer, re.Pattern) else None
        self.expectation = None if self.pattern else Expectation(answer, key, copies)
        taken = row.expect + row.memring + (row.old or "")
        self.question, self.end = SENTINELS[SENTINELS[0][1].decode() in taken]
        # The answer with its marks, once it was right.
        self.masked = None

    def on(self, port):
        """None, or what was wrong."""
        try:
            with socket.create_connection((HOST, port), timeout=ANSWER_SECONDS) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                found, ended = self._talk(connection, port)
        except OSError as error:
            if self.row.closed and not self.row.expect:
                return None  # Reset while we were still sending: closed without a word.
            return repr(error)
        return self._judge(found, ended)

    def _talk(self, connection, port):
        """(answer, whether the server closed)."""
        answer = b""
        pieces = pieces_of(expand(self.row.sent, self.key))
        for number, piece in enumerate(pieces):
            if found := re.fullmatch(r"\$\{sleep:([\d.]+)\}(\r\n)?", piece):
                time.sleep(float(found[1]))
                continue
            if piece.startswith("${answer}"):
                answer += self._read_line(connection)
                continue
            last = number == len(pieces) - 1
            is_login = self.row.file == AUTH
            sent = MARK.sub(lambda found: token_of(port, self.key, found[7]), piece).encode("latin-1")
            if not (is_login or last and (self.row.closed or self.row.until)):
                sent += self.question
            for part in [bytes([byte]) for byte in sent] if self.bytewise else [sent]:
                connection.sendall(part)
            if is_login and not last:
                continue
            found, ended = self._read(connection, last, answer if is_login else b"")
            answer = found if is_login else answer + found
            if ended:
                return answer, True
        return answer, False

    def _read_line(self, connection):
        """An answer of one line, to be had before the next is asked; what there is of it if no more comes."""
        found = b""
        while not found.endswith(b"\n"):
            try:
                piece = connection.recv(1)
            except (TimeoutError, ConnectionResetError):
                break
            if not piece:
                break
            found += piece
        return found

    def _read(self, connection, last, before=b""):
        """(bytes before the sentinel's answer, with those read before; whether the server closed)."""
        found, end = before, last and self.row.until.replace(b"${key}", self.key.encode()) or self.end
        while last and self.row.closed or not found.endswith(end):
            try:
                piece = connection.recv(1 << 20)
            except TimeoutError:
                return found + b" and then silence", False
            except ConnectionResetError:
                piece = b""
            if not piece:
                return found, True
            found += piece
        return found if end != self.end else found.removesuffix(end), False

    def _judge(self, found, ended):
        if ended != self.row.closed:
            return f"the connection is {'closed' if ended else 'kept'} after {shown(found)}"
        if self.pattern:
            return None if self.pattern.fullmatch(found) else f"{shown(found)} does not match"
        wrong = self.expectation.check(found)
        if not wrong:
            self.masked = without_key(self.expectation.masked(found), self.key, self.row.sent)
        return wrong


def pieces_of(sent):
    """Cut before every line that waits or needs a token, so that what comes before is done by then."""
    pieces = [""]
    for line in re.findall(r"[^\n]*\n|[^\n]+$", sent):
        is_pause = "${sleep:" in line or "${answer}" in line
        if is_pause or "${cas:" in line:
            pieces.append(line)
            if is_pause:
                pieces.append("")
        else:
            pieces[-1] += line
    return [piece for piece in pieces if piece] or [""]


def token_of(port, key, name):
    """The cas token of a row's key, asked on a connection of its own; 0 if there is no such item."""
    name, less = (name[:-2], 1) if name.endswith("-1") else (name, 0)
    with socket.create_connection((HOST, port), timeout=ANSWER_SECONDS) as connection:
        connection.sendall(f"gets {key}{name}\r\n".encode("latin-1"))
        found = b""
        while not found.endswith(b"END\r\n"):
            piece = connection.recv(1 << 20)
            if not piece:
                break
            found += piece
    token = re.match(rb"VALUE \S+ \d+ \d+ (\d+)\r\n", found)
    return str(int(token[1]) - less) if token else "0"
