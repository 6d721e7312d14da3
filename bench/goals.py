"""The goals: what RMQ is to reach on one machine of 2 cores, and whether a figure does. Pure.

Rules of this file: a goal is about the median of the runs, or about the largest of all trials where it says `most`. A
goal on another machine means little. What counts there is the ratio to a peer, beside the goal's ratio to what that
peer reached on the machine that the goals are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.figures import Figures, median

RMQ = "rmq"


class Goal(NamedTuple):
    """`what` at this size, in this unit: at least so much, or at most."""

    what: str
    size_bytes: int
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    most: bool = False

    def is_met(self, figures: Figures) -> bool | None:
        """None where it was not measured."""
        values = figures.of(RMQ, self.what, self.size_bytes, self.unit)
        if not values:
            return None
        value = max(values) if self.most else median(values)
        return value >= (self.at_least or 0.0) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_most is None else ("≤", self.at_most)
        name = {"rate": "", "p50_ms": "p50 ", "p99_ms": "p99 "}.get(self.unit, "max " if self.most else "")
        unit = {"rate": "/s", "p50_ms": " ms", "p99_ms": " ms", "ms": " ms", "mb": " MB", "s": " s"}.get(self.unit, "")
        return f"{name}{sign} {bound:,g}{unit}"


GOALS = (
    Goal("one", 100, "rate", at_least=1600), Goal("one", 100, "p50_ms", at_most=0.6),
    Goal("one", 100, "p99_ms", at_most=2), Goal("one", 1000, "rate", at_least=1400),
    Goal("many", 100, "rate", at_least=16_000), Goal("many", 100, "p99_ms", at_most=12),
    Goal("many", 1000, "rate", at_least=12_000),
    Goal("batches", 100, "rate", at_least=200_000), Goal("batches", 1000, "rate", at_least=80_000),
    Goal("pipelined", 100, "rate", at_least=200_000), Goal("pipelined", 1000, "rate", at_least=80_000),
    Goal("take-one", 100, "rate", at_least=1000), Goal("take-one", 1000, "rate", at_least=900),
    Goal("take-chained", 100, "rate", at_least=1000), Goal("take-chained", 1000, "rate", at_least=900),
    Goal("take-batches", 100, "rate", at_least=80_000), Goal("take-batches", 1000, "rate", at_least=60_000),
    Goal("take-streamed", 100, "rate", at_least=80_000), Goal("take-streamed", 1000, "rate", at_least=60_000),
    Goal("both", 100, "rate", at_least=8000), Goal("both-streamed", 100, "rate", at_least=8000),
    Goal("both-pipelined", 100, "rate", at_least=8000),
    Goal("follower", 0, "ratio", at_least=0.75),
    Goal("kill", 0, "ms", at_most=120), Goal("kill", 0, "ms", at_most=400, most=True),
    Goal("pause", 0, "ms", at_most=350), Goal("pause", 0, "ms", at_most=800, most=True),
    Goal("memory-idle", 0, "mb", at_most=200), Goal("memory-loaded", 0, "mb", at_most=600),
    Goal("cpu", 0, "s", at_most=1.2),
    Goal("elections", 0, "count", at_most=0, most=True),
)  # fmt: skip


THEIRS: dict[str, dict[str, float]] = {
    "rabbitmq": {"one": 1066, "many": 8130, "pipelined": 18_200, "take-one": 1127, "take-streamed": 60_100, "cpu": 1.7},
    "nats-synced": {"one": 834, "many": 2250, "pipelined": 3450, "take-one": 392, "take-streamed": 20_900},
    "nats-default": {
        "one": 2673, "many": 25_200, "pipelined": 41_800, "take-one": 1184, "take-streamed": 29_300, "cpu": 0.37,
    },
    "etcd": {"one": 836, "many": 4690, "batches": 27_600, "take-streamed": 40_600, "cpu": 2.6},
}  # fmt: skip
"""What the peers reached with 100 B on the machine that the goals are for, in the goals' units."""


def ratio_wanted(peer: str, whats: Sequence[str]) -> float | None:
    """The goal for one of these, divided by what the peer reached with one of them; None where that is not known."""
    theirs = next((value for what, value in THEIRS.get(peer, {}).items() if what in whats), None)
    goal = next((goal for goal in GOALS if goal.what in whats and goal.unit in ("rate", "s")), None)
    if theirs is None or goal is None:
        return None
    return (goal.at_least or goal.at_most or 0.0) / theirs


def goals_of(what: str, size_bytes: int) -> list[Goal]:
    """Those about one row of the table."""
    return [goal for goal in GOALS if (goal.what, goal.size_bytes) == (what, size_bytes)]


def verdict(goals: list[Goal], figures: Figures) -> str:
    """`met`, `not met`, or nothing where there is no goal or no figure."""
    found = {goal.is_met(figures) for goal in goals} - {None}
    return "" if not found else "not met" if False in found else "met"
