"""Random sequences of commands, classic and meta, mostly valid: the same ones from the same seed. Must not know sockets.

A sequence has few keys, so that its commands meet. What memcached does by accident of time or of its own numbering is
left out, each case with its reason below; what it answers by such accident is masked in answers.py.
"""

import base64
import random

# One command is a list of parts: bytes, or what only the moment or the server knows.
NOW = "now"  # (NOW, seconds from now)
CAS = "cas"  # (CAS, variable)
LEARN = "learn"  # A command [(LEARN, variable, key)]: ask for the key's token and keep it.
HOP = "hop"  # A command [(HOP,)]: go on through another node, where there is one.
CLOSE = "close"  # A command [(CLOSE, bytes)]: the connection ends, and so does the sequence.

VARIABLES = 3
COMMANDS_MIN, COMMANDS_MAX = 10, 70
# Longer ones only in commands that are right: a value that is run as commands closes the connection as soon as 2 KB are
# there without a line end, and how much is there at once depends on how the bytes were cut.
SHORT_MAX = 40
LONG_MAX = 9000
# Data that a wrong length may swallow: so many bytes are sent before an answer is waited for.
EXCESS_MAX = 24

# No deadline within the seconds that a run takes: the first second's edge is memcached's own.
TTLS = [b"0", b"0", b"60", b"100", b"1000", b"2592000", (NOW, 1000), (NOW, 500000), b"2147483647"]
TTLS_PAST = [b"-1", b"-100", b"2592001", b"86400000", (NOW, -100)]
TTLS_ODD = [b"+60", b"007", b"2147483648", b"4294967296", b"-2147483648", b"99999999999999999999", b"abc", b"1x", b"0x10", b"1.5", b"-"]
NUMBERS = [b"0", b"1", b"2", b"5", b"9", b"10", b"99", b"100", b"65535", b"18446744073709551615", b"18446744073709551600"]
NUMBERS_ODD = [b"-1", b"abc", b"", b"18446744073709551616", b"1x", b"0x1", b"+1", b"007", b"1.5", b"99999999999999999999999"]
FLAGS = [b"0", b"0", b"1", b"5", b"42", b"65536", b"4294967295"]
FLAGS_ODD = [b"4294967296", b"4294967303", b"-1", b"abc", b"+5", b"0x10", b"12abc", b"18446744073709551616", b"1.5"]
# Small ones are below, the large one above every token that any server gives: they compare alike on all.
TOKENS = [b"0", b"1", b"7", b"40", b"41", b"18446744073709551615"]
TOKENS_ODD = [b"", b"abc", b"-1", b"18446744073709551616", b"1x"]
COUNTERS = [b"0", b"1", b"9", b"10", b"99", b"100", b"007", b"18446744073709551615", b" 5", b"+5", b"5 ", b"99 5", b"12 "]
# No value of white space alone, where memcached's incr reads on behind its end, and no NUL, which ends its numbers.
TEXTS = [b"", b"a", b"hi", b"5a", b"-5", b"1.5", b"a\r\nb", b"END\r\n", b"\x01\xff", b"18446744073709551616", b"value"]
JUNK = [b"", b" ", b"a", b"ab", b"foo", b"foo bar", b"foo noreply", b"GET", b"Set x 0 0 1", b"get", b"gets", b"gat 0", b"touch",
        b"incr", b"decr x", b"delete", b"set", b"set x", b"ms", b"ms x", b"mg", b"md", b"ma", b"me", b"mq x", b"mn", b"mn now",
        b"get\tx", b"\x80\x00", b"verbosity 0", b"verbosity", b"verbosity abc", b"verbosity 0 noreply", b"debugtime p",
        b"flush_all abc", b"stats nonsense", b"lru", b"lru nonsense", b"slabs", b"lru_crawler", b"lru_crawler nonsense",
        b"cache_memlimit", b"cache_memlimit abc", b"cache_memlimit 1", b"shutdown", b"extstore"]  # fmt: skip


