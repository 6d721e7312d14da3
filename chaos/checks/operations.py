"""What the checks keep of operations and messages: who, when, and in which line of the history it stands.

Rules of this file: small, since a million of them are held at once; a moment that nothing bounds is infinite.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import inf
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from chaos.history import Kind, Op


class Span(msgspec.Struct, gc=False):
    """An operation's interval, in seconds: it took effect, if it did, at some moment within, ends included.

    `end` is infinite for an operation of unknown outcome. `size`: how many values it published, received or asked for.
    """

    line: int
    client: str
    start: float
    end: float
    size: int

    @classmethod
    def of(cls, line: int, op: Op, size: int) -> Span:
        """Of a record, as its outcome has it."""
        return cls(line, op.client, op.start, op.end if op.outcome == "ok" else inf, size)

    @property
    def acknowledged(self) -> bool:
        """It was answered, so it happened by its end."""
        return self.end < inf


class Looks:
    """Answers that something was so at a moment within each: which one was over first, of those that began late."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = sorted(spans, key=lambda span: span.start)
        self._starts = [span.start for span in self.spans]
        self._first_over = list(self.spans)
        for i in range(len(self.spans) - 2, -1, -1):
            if self._first_over[i + 1].end < self._first_over[i].end:
                self._first_over[i] = self._first_over[i + 1]

    def after(self, moment: float) -> Span | None:
        """Of those that began after `moment`, the one that ended first."""
        later = bisect_right(self._starts, moment)
        return self._first_over[later] if later < len(self.spans) else None


Said: TypeAlias = Literal["done", "maybe", "lost"]


class Settle(msgspec.Struct, gc=False):
    """An operation on one delivery. `done`: it was answered so; `maybe`: nobody knows; `lost`: it was told that the
    delivery had ended before. `seconds`: the delay of a nack, the new length of an extended lease."""

    kind: Kind
    said: Said
    span: Span
    seconds: float


class Delivery(msgspec.Struct, gc=False):
    """A message was handed out the `number`-th time, for `lease_s`; and what its holder asked for then."""

    number: int
    receive: Span
    lease_s: float
    settles: list[Settle] | None = None


class End(NamedTuple):
    """Something cannot have been over before `at`, because of when `span` began, `how` it was, and for how long."""

    at: float
    how: Literal["publish", "receive", "extend", "nack", "ack"]
    span: Span
    seconds: float = 0.0


class Message(msgspec.Struct, gc=False):
    """A message that was in a topic's queue: the `place`-th value of its publish, the `taken_place`-th of its receive.

    Queue order is that of `sequence`. Where nobody was told a message's own, it is that of one of the same publish, and
    `beside` says how many places behind (or, negative, in front of) that one it stands. Where messages are leased,
    `hands` takes the place of `received`: in the order of their numbers, once all are known.
    """

    value: str
    published: Span
    place: int
    sequence: int | None = None
    beside: int = 0
    received: Span | None = None
    taken_place: int = 0
    delay_s: float = 0.0
    group: str | None = None
    hands: list[Delivery] | None = None


Answer: TypeAlias = tuple[int, Op]
"""A line of the history and the operation that stands there."""
