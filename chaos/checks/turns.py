"""The order in which a topic hands out messages that it leases: plain ones in a line, those of a group one at a time.

    reordered   two plain messages, both handed out for the first time, the other way round than they stand
    overtaken   a message of a group was handed out while one in front of it was not done
    stale_read  "nothing waits", though a plain message did that nobody had ever had

Theory. A plain message has no group and was published without a delay. It can be handed out from its publish on, and
those never handed out before go in the order of their sequences: so the moments of first deliveries grow along the
line. A message was first handed out by the end of any of its receives, and not before the start of the one that says
that it was the first.

In a group the next message may go when the one before is gone from the topic, by an ack or as a dead letter: `gone` is
the earliest moment for that, which `leases` knows.

Rules of this file: one pass along the line; what stands in front bounds all that stands behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from chaos.checks.lease_sentences import LeaseSentences
from chaos.checks.operations import Looks, Message


def first_over(message: Message) -> float:
    """By when it surely had been handed out."""
    return min((each.receive.end for each in message.hands or ()), default=inf)


class Turns:
    """One topic's messages in the order in which they stand."""

    def __init__(self, messages: Sequence[Message], say: LeaseSentences) -> None:
        self._messages = messages
        self._say = say
        self._conflicts: dict[int, tuple[str, Message, Message, int]] = {}

    def judge(self, gone: Iterable[float], empty: Looks) -> None:
        """Say what is wrong. `gone`: for each message, from when on it may have left the topic."""
        self._plain(empty)
        self._groups(gone)
        for rule, front, behind, times in self._conflicts.values():
            (self._say.reordered if rule == "reordered" else self._say.overtaken)(front, behind, times)

    def _plain(self, empty: Looks) -> None:
        late, late_by = -inf, -1
        seen: set[int] = set()
        for i, message in enumerate(self._messages):
            if message.group is not None or message.delay_s or not message.hands:
                continue
            if first_over(message) < late:
                self._conflict("reordered", late_by, i)
            first = message.hands[0]
            if first.number != 1:
                continue
            if first.receive.start > late:
                late, late_by = first.receive.start, i
            look = empty.after(message.published.end)
            if look is not None and look.end < first.receive.start and look.line not in seen:
                seen.add(look.line)
                self._say.stale(look, message)

    def _groups(self, gone: Iterable[float]) -> None:
        late: dict[str, tuple[float, int]] = {}
        for i, (message, at) in enumerate(zip(self._messages, gone, strict=True)):
            if message.group is None:
                continue
            before, by = late.get(message.group, (-inf, -1))
            if first_over(message) < before:
                self._conflict("overtaken", by, i)
            if at > before:
                late[message.group] = at, i

    def _conflict(self, rule: str, front: int, behind: int) -> None:
        one, other, times = self._messages[front], self._messages[behind], 0
        if front in self._conflicts:
            _, one, other, times = self._conflicts[front]
        self._conflicts[front] = rule, one, other, times + 1
