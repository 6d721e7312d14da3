"""Each topic's messages: who published and who received each, and what is wrong with single ones.

Theory. Payloads are unique, so each message has one publish; where messages are done when they are handed out, a topic
is a first-in, first-out queue, and each has at most one receive:

    duplicate   received twice (or as in `published`)
    misfit      an answer that does not fit its request: more messages than asked for (or as in `published`)

What remains is one record a message, given to `fifo`, which decides whether one order fits all of them. A topic whose
messages are leased is another matter, and `leases` judges it.

Rules of this file: order and time are not judged here. Both ways to receive from one topic are the harness's mistake:
`HistoryError`.
"""

from __future__ import annotations

from chaos.checks.fifo import Fifo
from chaos.checks.findings import Findings
from chaos.checks.leases import Asked, Leases
from chaos.checks.operations import Span
from chaos.checks.published import Published
from chaos.history import HistoryError, Op, Topic


class Messages:
    """The queues of all topics."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._topics: dict[str, _Topic] = {}
        self._made: dict[str, Topic] = {}

    def made(self, topic: Topic) -> None:
        """How a topic was made."""
        self._made[topic.name] = topic

    def add(self, line: int, op: Op) -> None:
        """Any operation on messages."""
        topic = self._topic(op.topic)
        if op.kind == "publish":
            topic.published.add(line, op)
        elif op.kind == "receive":
            topic.receive(line, op)
        elif op.outcome != "fail":
            topic.look(line, op)

    def judge(self) -> None:
        """Say what is wrong, once all is added."""
        graves = {made.dead_letter_topic: self._topic(made.dead_letter_topic) for made in self._made.values()}
        leased = {
            name: Leases(topic.published, topic.asked, self._made.get(name), self._findings)
            for name, topic in self._topics.items()
            if topic.leases() or name in graves or name in self._made
        }
        for name, made in self._made.items():
            if name in leased:
                leased[name].bury_in(leased[made.dead_letter_topic])
        for topic in leased.values():
            topic.collect()
        for name in sorted(leased, key=lambda name: name in graves):
            leased[name].judge()
        for name, queue in self._topics.items():
            if name not in leased:
                queue.judge()

    def _topic(self, name: str) -> _Topic:
        if name not in self._topics:
            self._topics[name] = _Topic(name, self._findings)
        return self._topics[name]


class _Topic:
    def __init__(self, name: str, findings: Findings) -> None:
        self._name = name
        self._findings = findings
        self.published = Published(name, findings)
        self.asked = Asked([], [], [], [], [])
        self._ways: dict[bool, int] = {}
        """With a lease, without: where that was first done."""
        self._taken: list[tuple[Span, list[str], list[int]]] = []
        """Receives that brought messages, which were done with that."""

    def leases(self) -> bool:
        """Whether messages are handed out on a lease."""
        if len(self._ways) > 1:
            first = " and ".join(map(str, self._ways.values()))
            raise HistoryError(f"Lines {first} receive from {self._name!r} with a lease and without: choose one way.")
        return True in self._ways or bool(self.asked.settles)

    def receive(self, line: int, op: Op) -> None:
        leased = op.lease_s > 0
        self._ways.setdefault(leased, line)
        if op.outcome == "unknown":
            self.asked.takers.append(Span.of(line, op, op.max))
        elif op.outcome == "ok":
            if len(op.sequences) != len(op.values) or len(op.values) > op.max:
                text = f"{op.max} messages were asked for, {len(op.values)} with {len(op.sequences)} sequences came"
                self._findings.add("misfit", f"{text} ({self._name!r}).", line)
            # The answer to a later try leaves out what was leased to an earlier one and is settled by then.
            left_out = op.max - len(op.values) if leased and op.keyed and op.tries > 1 else 0
            if left_out > 0:
                self.asked.takers.append(Span.of(line, op, left_out))
            if not op.values:
                if not left_out:
                    self.asked.empty.append(Span.of(line, op, 0))
            elif leased:
                self.asked.receives.append((line, op))
            else:
                self._taken.append((Span.of(line, op, len(op.values)), op.values, op.sequences))

    def look(self, line: int, op: Op) -> None:
        """An operation on what was leased, or a count."""
        if op.kind != "count":
            self.asked.settles.append((line, op))
        elif op.left == 0:
            self.asked.nothing.append(Span.of(line, op, 0))

    def judge(self) -> None:
        for span, values, sequences in self._taken:
            self._take(span, values, sequences)
        order = self.published.in_order()
        empty = [*self.asked.empty, *self.asked.nothing]
        self._findings.look("messages published", sum(message.published.acknowledged for message in order))
        self._findings.look("messages received", sum(message.received is not None for message in order))
        self._findings.look("answers that nothing waits", len(empty))
        Fifo(self._name, order, self.asked.takers, empty, self._findings).judge()

    def _take(self, span: Span, values: list[str], sequences: list[int]) -> None:
        taken = 0
        for place, value in enumerate(values):
            message = self.published.took(span, value)
            if message is None:
                continue
            if message.received is not None:
                text = f"{self.published.of(value)} was received in line {message.received.line}, and again in line"
                self._findings.add("duplicate", f"{text} {span.line}.", message.received.line, span.line)
            else:
                self.published.place(message, span, sequences[place] if place < len(sequences) else None)
                message.received, message.taken_place = span, taken
                taken += 1
        span.size = taken
