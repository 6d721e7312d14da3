"""Whether a topic's messages stand in the order in which they were published: together, in turn, each in its place.

    same_sequence    two messages with one place in the queue
    torn             messages published (or received) together that do not stand together, in order
    publisher_order, reordered, phantom
                     published the other way round than they stand; see `sentences`

Rules of this file: the order of messages is known here, and only the clock decides whether it can be so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf

from chaos.checks.operations import Message, Span
from chaos.checks.sentences import Conflict, Sentences


class Line:
    """One topic's `messages` in queue order."""

    def __init__(self, messages: Sequence[Message], say: Sentences) -> None:
        self._messages = messages
        self._say = say

    def judge(self) -> None:
        """All of it, for messages that were published to this very topic."""
        self.apart()
        self.whole("published", [each.published for each in self._messages], [each.place for each in self._messages])
        self._in_turn()

    def apart(self) -> None:
        """Each has a place of its own."""
        for one, other in pairwise(self._messages):
            if one.sequence == other.sequence and one.beside == other.beside:
                self._say.same_sequence(one, other)

    def whole(self, how: str, spans: Sequence[Span | None], places: Sequence[int]) -> None:
        """All messages of each span are here; so they stand together, in order, if no run of them is broken off."""
        torn: dict[int, int] = {}
        begun: Span | None = None
        due = 0
        for i, span in enumerate([*spans, None]):
            place = places[i] if span is not None else 0
            if begun is not None and (span is not begun or place != due):
                torn.setdefault(begun.line, i)
            due = place + 1
            begun = span if span is not None and due < span.size else None
        for line, i in torn.items():
            self._say.torn(how, line, i)

    def _in_turn(self) -> None:
        """None was published before one that stands in front of it began to be."""
        conflicts: dict[int, Conflict] = {}
        came, came_by = -inf, -1
        for i, message in enumerate(self._messages):
            if message.published.start > came:
                came, came_by = message.published.start, i
            if message.published.end < came:
                conflicts.setdefault(came_by, Conflict(came_by, i)).times += 1
        for conflict in conflicts.values():
            self._say.conflict("publishes", conflict)
