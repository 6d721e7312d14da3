"""What was measured: figures, each with a value for every run, and what is made of them. Pure.

Theory: a machine has moods, so a figure is a median with its spread, and two peers are compared within a run before the
runs are put together: a ratio is the median of the runs' ratios.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple


class Key(NamedTuple):
    """Of which peer, what (a load's key, or `kill`, `memory` …), at which size (0: none), in which unit."""

    peer: str
    what: str
    size_bytes: int
    unit: str


class Figures:
    """Values by key, in the order of the runs."""

    def __init__(self) -> None:
        self.values: defaultdict[Key, list[float]] = defaultdict(list)

    def add(self, key: Key, value: float) -> None:
        """One more value: of the next run, or trial."""
        self.values[key].append(value)

    def of(self, peer: str, what: str, size_bytes: int, unit: str) -> Sequence[float]:
        """What there is."""
        return self.values.get(Key(peer, what, size_bytes, unit), ())

    def best(self, peer: str, whats: Sequence[str], size_bytes: int, unit: str) -> Sequence[float]:
        """Of each run the largest value of several figures: what a user would choose."""
        found = [values for what in whats if (values := self.of(peer, what, size_bytes, unit))]
        return [max(run) for run in zip(*found, strict=False)]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """The median of the runs' ratios; None where there is no run of both."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=False) if other]
    return statistics.median(ratios) if ratios else None
