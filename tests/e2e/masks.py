"""What may differ between two servers that answer alike, in one place: marks in the tables, and masks for random answers.

Marks in a row's expectation, and why they are no differences:
  ${cas:NAME}    a cas token: each server counts in its own way. The same name is the same number, another name another.
  ${ttl:N}       seconds left: N, or up to two fewer or more, since clocks tick between requests, and apart
  ${since:N}     seconds since something: N, or up to two more. With copies any: it tells of the copy asked
  ${copy:TEXT}   TEXT on one node. With copies, `h` and `fetch` tell of the copy asked
  ${number}      a figure of the process or of its memory layout: time, size of a class, address of a connection
  ${word}        the same, not a number
Marks in what a row sends:
  ${cas:NAME}    the cas token that key ${key}NAME has by then; ${cas:NAME-1} is one less
  ${now+N}       a Unix time
  ${sleep:N}     not sent: waits N seconds
  ${answer}      not sent: waits for an answer of one line
In both: ${key} is the row's own key, of KEY_BYTES; ${N*text} is text N times; ${b64:TEXT} is base64 of ${key}TEXT.
"""

import base64
import re
import time

MARK = re.compile(r"\$\{(?:(key)|(\d+)\*([^}]*)|(now)\+(\d+)|(cas|ttl|since|copy):([^}]*)|(number|word)|(sleep):([\d.]+)|(b64):([^}]*))\}")
KEY_BYTES = 6
# Seconds that may have passed between two requests of a row on a busy machine, beside those that it sleeps.
SLACK_SECONDS = 2


def expand(text, key):
    """The marks that mean the same on every server; the others stay."""

    def replace(found):
        if found[1]:
            return key
        if found[2]:
            return MARK.sub(replace, found[3]) * int(found[2])
        if found[11]:
            return base64.b64encode((key + found[12]).encode("latin-1")).decode()
        if found[4]:
            return str(int(time.time()) + int(found[5]))
        return found[0]

    # A repeated text may itself hold a mark: ${400*${key} } ends at its own brace.
    text = re.sub(r"\$\{(\d+)\*\$\{key\}([^}]*)\}", lambda found: (key + found[2]) * int(found[1]), text)
    return MARK.sub(replace, text)


class Expectation:
    """An answer with marks. `check` says what is wrong; `masked` is the answer with the marks put back."""

    def __init__(self, text, key, copies):
        self._names, pattern, at = [], [], 0
        text = expand(text, key)
        for found in MARK.finditer(text):
            pattern.append(re.escape(text[at : found.start()].encode("latin-1")))
            pattern.append(self._group(found, copies))
            at = found.end()
        pattern.append(re.escape(text[at:].encode("latin-1")))
        self.text = text.encode("latin-1")
        self._pattern = re.compile(b"".join(pattern), re.DOTALL)

    def _group(self, found, copies):
        self._names.append(found[0])
        if found[6] == "ttl":
            most = int(found[7])
            return one_of(range(max(most - SLACK_SECONDS, 0), most + SLACK_SECONDS + 1))
        if found[6] == "since" and copies == 1:
            return one_of(range(int(found[7]), int(found[7]) + SLACK_SECONDS + 1))
        if found[6] == "copy" and copies == 1:
            return b"(%s)" % re.escape(found[7].encode("latin-1"))
        if found[6] in ("copy", "since"):
            return rb"(\d+|yes|no)"
        if found[8] == "word":
            return rb"([^ \r\n]+)"
        return rb"(\d+)"

    def check(self, answer):
        """None, or what is wrong."""
        found = self._pattern.fullmatch(answer)
        if not found:
            return f"{shown(answer)}, not {shown(self.text)}"
        tokens = {}
        for name, value in zip(self._names, found.groups()):
            if name.startswith("${cas:") and tokens.setdefault(name, value) != value:
                return f"{name} is {tokens[name].decode()} and then {value.decode()}"
        if len(set(tokens.values())) < len(tokens):
            return f"two tokens are the same: {tokens}"
        return None

    def masked(self, answer):
        found, parts, at = self._pattern.fullmatch(answer), [], 0
        for number, name in enumerate(self._names, start=1):
            parts += [answer[at : found.start(number)], name.encode()]
            at = found.end(number)
        return b"".join(parts) + answer[at:]


def one_of(seconds):
    return b"(%s)" % b"|".join(b"%d" % each for each in seconds)


def without_key(answer, key, sent):
    """An answer with the row's key put back as its marks, also where it is in base64."""
    for mark in sorted(set(re.findall(r"\$\{b64:[^}]*\}", sent))):
        answer = answer.replace(expand(mark, key).encode(), mark.encode("latin-1"))
    return answer.replace(key.encode(), b"${key}")


def shown(answer):
    return f"{answer[:400]!r}{f'… ({len(answer)} bytes)' if len(answer) > 400 else ''}"
