"""What a record says: hit rates, failures and waits before, in and after an event.

Only arithmetic: it starts nothing and prints nothing.
"""

from collections import Counter

WINDOW_SECONDS = 5
# The first second is left out: connections are opened in it.
WARM_SECONDS = 1
SLOW_FACTOR = 5
# Batches that were due so soon after an event's beginning may have been under way to the node.
UNDER_WAY_SECONDS = 0.1
KINDS = ("get", "set", "batch")
SINGLES = ("get", "set")


class Timeline:
    """A record of the generator and the facts of the event in its middle."""

    def __init__(self, record, facts):
        self.seconds = record["seconds"]
        self.steps = record["steps"]
        self.failures = record["failures"]
        self.answers, self.answer_step = record["answers"], record["answer_step"]
        start = record["start"]
        self.begin, self.end = facts["begin"] - start, facts["end"] - start
        # Until a client has lost patience with an operation sent to a node that is away, it is to blame.
        self.away = [(one["node"], one["from"] - start - 1, one["to"] - start + 1) for one in facts["away"]]
        # The last second is not whole.
        self.length = min(len(self.seconds[kind]) for kind in SINGLES) - 1

    def hit_rate(self, first, last):
        """Of the gets answered in the seconds from `first` to before `last`; None without any."""
        cells = [cell for kind in ("get", "batch") for cell in self.seconds[kind][first:last]]
        hits, misses = (sum(cell[name] for cell in cells) for name in ("hits", "misses"))
        return hits / (hits + misses) if hits + misses else None

    def lowest_hit_rate(self, first, last):
        windows = range(first, max(first + 1, last - WINDOW_SECONDS + 1))
        rates = [self.hit_rate(at, min(at + WINDOW_SECONDS, last)) for at in windows]
        return min((rate for rate in rates if rate is not None), default=None)

    def wait(self, share, first, last, kinds=SINGLES):
        """The wait, in seconds, that this share of the operations did not exceed."""
        counts = Counter()
        for kind in kinds:
            for cell in self.seconds[kind][first:last]:
                for step, count in cell["waits"].items():
                    counts[int(step)] += count
        below = share * sum(counts.values())
        for step in sorted(counts):
            below -= counts[step]
            if below <= 0:
                return self.upper_edge(step)
        return None

    def upper_edge(self, step):
        doublings = max(0, step // self.steps - 1)
        return ((step - doublings * self.steps + 1) << doublings) / 1e6

    def is_away(self, failure):
        """Whether it came from a node that was away, or over a connection that had ended with it."""
        ended = failure["opened"] is not None and failure["reason"] in ("closed", "reset")
        for node, since, to in self.away:
            when = failure["opened"] if ended and failure["at"] > to else failure["at"]
            if node == failure["node"] and since <= failure["at"] and when <= to:
                return True
        return False

    def failed(self, since, until):
        """{kind: [on nodes that were away, elsewhere]}, of operations due between."""
        counts = {kind: [0, 0] for kind in KINDS}
        for failure in self.failures:
            if since <= failure["at"] < until:
                counts[failure["kind"]][0 if self.is_away(failure) else 1] += failure["count"]
        return counts

    def reasons(self):
        """[kind, node, reason, whether it was away, count], the most frequent first."""
        counts = Counter()
        for one in self.failures:
            counts[(one["kind"], one["node"], one["reason"], self.is_away(one))] += one["count"]
        return [[*what, count] for what, count in counts.most_common()]

    def throughput(self, since, seconds):
        """Operations answered a second, from `since` on."""
        first, steps = round(since / self.answer_step), round(seconds / self.answer_step)
        return sum(self.answers[first : first + steps]) / seconds

    def by_second(self):
        """For the plots: seconds from the event's beginning, hit rate, p50 and p99 of single operations, failures."""
        failed = Counter()
        for one in self.failures:
            failed[int(one["at"])] += one["count"]
        return [
            {
                "at": at - self.begin, "hit_rate": self.hit_rate(at, at + 1), "p50": self.wait(0.5, at, at + 1),
                "p99": self.wait(0.99, at, at + 1), "failed": failed[at],
            }
            for at in range(WARM_SECONDS, self.length)
        ]  # fmt: skip

    def figures(self):
        calm = WARM_SECONDS, int(self.begin)
        last = max(int(self.end) + 1, calm[1] + WINDOW_SECONDS)
        within, after = (calm[1], last), (last, self.length)
        calm_p99 = self.wait(0.99, *calm)
        slow = [at for at in range(calm[1], self.length) if (self.wait(0.99, at, at + 1) or 0) > SLOW_FACTOR * calm_p99]
        late = self.failed(self.begin + UNDER_WAY_SECONDS, float("inf"))["batch"]
        calm_rate = self.throughput(WARM_SECONDS, calm[1] - WARM_SECONDS)
        return {
            "hit_rate": {
                name: self.lowest_hit_rate(*phase) for name, phase in (("before", calm), ("within", within), ("after", after))
            },
            "due": {kind: sum(cell["due"] for cell in self.seconds[kind]) for kind in KINDS},
            "failed_before": self.failed(0, self.begin - 1), "failed": self.failed(self.begin - 1, float("inf")),
            "batches_failed_late": late, "p50": [self.wait(0.5, *calm), self.wait(0.5, *within)],
            "p99": [calm_p99, self.wait(0.99, *within)],
            "batch_p99": [self.wait(0.99, *phase, kinds=("batch",)) for phase in (calm, within)],
            "slow_seconds": len(slow), "first_second": self.throughput(self.begin, 1) / calm_rate if calm_rate else None,
            "longest": self.wait(1.0, *(calm[1], self.length)), "reasons": self.reasons(),
        }  # fmt: skip
