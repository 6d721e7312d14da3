"""Schedules that once turned red, and what it was: `make chaos REGRESSIONS=1` runs them all again.

Rules of this file: rows are added, never removed. What a seed meets depends on timing too, so that a green run proves
less than the simulation's seeds do; what was found is said in words, and stands as a test where it was mended.
"""

from __future__ import annotations

from typing import NamedTuple


class Regression(NamedTuple):
    """A scenario with its schedule, and what it showed."""

    scenario: str
    seed: int
    seconds: float
    nodes: int
    what: str


REGRESSIONS = (
    Regression(
        "isolate-leader", 2, 30.0, 3,
        "lost: a keyed receive was answered with none, then its delayed first try took messages that nobody ever got",
    ),
    Regression("pause-leader", 3, 60.0, 3, "1.09 s without an acknowledgement: two split votes in a row"),
    Regression(
        "pause-leader", 511, 60.0, 3,
        "early: a leader paused between reading its two clocks ran ahead by the pause, so that leases ended early",
    ),
    Regression(
        "isolate-minority", 622, 60.0, 5,
        "1.27 s without an acknowledgement: a candidate gave up while its vote requests waited for a slow disk",
    ),
    Regression(
        "pause-all", 4141, 25.0, 3,
        "unworn: a receive that is tried again leaves out what is dead by then; the checker did not know that",
    ),
    Regression("disk-full", 101, 60.0, 3, "still full when healed: the node's own write-ahead log had grown unbounded"),
)  # fmt: skip
