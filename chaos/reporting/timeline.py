"""A run over time: its phases, who answered, who led in which term, and how much was acknowledged each second.

Rules of this file: pure, one pass over the records, data and no drawing. A node answers, or leads, from its first such
status to its last as long as no more than `HOLE_S` lies between two; what lies in a longer hole nobody saw.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from chaos.figures import changes
from chaos.history import Op, Phase, Record, Status

STEP_S = 0.5
"""Length of the steps in which operations are counted."""
HOLE_S = 0.8
"""Longest time between two statuses of a node that answers: a poll each 0.1 s, one of them timed out, some slack."""


class Span(msgspec.Struct):
    """`node` answered from `start` to `end`, in seconds; as leader of `term`, where the span is one of a leader."""

    node: int
    start: float
    end: float
    term: int | None = None


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """`answered`, `led`: in order of their starts. `published`, `consumed`: acknowledged operations a second, a number
    for each `STEP_S` from 0 on. `phases`: (name, start). The picture goes from `start`, the begin of `warm`, to
    `end`, the begin of `gather`.
    """

    start: float
    end: float
    phases: list[tuple[str, float]]
    answered: list[Span]
    led: list[Span]
    published: list[float]
    consumed: list[float]


def trace(records: Iterable[Record]) -> Timeline:
    """The timeline of one run."""
    phases: dict[str, float] = {}
    answered, led = _Spans(), _Spans()
    counts: dict[str, dict[int, int]] = {"publish": {}, "receive": {}}
    last = 0.0
    for record in records:
        if isinstance(record, Op):
            last = max(last, record.end)
            if record.kind in counts and changes(record):
                steps, step = counts[record.kind], int(record.end / STEP_S)
                steps[step] = steps.get(step, 0) + 1
        elif isinstance(record, Status):
            last = max(last, record.at)
            answered.add(record.node, record.at, None)
            if record.role == "Leader":
                led.add(record.node, record.at, record.term)
        elif isinstance(record, Phase):
            phases[record.name] = record.at
    end = phases.get("gather", last)
    published, consumed = (_rates(counts[kind], end) for kind in ("publish", "receive"))
    shown = [(name, at) for name, at in phases.items() if at < end]
    return Timeline(
        start=min(phases.get("warm", 0.0), end), end=end, phases=shown,
        answered=answered.before(end), led=led.before(end), published=published,
        consumed=consumed,
    )  # fmt: skip


def _rates(counts: dict[int, int], end: float) -> list[float]:
    return [counts.get(step, 0) / STEP_S for step in range(int(end / STEP_S) + 1)]


class _Spans:
    """Joins moments to spans."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._open: dict[tuple[int, int | None], Span] = {}

    def add(self, node: int, at: float, term: int | None) -> None:
        span = self._open.get((node, term))
        if span is not None and at - span.end <= HOLE_S:
            span.end = max(span.end, at)
        else:
            self._open[node, term] = Span(node, at, at, term)
            self._spans.append(self._open[node, term])

    def before(self, end: float) -> list[Span]:
        """The spans that begin before `end`, cut there."""
        spans = sorted((span for span in self._spans if span.start < end), key=lambda span: span.start)
        return [Span(span.node, span.start, min(span.end, end), span.term) for span in spans]
