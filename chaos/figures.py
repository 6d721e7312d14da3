"""The figures of one run, from its records alone: rates, gaps, times to a new leader and to full redundancy, elections.

What is counted, exactly:

  - Acknowledged operation: one that was answered `ok` and changed something, that is a publish, a receive that brought
    at least one message, an ack, nack or extend that was done for at least one, or a creation that made the topic. A
    batch is one. Its moment is its `end`.
  - Acknowledgement, where gaps are measured: a publish answered `ok`, by any client, to any topic. Its moment is its
    `end`. Publishes that failed or are unknown count for nothing.
  - Window: from the start of the first publish to the end of the last, acknowledged or not, as long as somebody tried;
    but from the first injection at the latest to the last heal at the earliest, and not beyond the begin of `drain`.
    Its ends bound a gap as an acknowledgement does; only that no gap is counted before the first acknowledgement, if
    that came before the first injection: till then clients connect for the first time.
  - Gap of a round: the longest between two acknowledgements that overlaps the time from the injection's start to the
    heal's start, in its full length: from the last acknowledgement before to the first after.
  - New leader: the first status, asked for after the injection began and answered before the next one, whose node leads
    in a term above all terms that were led before. It may come as late as after the heal.

Rules of this file: pure, one pass over the records. Times are seconds since the run's start; a figure that the records
do not give is None, never 0.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import ceil, inf
from statistics import median
from typing import NamedTuple

import msgspec

from chaos.history import FaultStep, Op, Phase, Record, Redundant, Status


class Spread(msgspec.Struct, frozen=True):
    """How `n` numbers are distributed, n at least 1. `p90`: the least that nine in ten do not exceed."""

    n: int
    min: float
    median: float
    p90: float
    max: float


def spread(values: Iterable[float | None]) -> Spread | None:
    """The distribution of those that are known; None when none is."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    ninth = known[ceil(0.9 * len(known)) - 1]
    return Spread(len(known), known[0], round(median(known), 6), ninth, known[-1])


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of the schedule, from its injection to full redundancy.

    `proven`, `healed`: a probe showed that the fault took hold, and that it was gone; `proof` and `healing` are
    what the probes said. `undone`: the heal was done without an error. `leader`: who led when it was injected, as far
    as it was seen. `heal_at`: None if it was never healed. `gap_at`: when the gap began.
    `gap_healed_s`: the longest gap between the heal and the next round; None without two acknowledgements there.
    """

    number: int
    fault: str
    targets: list[int]
    leader: int | None
    inject_at: float
    heal_at: float | None
    proven: bool
    proof: str
    undone: bool
    healed: bool
    healing: str
    gap_s: float
    gap_at: float
    gap_healed_s: float | None
    leader_s: float | None
    redundant_s: float | None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a run comes to.

    `before_rate`: acknowledged operations a second, over the `before_s` seconds of the window before the first
    fault; None when there was no such time. `operations`: by kind and outcome. `errors`: how often each code was
    answered last. `elections`: terms that somebody led, less the first. `term_rise`: last term less first.
    `phases`: those that were reached.
    """

    acknowledged: int
    before_rate: float | None
    before_s: float
    operations: dict[str, dict[str, int]]
    errors: dict[str, int]
    window_s: float
    longest_gap_s: float
    longest_gap_at: float
    elections: int
    term_rise: int
    phases: list[str]
    rounds: list[Round]


