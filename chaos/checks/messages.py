"""Each topic's messages: who published and who received each, and what is wrong with single ones.

Theory. A topic is a first-in, first-out queue. Payloads are unique, so each message has one publish and at most one
receive; the sequences that the cluster answered say where in the queue it stood. What can be said of a message without
looking at others is said here, in plain words:

    phantom     received, though nobody published it to this topic, or its publish surely failed
    duplicate   received twice, or received under another sequence than it was acknowledged with
    misfit      an answer that does not fit its request: more messages than asked for, a message without its sequence

What remains is one record a message, given to `fifo`, which decides whether one order fits all of them.

Which messages were in the queue at all: acknowledged ones, and received ones. A publish takes effect whole or not at
all, so one received message of an unacknowledged publish proves the others. An unacknowledged publish of which nothing
was ever received is left out, and nothing is lost by that: an order that contains it remains right without it, since
a message that nobody receives can only stand in somebody's way.

Rules of this file: order and time are not judged here. A history in which one payload was published twice is the
harness's mistake and no history: `HistoryError`.
"""

from __future__ import annotations

from operator import attrgetter

from chaos.checks.fifo import Fifo
from chaos.checks.findings import Findings
from chaos.checks.operations import Message, Span
from chaos.history import HistoryError, Op


class Messages:
    """The queues of all topics."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._topics: dict[str, _Topic] = {}

    def add(self, line: int, op: Op) -> None:
        """A publish or a receive."""
        topic = self._topics.get(op.topic)
        if topic is None:
            topic = self._topics[op.topic] = _Topic(op.topic, self._findings)
        if op.kind == "publish":
            topic.publish(line, op)
        else:
            topic.receive(line, op)

    def judge(self) -> None:
        """Say what is wrong, once all is added."""
        for topic in self._topics.values():
            topic.judge()


class _Topic:
    def __init__(self, name: str, findings: Findings) -> None:
        self._name = name
        self._findings = findings
        self._messages: dict[str, Message] = {}
        self._failed: dict[str, int] = {}
        """Values of publishes that surely failed, each with its line."""
        self._open: list[list[Message]] = []
        """Publishes of several messages that nobody was told the sequences of."""
        self._receives: list[tuple[Span, list[str], list[int]]] = []
        self._empty: list[Span] = []
        self._takers: list[Span] = []
        """Receives of unknown outcome."""

    def publish(self, line: int, op: Op) -> None:
        if op.outcome == "fail":
            self._failed.update((value, line) for value in op.values)
            return
        span = Span.of(line, op, len(op.values))
        known = op.outcome == "ok" and len(op.sequences) == len(op.values)
        if known:
            batch = [
                Message(value, span, place, sequence)
                for place, (value, sequence) in enumerate(zip(op.values, op.sequences, strict=True))
            ]
        else:
            batch = [Message(value, span, place) for place, value in enumerate(op.values)]
            self._open.append(batch)
        if op.outcome == "ok" and not known:
            text = f"{len(op.values)} messages were published, and {len(op.sequences)} sequences answered"
            self._findings.add("misfit", f"{text} ({self._name!r}).", line)
        for message in batch:
            if self._messages.setdefault(message.value, message) is not message:
                first = self._messages[message.value].published.line
                raise HistoryError(f"Lines {first} and {line} publish {message.value!r}: publish each value once.")

    def receive(self, line: int, op: Op) -> None:
        if op.outcome == "unknown":
            self._takers.append(Span.of(line, op, op.max))
        elif op.outcome == "ok":
            span = Span.of(line, op, len(op.values))
            if len(op.sequences) != len(op.values) or len(op.values) > op.max:
                text = f"{op.max} messages were asked for, {len(op.values)} with {len(op.sequences)} sequences came"
                self._findings.add("misfit", f"{text} ({self._name!r}).", line)
            if op.values:
                self._receives.append((span, op.values, op.sequences))
            else:
                self._empty.append(span)

    def judge(self) -> None:
        for span, values, sequences in self._receives:
            self._take(span, values, sequences)
        for batch in self._open:
            _stand_together(batch)
        order = [message for message in self._messages.values() if message.sequence is not None]
        order.sort(key=attrgetter("sequence"))  # stable: those of one publish that share a sequence stay in its order
        self._findings.look("messages published", sum(message.published.acknowledged for message in order))
        self._findings.look("messages received", sum(message.received is not None for message in order))
        self._findings.look("answers that nothing waits", len(self._empty))
        Fifo(self._name, order, self._takers, self._empty, self._findings).judge()

    def _take(self, span: Span, values: list[str], sequences: list[int]) -> None:
        taken = 0
        for place, value in enumerate(values):
            message = self._messages.get(value)
            sequence = sequences[place] if place < len(sequences) else None
            if message is None:
                self._phantom(span, value)
            elif message.received is not None:
                text = f"{self._of(value)} was received in line {message.received.line}, and again in line {span.line}"
                self._findings.add("duplicate", f"{text}.", message.received.line, span.line)
            else:
                if message.sequence is None:
                    message.sequence = sequence
                elif sequence not in (message.sequence, None):
                    text = f"{self._of(value)} has sequence {message.sequence}, but was received under {sequence}."
                    self._findings.add("duplicate", text, message.published.line, span.line)
                message.received, message.taken_place = span, taken
                taken += 1
        span.size = taken

    def _phantom(self, span: Span, value: str) -> None:
        line = self._failed.get(value)
        if line is None:
            self._findings.add("phantom", f"{self._of(value)} was received, but nobody published it.", span.line)
        else:
            text = f"{self._of(value)} was received, though its publish in line {line} surely failed"
            self._findings.add("phantom", f"{text}.", line, span.line)

    def _of(self, value: str) -> str:
        return f"{value!r} of topic {self._name!r}"


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
