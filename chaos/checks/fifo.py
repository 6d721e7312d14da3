"""Whether one order of a topic's operations fits all that was answered, the clock included; exact, in n log n.

The question. Can each operation be given one moment within its interval, so that, done one after another in that order,
a first-in, first-out queue gives these answers? (Operations may take effect at equal moments, in any order.)

  - A publish puts its messages at the end, together and in order. A receive takes its messages from the front at once.
  - Messages stand in the order of their sequences.
  - A receive of unknown outcome that asked for k is k takers: each may take one message at any time after its start.
  - An empty answer saw the queue empty at a moment within its interval.

The method. The order of messages is known, so only moments are sought: P(i) when message i came, D(i) when it went.
They must satisfy P(i) <= P(i+1), D(i) <= D(i+1), P(i) <= D(i) and their intervals. Such a system has a solution
if and only if no way along these inequalities leads from a moment to another that must lie before it; so it suffices
to compare each end with the latest start in front of it. The earliest solution gives each moment the latest start in
front of it, the latest solution the earliest end behind it.

Messages that nobody received are given to takers. A message's removal has a deadline: before anything behind it was
received, and before the queue was seen empty when the message surely had come. Deadlines grow along the queue, and so
must the moments of removal, so that the earliest free taker is always the right one for the next message
(exchange any other choice). One that must have gone and finds no taker in time is lost. Takers that are left
take what still waits, for that can only help an empty answer.

An empty answer at time t needs a place k in the order with everything before k gone, D(k) <= t, and everything after
it still to come, t <= P(k+1), where no publish and no receive reaches across k. The earliest D and the latest P
are best, and they do not hinder each other, nor do several empty answers: give each the last place k(t) that is
possible at its t. k(t) grows with t, so raising P(i) and D(i) of all i behind k(t) to t leaves everything in bounds.

Rules of this file: it decides; how it is said stands in `sentences`. Each anomaly names operations that cannot all be
right, two where two suffice to show it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import chain, pairwise, repeat
from math import inf

from chaos.checks.findings import Findings
from chaos.checks.line import Line
from chaos.checks.operations import Looks, Message, Span
from chaos.checks.sentences import Conflict, Sentences


@dataclass
class _Latest:
    """For each message the latest moments that it can have come and gone at, and whose receive bounds the latter."""

    come: list[float]
    gone: list[float]
    bound_by: list[int]


class Fifo:
    """One topic: `messages` in queue order, `takers` are receives of unknown outcome, `empty` are empty answers."""

    def __init__(
        self, topic: str, messages: list[Message], takers: list[Span], empty: list[Span], findings: Findings
    ) -> None:
        self._messages = messages
        self._takers = takers
        self._empty = Looks(empty)
        self._say = Sentences(topic, messages, findings)

    def judge(self) -> None:
        """Say what is wrong."""
        line = Line(self._messages, self._say)
        line.judge()
        taken = self._messages
        line.whole("received", [message.received for message in taken], [message.taken_place for message in taken])
        latest = self._latest()
        earliest_gone = self._earliest_gone(self._removals(latest))
        if self._empty.spans:
            self._empty_answers(latest.come, earliest_gone)

    def _latest(self) -> _Latest:
        n = len(self._messages)
        latest = _Latest([inf] * n, [inf] * n, [-1] * n)
        come = gone = inf
        bound_by = -1
        for i in range(n - 1, -1, -1):
            message = self._messages[i]
            if message.received is not None and message.received.end < gone:
                gone, bound_by = message.received.end, i
            come = min(come, gone, message.published.end)
            latest.come[i], latest.gone[i], latest.bound_by[i] = come, gone, bound_by
        for i, (one, other) in enumerate(pairwise(self._messages), 1):
            if one.published is other.published:
                latest.come[i] = latest.come[i - 1]
        return latest

    def _removals(self, latest: _Latest) -> list[float]:
        """When each message's own removal can begin; says which are lost, and takes those as gone from the first."""
        free = iter(sorted(chain.from_iterable(repeat(span.start, span.size) for span in self._takers)))
        taker = next(free, inf)
        removals, waiting = [], 0
        for i, message in enumerate(self._messages):
            if message.received is not None:
                removals.append(message.received.start)
                continue
            seen_empty = self._empty.after(latest.come[i])
            by_empty = seen_empty.end if seen_empty is not None else inf
            if taker <= min(latest.gone[i], by_empty):
                waiting += min(latest.gone[i], by_empty) == inf
                removals.append(taker)
                taker = next(free, inf)
            else:
                removals.append(-inf)
                self._say.lost(message, seen_empty if by_empty < latest.gone[i] else None, latest.bound_by[i])
        if waiting:
            self._say.waiting(waiting)
        return removals

    def _earliest_gone(self, removals: list[float]) -> list[float]:
        """The earliest moment that each message can have gone at; says which operations stand in the wrong order."""
        conflicts: dict[tuple[str, int], Conflict] = {}
        earliest = []
        came = gone = -inf
        came_by = gone_by = -1
        for i, message in enumerate(self._messages):
            published, received = message.published, message.received
            if published.start > came:
                came, came_by = published.start, i
            if removals[i] > gone:
                gone, gone_by = removals[i], i
            if received is None or published.end < came:
                pass
            elif received.end < came:
                conflicts.setdefault(("both", came_by), Conflict(came_by, i)).times += 1
            elif received.end < gone:
                conflicts.setdefault(("receives", gone_by), Conflict(gone_by, i)).times += 1
            earliest.append(max(came, gone))
        for i in range(len(earliest) - 2, -1, -1):
            last = self._messages[i].received
            if last is not None and last is self._messages[i + 1].received:
                earliest[i] = earliest[i + 1]
        for (kind, _), conflict in conflicts.items():
            self._say.conflict(kind, conflict)
        return earliest

    def _empty_answers(self, latest_come: list[float], earliest_gone: list[float]) -> None:
        """Each needs a moment in which everything that had to come had gone."""
        since, until = [-inf], [latest_come[0] if latest_come else inf]
        for k, (one, other) in enumerate(pairwise(self._messages), 1):
            across = one.published is other.published or (one.received is not None and one.received is other.received)
            if not across and earliest_gone[k - 1] <= latest_come[k]:
                since.append(earliest_gone[k - 1])
                until.append(latest_come[k])
        if earliest_gone and earliest_gone[-1] < inf:
            since.append(earliest_gone[-1])
            until.append(inf)
        for span in self._empty.spans:
            if until[bisect_right(since, span.end) - 1] >= span.start:
                continue
            waited = bisect_right(earliest_gone, span.end)
            if waited < len(earliest_gone) and latest_come[waited] < span.start:
                self._say.stale(span, waited, "waited all that time")
            else:
                waited = bisect_right(earliest_gone, span.start)
                self._say.stale(span, waited, "waited at its start, and others from then on")
