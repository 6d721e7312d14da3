"""What the checks keep of operations and messages: who, when, and in which line of the history it stands.

Rules of this file: small, since a million of them are held at once; a moment that nothing bounds is infinite.
"""

from __future__ import annotations

from math import inf

import msgspec

from chaos.history import Op


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


class Message(msgspec.Struct, gc=False):
    """A message that was in a topic's queue: the `place`-th value of its publish, the `taken_place`-th of its receive.

    Queue order is that of `sequence`. Where nobody was told a message's own, it is that of one of the same publish, and
    `beside` says how many places behind (or, negative, in front of) that one it stands.
    """

    value: str
    published: Span
    place: int
    sequence: int | None = None
    beside: int = 0
    received: Span | None = None
    taken_place: int = 0