class ByFault(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds with one fault, over any number of runs; None where no round gave the figure."""

    fault: str
    rounds: int
    gap_s: Spread | None
    leader_s: Spread | None
    redundant_s: Spread | None


def by_fault(runs: Iterable[Figures]) -> list[ByFault]:
    """The distributions for each fault that took hold, in the order in which the faults first appear."""
    rounds: dict[str, list[Round]] = {}
    for figures in runs:
        for each in figures.rounds:
            if each.proven:
                rounds.setdefault(each.fault, []).append(each)
    return [
        ByFault(
            fault=fault, rounds=len(them), gap_s=spread(each.gap_s for each in them),
            leader_s=spread(each.leader_s for each in them), redundant_s=spread(each.redundant_s for each in them),
        )
        for fault, them in rounds.items()
    ]  # fmt: skip


def changes(op: Op) -> bool:
    """It is an acknowledged operation, as defined above."""
    if op.outcome != "ok":
        return False
    return op.kind == "publish" or (op.kind == "receive" and bool(op.values)) or None in op.codes or op.created is True


def measure(records: Iterable[Record]) -> Figures:
    """All figures of one run. Records may be few: what they do not tell is None, or 0 where it was counted."""
    seen = _Seen()
    for record in records:
        seen.add(record)
    return seen.figures()


class _Seen:
    """What is kept of the records."""

    def __init__(self) -> None:
        self._phases: dict[str, float] = {}
        self._operations: dict[str, Counter[str]] = {}
        self._errors: Counter[str] = Counter()
        self._changes: list[float] = []
        self._acks: list[float] = []
        self._first, self._last = inf, -inf
        self._led: list[_Lead] = []
        self._terms: list[int] = []
        self._steps: dict[int, list[FaultStep]] = {}
        self._redundant: dict[int, float] = {}

    def add(self, record: Record) -> None:
        if isinstance(record, Op):
            self._add_op(record)
        elif isinstance(record, Status):
            self._terms.append(record.term)
            if record.role == "Leader":
                self._led.append(_Lead(record.start, record.at, record.term, record.node))
        elif isinstance(record, Phase):
            self._phases[record.name] = record.at
        elif isinstance(record, FaultStep):
            self._steps.setdefault(record.round, []).append(record)
        elif isinstance(record, Redundant):
            self._redundant.setdefault(record.round, record.at)

    def _add_op(self, op: Op) -> None:
        self._operations.setdefault(op.kind, Counter())[op.outcome] += 1
        if op.error is not None:
            self._errors[op.error] += 1
        if changes(op):
            self._changes.append(op.end)
        if op.kind == "publish":
            self._first, self._last = min(self._first, op.start), max(self._last, op.end)
            if op.outcome == "ok":
                self._acks.append(op.end)

    def figures(self) -> Figures:
        """Put it together."""
        start, end = self._window()
        injections = [step.start for steps in self._steps.values() for step in _of(steps, "inject")]
        first = min(self._acks, default=inf)
        gaps = _Gaps(first if first <= min(injections, default=end) else start, self._acks, end)
        rounds = self._rounds(gaps, end)
        before_end = rounds[0].inject_at if rounds else self._phases.get("heal", end)
        before_s = max(0.0, before_end - start)
        before = sum(start <= moment < before_end for moment in self._changes)
        gap_at, gap_end = gaps.longest(start, end)
        return Figures(
            acknowledged=len(self._changes), before_rate=round(before / before_s, 1) if before_s else None,
            before_s=_tidy(before_s),
            operations={kind: dict(sorted(outcomes.items())) for kind, outcomes in sorted(self._operations.items())},
            errors=dict(sorted(self._errors.items())), window_s=_tidy(end - start),
            longest_gap_s=_tidy(gap_end - gap_at), longest_gap_at=_tidy(gap_at),
            elections=max(0, len({led.term for led in self._led}) - 1),
            term_rise=max(self._terms, default=0) - min(self._terms, default=0),
            phases=list(self._phases), rounds=rounds,
        )  # fmt: skip

    def _window(self) -> tuple[float, float]:
        steps = [step for steps in self._steps.values() for step in steps]
        start = min((self._first, *(step.start for step in steps if step.step == "inject")))
        end = max((self._last, *(step.start for step in steps)))
        if start == inf:
            return 0.0, 0.0
        return start, max(start, min(end, self._phases.get("drain", inf)))

    def _rounds(self, gaps: _Gaps, end: float) -> list[Round]:
        injected = [(number, steps) for number, steps in sorted(self._steps.items()) if _of(steps, "inject")]
        starts = [_of(steps, "inject")[0].start for _, steps in injected]
        leaders = _Leaders(self._led)
        return [
            self._round(number, steps, gaps, leaders, next_at)
            for (number, steps), next_at in zip(injected, [*starts[1:], end], strict=False)
        ]

    def _round(self, number: int, steps: Sequence[FaultStep], gaps: _Gaps, leaders: _Leaders, next_at: float) -> Round:
        inject, heals = _of(steps, "inject")[0], _of(steps, "heal")
        heal_at = heals[0].start if heals else None
        until = next_at if heal_at is None else heal_at
        gap_at, gap_end = gaps.longest(inject.start, until)
        leader_at, redundant_at = leaders.new(inject.start, next_at), self._redundant.get(number)
        proven, proof = _proof(steps, "inject", "prove")
        healed, healing = _proof(steps, "heal", "prove_healed")
        return Round(
            number=number, fault=inject.name, targets=inject.targets, leader=leaders.at(inject.start),
            inject_at=inject.start, heal_at=heal_at,
            proven=proven, proof=proof, undone=bool(heals) and all(step.ok for step in heals),
            healed=healed, healing=healing, gap_s=_tidy(gap_end - gap_at), gap_at=gap_at,
            gap_healed_s=None if heal_at is None else gaps.longest_within(heal_at, next_at),
            leader_s=None if leader_at is None else _tidy(leader_at - inject.start),
            redundant_s=None if redundant_at is None or heal_at is None else _tidy(redundant_at - heal_at),
        )  # fmt: skip


def _of(steps: Sequence[FaultStep], name: str) -> list[FaultStep]:
    return [step for step in steps if step.step == name]


def _proof(steps: Sequence[FaultStep], act: str, probe: str) -> tuple[bool, str]:
    """Whether the act was done and every probe after it agreed, and what they said."""
    acts, probes = _of(steps, act), _of(steps, probe)
    if not acts:
        return False, "it was not done"
    failed = [step for step in (*acts, *probes) if not step.ok]
    if failed:
        return False, failed[0].detail
    if not probes:
        return False, "nobody looked whether it was so"
    return True, "; ".join(step.detail for step in probes)


def _tidy(seconds: float) -> float:
    """To the microsecond, as the records are."""
    return round(seconds, 6)


class _Gaps:
    """The gaps between acknowledgements within a window; a gap is (begin, end)."""

    def __init__(self, start: float, acks: Iterable[float], end: float) -> None:
        self._moments = sorted({start, *(moment for moment in acks if start <= moment <= end), end})

    def longest(self, start: float, end: float) -> tuple[float, float]:
        """The longest that overlaps [start, end], whole; the earliest of equals; (start, start) outside the window."""
        first = max(0, bisect_right(self._moments, start) - 1)
        last = bisect_left(self._moments, end) + 1
        return max(pairwise(self._moments[first:last]), key=lambda gap: gap[1] - gap[0], default=(start, start))

    def longest_within(self, start: float, end: float) -> float | None:
        """Length of the longest of those that lie whole in [start, end]; None if none does."""
        inner = self._moments[bisect_left(self._moments, start) : bisect_right(self._moments, end)]
        return max((_tidy(end - begin) for begin, end in pairwise(inner)), default=None)


class _Lead(NamedTuple):
    """A node said that it leads: asked at `start`, answered `at`."""

    start: float
    at: float
    term: int
    node: int


class _Leaders:
    """All that said so."""

    def __init__(self, led: Iterable[_Lead]) -> None:
        self._led = sorted(led)
        self._newest: list[_Lead] = []
        for led_ in self._led:
            self._newest.append(max(led_, self._newest[-1] if self._newest else led_, key=lambda each: each.term))

    def at(self, moment: float) -> int | None:
        """Who led then: the leader of the highest term that was asked before."""
        before = self._before(moment)
        return self._newest[before - 1].node if before else None

    def new(self, since: float, until: float) -> float | None:
        """When somebody was first known to lead in a term above all that were led before `since`; None if not so."""
        first = self._before(since)
        known = self._newest[first - 1].term if first else -1
        later = self._led[first : self._before(until)]
        return min((led.at for led in later if led.term > known and led.at <= until), default=None)

    def _before(self, moment: float) -> int:
        """How many were asked before."""
        return bisect_left(self._led, moment, key=lambda led: led.start)
