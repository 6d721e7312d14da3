"""What is wrong with a topic's queue, in words: for each rule of `fifo` its name, its sentence, its lines.

    lost             acknowledged, never received, and gone
    torn             messages published or received together that do not stand together, or not all
    same_sequence    two messages with one place in the queue
    publisher_order  two messages of one publisher stand the other way round than it published them
    reordered        the same of two clients, or received the other way round than they stand
    phantom          received before its publish began
    stale_read       "nothing waits", though something did

Rules of this file: a sentence can be checked by hand with the lines it names; a message is called by its value.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaos.checks.findings import Findings
from chaos.checks.operations import Message, Span


@dataclass
class Conflict:
    """Places in the queue: what happened to `front` began too late for `behind`, the first of `times` such messages."""

    front: int
    behind: int
    times: int = 0


class Sentences:
    """About one topic's messages, given in queue order."""

    def __init__(self, topic: str, messages: list[Message], findings: Findings) -> None:
        self._topic = topic
        self._messages = messages
        self._findings = findings

    def _add(self, rule: str, text: str, *lines: int, times: int = 1) -> None:
        self._findings.add(rule, f"Topic {self._topic!r}: {text}.", *lines, times=times)

    def same_sequence(self, one: Message, other: Message) -> None:
        """Two messages with one sequence."""
        text = f"{one.value!r} and {other.value!r} both have sequence {one.sequence}"
        self._add("same_sequence", text, one.published.line, other.published.line)

    def torn(self, how: str, line: int, place: int) -> None:
        """The run of messages `how` ("published", "received") together in `line` breaks just before `place`."""
        near = self._messages[max(place - 1, 0) : place + 1]
        there = ", then ".join(f"{message.value!r} ({message.sequence})" for message in near)
        text = f"the messages {how} together in line {line} do not stand together in that order in the queue"
        self._add("torn", f"{text}: there stands {there}", line)

    def lost(self, message: Message, seen_empty: Span | None, behind: int) -> None:
        """`message` had gone when `seen_empty` saw the queue, or else when the one at place `behind` was received."""
        published = message.published.line
        if message.published.acknowledged:
            rule, what = "lost", f"{message.value!r}, acknowledged in line {published},"
        else:
            rule, what = "torn", f"{message.value!r}, published in line {published} with some that were received,"
        if seen_empty is not None:
            line, then = seen_empty.line, f"the queue was found empty in line {seen_empty.line}"
        else:
            other = self._messages[behind]
            line = other.received.line if other.received is not None else 0
            then = f"{other.value!r}, which stood behind it, was received in line {line}"
        text = f"{what} was never received, though {then}; and no receive of unknown outcome can have taken it"
        self._add(rule, text, published, line)

    def waiting(self, times: int) -> None:
        """So many messages were never received, and need not have been."""
        text = f"{times} messages of topic {self._topic!r} were never received, and no later receive found it empty"
        self._findings.lack(f"{text}: drain the topic before the history ends.")

    def conflict(self, kind: str, conflict: Conflict) -> None:
        """`kind`: two "publishes", two "receives", or "both", the publish in front and the receive behind."""
        front, behind = self._messages[conflict.front], self._messages[conflict.behind]
        late = (front.received if kind == "receives" else front.published) or front.published
        early = (behind.published if kind == "publishes" else behind.received) or behind.published
        rule, stands = "reordered", f"{front.value!r} stands before {behind.value!r}"
        if front is behind:
            rule, text = "phantom", f"{front.value!r} was received before its publish began"
        elif kind == "both":
            text = f"{stands}, but its publish began only after the other was received"
        elif kind == "receives":
            text = f"{stands}, but its receive began only after the other was received"
        else:
            text = f"{stands}, but its publish began only after the other was published"
            if late.client == early.client:
                rule, text = "publisher_order", f"{text}, both by {late.client}"
        text = f"{text} (line {early.line} ended at {early.end:.6f} s, line {late.line} began at {late.start:.6f} s)"
        more = f"; so it is with {conflict.times - 1} more" if conflict.times > 1 else ""
        self._add(rule, text + more, early.line, late.line, times=conflict.times)

    def stale(self, empty: Span, place: int, how: str) -> None:
        """`empty` was answered that nothing waits; the message at `place` did, as `how` says."""
        message = self._messages[place]
        when = f"line {empty.line} was answered that nothing waits, between {empty.start:.6f} s and {empty.end:.6f} s"
        if message.received is None:
            where, lines = f"published in line {message.published.line}", [message.published.line]
        else:
            lines = [message.published.line, message.received.line]
            where = f"published in line {lines[0]}, received in line {lines[1]}"
        self._add("stale_read", f"{when}, but {message.value!r} {how} ({where})", empty.line, *lines)
