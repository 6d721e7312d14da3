"""What was published to one topic, and which of it was in the queue for sure.

Theory. Payloads are unique, so each message has one publish; the sequences that the cluster answered say where in the
queue it stood. What can be said of a message by itself is said here, in plain words:

    phantom     received, though nobody published it to this topic, or its publish surely failed
    duplicate   received under another sequence than it was acknowledged with
    misfit      an answer that does not fit its request: a message without its sequence

Which messages were in the queue at all: acknowledged ones, and received ones. A publish takes effect whole or not at
all, so one received message of an unacknowledged publish proves the others. An unacknowledged publish of which nothing
was ever received is left out, and nothing is lost by that: an order that contains it remains right without it, since
a message that nobody receives can only stand in somebody's way.

Rules of this file: order and time are not judged here. A history in which one payload was published twice is the
harness's mistake and no history: `HistoryError`.
"""

from __future__ import annotations

from operator import attrgetter

from chaos.checks.findings import Findings
from chaos.checks.operations import Message, Span
from chaos.history import HistoryError, Op


class Published:
    """The publishes to one topic."""

    def __init__(self, topic: str, findings: Findings) -> None:
        self.topic = topic
        self.messages: dict[str, Message] = {}
        self._findings = findings
        self._failed: dict[str, int] = {}
        """Values of publishes that surely failed, each with its line."""
        self._open: list[list[Message]] = []
        """Publishes of several messages that nobody was told the sequences of."""

    def add(self, line: int, op: Op) -> None:
        """A publish."""
        if op.outcome == "fail":
            self._failed.update((value, line) for value in op.values)
            return
        span = Span.of(line, op, len(op.values))
        known = op.outcome == "ok" and len(op.sequences) == len(op.values)
        sequences = op.sequences if known else [None] * len(op.values)
        groups = op.groups or [None] * len(op.values)
        batch = [
            Message(value, span, place, sequence, delay_s=op.delay_s, group=group)
            for place, (value, sequence, group) in enumerate(zip(op.values, sequences, groups, strict=True))
        ]
        if not known:
            self._open.append(batch)
        if op.outcome == "ok" and not known:
            text = f"{len(op.values)} messages were published, and {len(op.sequences)} sequences answered"
            self._findings.add("misfit", f"{text} ({self.topic!r}).", line)
        for message in batch:
            if self.messages.setdefault(message.value, message) is not message:
                first = self.messages[message.value].published.line
                raise HistoryError(f"Lines {first} and {line} publish {message.value!r}: publish each value once.")

    def took(self, span: Span, value: str) -> Message | None:
        """The message with this value, which was received; None, and said to be a phantom, if there is none."""
        message = self.messages.get(value)
        if message is None:
            line = self._failed.get(value)
            if line is None:
                self._findings.add("phantom", f"{self.of(value)} was received, but nobody published it.", span.line)
            else:
                text = f"{self.of(value)} was received, though its publish in line {line} surely failed"
                self._findings.add("phantom", f"{text}.", line, span.line)
        return message

    def place(self, message: Message, span: Span, sequence: int | None) -> None:
        """It was received under this sequence; None: under none."""
        if message.sequence is None:
            message.sequence = sequence
        elif sequence not in (message.sequence, None):
            text = f"{self.of(message.value)} has sequence {message.sequence}, but was received under {sequence}."
            self._findings.add("duplicate", text, message.published.line, span.line)

    def in_order(self) -> list[Message]:
        """All that were in the queue, in the order in which they stood there; asked once all were received."""
        for batch in self._open:
            _stand_together(batch)
        order = [message for message in self.messages.values() if message.sequence is not None]
        order.sort(key=attrgetter("sequence"))  # stable: those of one publish that share a sequence stay in its order
        return order

    def of(self, value: str) -> str:
        """A message's name in a sentence."""
        return f"{value!r} of topic {self.topic!r}"


def _stand_together(batch: list[Message]) -> None:
    """Give the messages of a publish, of which some were received, their places beside those."""
    known = [message for message in batch if message.sequence is not None]
    if not known:
        return
    nearest = known[0]
    for message in batch:
        if message.sequence is not None:
            nearest = message
        else:
            message.sequence, message.beside = nearest.sequence, message.place - nearest.place