class Generator:
    """`sequence()` is the list of commands of one seed; `prefix` begins every key and changes nothing else."""

    def __init__(self, seed, prefix):
        self.rng = random.Random(seed)
        self.keys = [prefix + letter for letter in (b"a", b"b", b"c", b"d")[: self.rng.randint(1, 4)]]
        # The key whose token each variable holds.
        self.learned = {}
        # Whether a data block may wait for more than was sent.
        self.hungry = False
        self.verbs = [
            (self.storage, 30), (self.cas, 7), (self.retrieval, 16), (self.get_and_touch, 6), (self.touch, 5),
            (self.delete, 6), (self.arithmetic, 10), (self.meta_get, 28), (self.meta_set, 24), (self.meta_delete, 12),
            (self.meta_arithmetic, 14), (self.meta_debug, 1), (self.meta_no_op, 1), (self.junk, 4),
        ]  # fmt: skip

    def sequence(self):
        commands, verbs = [], [verb for verb, _ in self.verbs]
        weights = [weight for _, weight in self.verbs]
        for _ in range(self.rng.randint(COMMANDS_MIN, COMMANDS_MAX)):
            dice = self.rng.random()
            if dice < 0.02:
                variable, key = self.rng.randrange(VARIABLES), self.rng.choice(self.keys)
                self.learned[variable] = key
                commands.append([(LEARN, variable, key)])
            elif dice < 0.04:
                commands.append([(HOP,)])
            elif dice < 0.041:
                # No HTTP request: memcached then drops earlier answers too, if they are not yet sent. Only in tables.
                commands.append([(CLOSE, self.rng.choice([b"quit\r\n", b"quit now\r\n"]))])
                break
            else:
                commands.append(self.rng.choices(verbs, weights)[0]())
        return commands

    # --- words -------------------------------------------------------------------------------------------------------

    def one_in(self, times):
        return self.rng.random() * times < 1

    def pick(self, usual, odd, chance=25):
        return self.rng.choice(odd if self.one_in(chance) else usual)

    def key(self, longest=260):
        # In get and gat a key that is too long takes back memcached's earlier answers that are not yet sent: only in tables.
        if longest > 250 and self.one_in(80):
            return (self.keys[0] + b"x" * 260)[: self.rng.choice([250, 251, 260])]
        return self.rng.choice(self.keys)

    def ttl(self):
        dice = self.rng.random()
        return self.rng.choice(TTLS if dice < 0.85 else TTLS_PAST if dice < 0.95 else TTLS_ODD)

    def token(self):
        if self.one_in(3):
            return self.pick(TOKENS, TOKENS_ODD, 10)
        # Not one more or less: on a server that counts by ones that may be another item's.
        return (CAS, self.rng.randrange(VARIABLES))

    def value(self):
        dice = self.rng.random()
        if dice < 0.45:
            return self.rng.choice(COUNTERS)
        if dice < 0.97:
            return self.rng.choice(TEXTS)
        return self.rng.choice([b"v", b"a\r\nb", b"7"]) * self.rng.randint(1, LONG_MAX // 2)

    def line(self, words, spoil=True, has_data=False):
        """Words joined, now and then wrongly, and a line end. Before data no word may move to the place of the length."""
        words = list(words)
        if spoil and self.one_in(40):
            at = self.rng.randrange(len(words))
            # No other word may become the key: all sequences would share it.
            act = self.rng.randrange(2 if has_data else 0, 5)
            if words[0][:1] == b"m" and at < 2 or act == 2 and at == 1:
                act = 4
            if act == 0:
                del words[at]
            elif act == 1:
                words.insert(at, words[at])
            elif act == 2:
                words[at] = self.rng.choice([b"junk", b"-1", b"0", b"\x01", b"99999999999"])
            elif act == 3:
                words.append(self.rng.choice([b"extra", b"0", b"noreply"]))
            elif isinstance(words[0], bytes):
                words[0] = self.rng.choice([words[0].upper(), b" " + words[0], words[0] + b"x"])
        parts = []
        for number, word in enumerate(words):
            if number:
                parts.append(b" " if not self.one_in(60) else b"   ")
            parts.append(word)
        parts.append(self.rng.choice([b"\r\n"] * 30 + [b"\n", b" \r\n", b"  \n"]))
        return parts

    def swallowed(self):
        """Bytes for a data block that may still be waiting for some."""
        hungry, self.hungry = self.hungry, False
        return [b"\r\n" * (EXCESS_MAX // 2 + 2)] if hungry else []

    def noreply(self):
        return [b"noreply"] if self.one_in(12) else []

    def with_data(self, words, at, value, sound=False):
        """A line whose word `at` is the length of the value, and the value. Only short values may go wrong."""
        length = len(value)
        spoil = length <= SHORT_MAX and not sound
        before = []
        if length > SHORT_MAX:
            # A data block that went wrong before must not swallow the line that says how long this value is.
            before = self.swallowed()
        if spoil and value and self.one_in(40):
            length = max(length + self.rng.choice([-3, -2, -1, 1, 2, 3, 10, EXCESS_MAX]), 0)
            self.hungry = True
        words[at] = b"%d" % length
        if spoil and self.one_in(60):
            # Never left out: the word behind it may be a token, a length of its own on every server.
            words[at] = self.rng.choice([b"abc", b"-1", b"+3", b"2147483647", b"0x3", b"00" + words[at]])
        end = b"\r\n"
        if spoil and self.one_in(60):
            end = self.rng.choice([b"\n", b"", b"x\r\n", b"\r"])
            self.hungry = True
        return [*before, *self.line(words, spoil, has_data=True), value, end]

    # --- classic -----------------------------------------------------------------------------------------------------

    def storage(self):
        verb = self.rng.choice([b"set"] * 5 + [b"add", b"replace", b"append", b"prepend"] * 2)
        words = [verb, self.key(), self.pick(FLAGS, FLAGS_ODD), self.ttl(), b"", *self.noreply()]
        return self.with_data(words, 4, self.value())

    def cas(self):
        words = [b"cas", self.key(), self.pick(FLAGS, FLAGS_ODD, 50), self.ttl(), b"", self.token(), *self.noreply()]
        return self.with_data(words, 4, self.value())

    def retrieval(self):
        return self.line([self.rng.choice([b"get", b"gets"]), *(self.key(250) for _ in range(self.rng.choice([1, 1, 1, 2, 3, 6])))])

    def get_and_touch(self):
        words = [self.rng.choice([b"gat", b"gats"]), self.ttl(), *(self.key(250) for _ in range(self.rng.choice([1, 1, 2, 4])))]
        return self.line(words)

    def touch(self):
        return self.line([b"touch", self.key(), self.ttl(), *self.noreply()])

    def delete(self):
        # Never spoilt: further words are an error on purpose (delete-words).
        return self.line([b"delete", self.key(), *self.rng.choice([[], [], [b"0"]]), *self.noreply()], spoil=False)

    def arithmetic(self):
        # memcached writes a number in place, unless an answer that is not yet sent still holds the item: then the number
        # gets an item of its own length, and what was stale is lost. Which it is depends on how the bytes were cut: so `mn`
        # sends all answers first.
        verb = self.rng.choice([b"incr", b"incr", b"decr"])
        return [*self.swallowed(), b"mn\r\n", *self.line([verb, self.key(), self.pick(NUMBERS, NUMBERS_ODD, 15), *self.noreply()])]

    def junk(self):
        return [self.rng.choice(JUNK), self.rng.choice([b"\r\n", b"\n"])]

    # --- meta --------------------------------------------------------------------------------------------------------

    def meta_key(self):
        """(key, flags that belong to it)."""
        dice = self.rng.random()
        if dice < 0.9:
            return self.key(), []
        if dice < 0.98:
            return base64.b64encode(self.rng.choice(self.keys)), [b"b"]
        return self.rng.choice([b"!!!!", b"YQ", b"YWJ", b"=", self.keys[0]]), [b"b"]

    def opaque(self):
        # One too long is refused by memcached only after mg or ma has acted: only in tables (opaque-first).
        return b"O" + b"opaque-123456789-123456789-12345"[: self.rng.choice([0, 1, 3, 7, 30, 31])]

    def flags(self, key_flags, usual, chosen):
        """Some of the usual flags beside those chosen, in any order, now and then one twice or an unknown one."""
        flags = [*key_flags, *chosen, *self.rng.sample(usual, min(self.rng.choice([0, 1, 2, 3, 4, 6]), len(usual)))]
        if self.one_in(10):
            flags.append(self.opaque())
        if self.one_in(60):
            flags.append(self.rng.choice(flags or [b"k", b"q"]))
        if self.one_in(60):
            flags.append(self.rng.choice([b"1", b"z", b"!", b"S100", b"\xff", b"Q", b"i", b"K"]))
        self.rng.shuffle(flags)
        return [flag if isinstance(flag, bytes) else self.flag(flag) for flag in flags]

    def flag(self, flag):
        return [part for part in flag] if isinstance(flag, list) else flag

    def with_token(self, letter, token):
        return [letter, token] if isinstance(token, tuple) else letter + token

    def in_order(self, key, chosen):
        """Without `I` where it would compare the token of one key with that of another: `I` asks which is older, and nodes of
        a cluster count each for itself, so that tokens have an order only within a key."""
        others = [(CAS, variable) for variable in range(VARIABLES) if self.learned.get(variable) != key]
        has_others = any(isinstance(flag, list) and flag[0] == b"C" and flag[1] in others for flag in chosen)
        return [flag for flag in chosen if flag != b"I"] if has_others else chosen

    def maybe(self, times, make):
        return [make()] if self.one_in(times) else []

    def timed(self, letter):
        return self.with_token(letter, self.ttl())

    def meta_line(self, words, spoil=True):
        """Flattens the flags that are made of a letter and something only known later."""
        parts = []
        for part in self.line(words, spoil=spoil):
            parts.extend(part if isinstance(part, list) else [part])
        return parts

    def meta_get(self):
        key, own = self.meta_key()
        chosen = [b"v"] if not self.one_in(3) else []
        chosen += self.maybe(8, lambda: self.timed(b"T")) + self.maybe(7, lambda: self.timed(b"N"))
        chosen += self.maybe(7, lambda: b"R" + self.pick([b"0", b"30", b"200", b"2000", b"3000000"], [b"abc", b"", b"-1"], 20))
        chosen += self.maybe(20, lambda: self.with_token(b"C", self.token()))
        chosen += self.maybe(25, lambda: self.with_token(b"E", self.pick(TOKENS[1:], TOKENS_ODD, 20)))
        usual = [b"k", b"q", b"s", b"t", b"c", b"f", b"h", b"l", b"u", b"Pproxy", b"Lfoo"]
        return self.meta_line([b"mg", key, *self.flags(own, usual, chosen)])

    def meta_set(self):
        key, own = self.meta_key()
        chosen = self.maybe(3, lambda: self.timed(b"T")) + self.maybe(8, lambda: self.timed(b"N"))
        chosen += self.maybe(3, lambda: b"F" + self.pick(FLAGS, FLAGS_ODD, 15))
        chosen += self.maybe(2, lambda: b"M" + self.pick([b"E", b"A", b"P", b"R", b"S"], [b"", b"x", b"e", b"a", b"SA", b"Append"], 15))
        chosen += self.maybe(5, lambda: self.with_token(b"C", self.token()))
        chosen += self.maybe(8, lambda: self.with_token(b"E", self.pick(TOKENS[1:], TOKENS_ODD, 20)))
        chosen = self.in_order(key, chosen + self.maybe(8, lambda: b"I"))
        flags = self.flags(own, [b"k", b"q", b"s", b"c", b"f", b"t", b"h", b"Pproxy", b"Lfoo"], chosen)
        value = self.value()
        if len(value) > SHORT_MAX:
            # Some wrong flags leave the data to be run as commands.
            flags = [*own, *self.rng.sample([b"k", b"q", b"s", b"c", b"F5", b"T100", b"MA", b"I"], 3)]
        # After a bad data block memcached gives the token of E to the connection's next classic storage command.
        sound = any(isinstance(flag, list) or flag[:1] == b"E" for flag in flags)
        parts = []
        for part in self.with_data([b"ms", key, b"", *flags], 2, value, sound):
            parts.extend(part if isinstance(part, list) else [part])
        return parts

    def meta_delete(self):
        key, own = self.meta_key()
        chosen = self.maybe(2, lambda: b"I") + self.maybe(5, lambda: b"x") + self.maybe(4, lambda: self.timed(b"T"))
        chosen += self.maybe(6, lambda: self.with_token(b"C", self.token()))
        chosen += self.maybe(8, lambda: self.with_token(b"E", self.pick(TOKENS[1:], TOKENS_ODD, 20)))
        chosen = self.in_order(key, chosen)
        usual = [b"k", b"q", b"s", b"t", b"c", b"f", b"v", b"Pproxy", b"Lfoo"]
        return self.meta_line([b"md", key, *self.flags(own, usual, chosen)])

    def meta_arithmetic(self):
        key, own = self.meta_key()
        down = self.one_in(3)
        chosen = [self.rng.choice([b"MD", b"M-", b"MDecr"])] if down else self.maybe(3, lambda: self.pick([b"MI", b"M+"], [b"M", b"Mx", b"Mi"], 12))
        chosen += self.maybe(3, lambda: self.timed(b"N")) + self.maybe(4, lambda: b"J" + self.pick(NUMBERS, NUMBERS_ODD, 15))
        chosen += self.maybe(3, lambda: b"D" + self.pick(NUMBERS, NUMBERS_ODD, 15))
        chosen += self.maybe(7, lambda: self.with_token(b"C", self.token()))
        if down:
            # With a number that outgrows its place memcached gives T and E to the item it has just replaced: only going
            # down, where none outgrows.
            chosen += self.maybe(3, lambda: self.timed(b"T"))
            chosen += self.maybe(6, lambda: self.with_token(b"E", self.pick(TOKENS[1:], TOKENS_ODD, 20)))
        if not self.one_in(3):
            chosen.append(b"v")
        usual = [b"k", b"q", b"t", b"c", b"s", b"f", b"Pproxy", b"Lfoo"]
        # A line that goes down must not lose its M.
        return [*self.swallowed(), b"mn\r\n", *self.meta_line([b"ma", key, *self.flags(own, usual, chosen)], spoil=not down)]

    def meta_debug(self):
        return self.line([b"me", self.rng.choice(self.keys)], spoil=False)

    def meta_no_op(self):
        return self.line([b"mn"], spoil=False)
