"""Streams of answers made comparable: what may differ between servers that are alike is put on a side.

Masked, and why:
  cas tokens        each server counts in its own way: a token becomes the order in which it appeared in the sequence, so
                    that which answers show the same token is still compared. `c0` stays: it says that there is none.
  t, exp            clocks tick: numbers within SLACK_SECONDS are the same. Of an item already past, memcached prints
                    what is left modulo 2^32 and memring 0 (ttl-past).
  l, la             seconds since the last access
  h, fetch          only with several copies: whether this copy was read before
  cls, size in me   of memcached's allocator (cls-size)
  an empty line     memcached's stray line end after the error for a long key in get (long-key-in-get)
"""

import re

SLACK_SECONDS = 2
PAST = 1 << 31
META = re.compile(rb"(?:HD|VA \d+|NS|EX|NF|EN)(?: |\r\n$)")
DEBUG = re.compile(rb"(ME \S+ exp=)(-?\d+)( la=)\d+( cas=)(\d+)( fetch=)(yes|no)( cls=)\d+( size=)\d+\r\n")


class Masked:
    """One server's answers to one sequence: replies with masks, and the seconds they tell."""

    def __init__(self, copies):
        self._copies = copies
        self._tokens = {}
        self.replies = []
        self.seconds = []

    def add(self, stream):
        at = 0
        while at < len(stream):
            end = stream.find(b"\n", at) + 1 or len(stream)
            line = stream[at:end]
            data = b""
            if line.startswith(b"VALUE "):
                line, length = self._value(line)
                data = stream[end : end + length]
            elif META.match(line):
                length = int(line.split()[1]) + 2 if line.startswith(b"VA ") else 0
                data = stream[end : end + length]
                line = self._meta(line)
            elif line.startswith(b"ME "):
                line = self._debug(line)
            if line != b"\r\n":
                self.replies.append(line + data)
            at = end + len(data)

    def _token(self, number):
        return b"#%d" % self._tokens.setdefault(number, len(self._tokens))

    def _value(self, line):
        """VALUE key flags bytes [cas]: (line, bytes of data with their line end)."""
        words = line.split()
        if len(words) == 5:
            words[4] = self._token(words[4])
            line = b" ".join(words) + b"\r\n"
        return line, int(words[3]) + 2

    def _meta(self, line):
        words = line[:-2].split(b" ")
        for number, word in enumerate(words[1:], start=1):
            letter, rest = word[:1], word[1:]
            if letter == b"c" and rest != b"0" and rest.isdigit():
                words[number] = b"c" + self._token(rest)
            elif letter == b"t" and (rest.isdigit() or rest == b"-1"):
                words[number] = b"t"
                self.seconds.append(int(rest))
            elif letter == b"l" and rest.isdigit() or letter == b"h" and rest in (b"0", b"1") and self._copies > 1:
                words[number] = letter
        return b" ".join(words) + b"\r\n"

    def _debug(self, line):
        found = DEBUG.fullmatch(line)
        if not found:
            return line
        self.seconds.append(int(found[2]))
        fetch = b"" if self._copies > 1 else found[7]
        return b"".join([found[1], found[3], found[4], self._token(found[5]), found[6], fetch, found[8], found[9], b"\r\n"])

    def same_as(self, other):
        if self.replies != other.replies or len(self.seconds) != len(other.seconds):
            return False
        return all(same_seconds(mine, others) for mine, others in zip(self.seconds, other.seconds))


def same_seconds(one, other):
    if one >= PAST or other >= PAST:
        return all(seconds >= PAST or seconds == 0 for seconds in (one, other))
    if -1 in (one, other):
        return one == other
    return abs(one - other) <= SLACK_SECONDS
