"""The arithmetic of timeline.py, on records made by hand."""

import unittest

from timeline import KINDS, Timeline


def second(due=10, hits=8, misses=2, waits=None):
    return {"due": due, "answered": hits + misses, "hits": hits, "misses": misses, "waits": waits or {"31": due}}


def record(length, failures=(), **changed):
    """`changed` maps "kind_second" to a cell of that second."""
    seconds = {kind: [second() for _ in range(length)] for kind in KINDS}
    for where, cell in changed.items():
        kind, at = where.split("_")
        seconds[kind][int(at)] = cell
    return {
        "start": 1000.0, "seconds": seconds, "steps": 32, "failures": list(failures), "answers": [2] * (10 * length),
        "answer_step": 0.1,
    }  # fmt: skip


def facts(begin, end, away=()):
    return {"begin": 1000.0 + begin, "end": 1000.0 + end, "away": [dict(zip(("node", "from", "to"), one)) for one in away]}


def failure(at, kind, node, count=1, reason="timeout", opened=None):
    return {"at": at, "kind": kind, "node": node, "reason": reason, "count": count, "opened": opened}


class TimelineTest(unittest.TestCase):
    def test_the_lowest_window_of_five_seconds_counts(self):
        empty = second(hits=0, misses=10)
        cold = {f"{kind}_{at}": empty for kind in ("get", "batch") for at in range(10, 14)}
        rates = Timeline(record(31, **cold), facts(10, 15)).figures()["hit_rate"]
        self.assertAlmostEqual(rates["before"], 0.8)
        self.assertAlmostEqual(rates["within"], 0.8 / 5)
        self.assertAlmostEqual(rates["after"], 0.8)

    def test_a_failure_is_laid_at_the_node_only_while_it_is_away(self):
        failures = [failure(10.5, "get", "n2", 3), failure(10.5, "get", "n1"), failure(20.0, "get", "n2")]
        failures.append(failure(2.0, "set", "n1"))
        away = [("n2", 1010.0, 1015.0)]
        figures = Timeline(record(31, failures), facts(10, 15, away)).figures()
        self.assertEqual(figures["failed"]["get"], [3, 2])
        self.assertEqual(figures["failed"]["set"], [0, 0])
        self.assertEqual(figures["failed_before"]["set"], [0, 1])

    def test_a_connection_that_ended_with_its_node_may_fail_long_after(self):
        failures = [failure(25.0, "get", "n2", 3, "closed", opened=-2.0), failure(25.0, "get", "n2", 1, "closed", opened=20.0)]
        figures = Timeline(record(31, failures), facts(10, 15, [("n2", 1010.0, 1015.0)])).figures()
        self.assertEqual(figures["failed"]["get"], [3, 1])

    def test_batches_under_way_at_the_beginning_are_not_late(self):
        failures = [failure(10.05, "batch", "n2"), failure(10.15, "batch", "n2"), failure(11.0, "batch", "n1")]
        away = [("n2", 1010.0, 1015.0)]
        self.assertEqual(Timeline(record(31, failures), facts(10, 15, away)).figures()["batches_failed_late"], [1, 1])

    def test_waits_are_read_from_the_steps_of_the_histogram(self):
        waits = second(waits={"10": 98, "190": 2})
        timeline = Timeline(record(3, get_1=waits, set_1=second(waits={"0": 0})), facts(1, 2))
        self.assertAlmostEqual(timeline.wait(0.5, 1, 2), 11e-6)
        self.assertAlmostEqual(timeline.wait(0.99, 1, 2), 1008e-6)

    def test_a_slow_second_is_five_times_the_calm_one(self):
        slow = {"get_12": second(waits={"190": 10}), "set_20": second(waits={"95": 10})}
        self.assertEqual(Timeline(record(31, **slow), facts(10, 15)).figures()["slow_seconds"], 1)

    def test_the_first_second_is_compared_with_the_calm(self):
        told = record(31)
        told["answers"][100:105] = [0] * 5
        self.assertAlmostEqual(Timeline(told, facts(10, 15)).figures()["first_second"], 0.5)


if __name__ == "__main__":
    unittest.main()
