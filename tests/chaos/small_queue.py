"""A queue in memory, as docs/semantics.md has it and as plain as can be: what random histories are made of.

It may be broken in one of these ways, and counts in `effects` how often that made a difference:

    early        a lease ends when half of it is over
    after_ack    an ack is answered, and the message stays leased
    double_ack   an ack is answered as done though the lease is over and somebody else has the message
    overtake     a group does not wait for the message that is leased
    lose         a message that is given back is gone
    ignore_delay a message that was published for later comes at once, one given back for later as well
    disorder     of messages never handed out the last one goes first
    bury_copy    a dead letter stays in its topic as well
    bury_early   a message is dead one delivery too soon
    lose_dead    a dead letter does not arrive

Rules of this file: every call names the moment at which it happens, and moments only grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LOST = "lease_lost"


@dataclass
class Stored:
    """A message in a topic. `ready_at`: not handed out before. `token`: of the delivery that has it now; `ran_out`: of
    the last one, if its lease ended by itself and nobody has had the message since."""

    value: str
    sequence: int
    group: str | None
    ready_at: float
    deliveries: int = 0
    token: str | None = None
    ran_out: str | None = None
    due: float = 0.0


@dataclass
class SmallTopic:
    """`most`, `grave`: after so many deliveries a message goes there."""

    most: int | None = None
    grave: str | None = None
    stored: list[Stored] = field(default_factory=list)
    last: int = 0
    told: dict[str, str] = field(default_factory=dict)
    """How the last delivery of each message that is gone ended, and those that were given back and wait: by token."""


class SmallQueue:
    """`broken`: one of the ways above."""

    def __init__(self, topics: dict[str, SmallTopic], broken: str | None = None) -> None:
        self.topics = topics
        self.broken = broken
        self.effects = 0
        self._at = 0.0
        self._leases = 0

    def publish(self, at: float, topic: str, values: list[str], groups: list[str | None], delay_s: float) -> list[int]:
        """-> sequences."""
        self._pass(at)
        if self.broken == "ignore_delay" and delay_s:
            self.effects, delay_s = self.effects + 1, 0.0
        into = self.topics[topic]
        for value, group in zip(values, groups or [None] * len(values), strict=True):
            into.last += 1
            into.stored.append(Stored(value, into.last, group, at + delay_s))
        return list(range(into.last - len(values) + 1, into.last + 1))

    def receive(self, at: float, topic: str, limit: int, lease_s: float) -> list[Stored]:
        """-> copies of what is leased now."""
        self._pass(at)
        source = self.topics[topic]
        taken: list[Stored] = []
        while len(taken) < limit and (found := self._next(source)) is not None:
            self._leases += 1
            found.deliveries += 1
            found.token = f"{topic}-{self._leases}-{found.sequence}-{found.deliveries}"
            found.ran_out = None
            found.due = at + lease_s / (2 if self.broken == "early" else 1)
            taken.append(Stored(found.value, found.sequence, found.group, 0, found.deliveries, found.token))
        return taken

    def _next(self, source: SmallTopic) -> Stored | None:
        free = [each for each in source.stored if each.token is None and each.ready_at <= self._at]
        first = {each.group: each for each in reversed(source.stored)}
        right = [each for each in free if each.group is None or first[each.group] is each]
        if self.broken == "overtake":
            self.effects += len(right) < len(free)
            right = free
        again = [each for each in right if each.deliveries]
        if self.broken == "disorder" and not again and len(right) > 1 and right[0].group is None:
            self.effects += 1
            return right[-1]
        return min(again or right, key=lambda each: each.sequence, default=None)

    def ack(self, at: float, topic: str, tokens: list[str]) -> list[str | None]:
        """-> codes."""
        return self._each(at, topic, tokens, "ack", 0.0)

    def nack(self, at: float, topic: str, tokens: list[str], delay_s: float) -> list[str | None]:
        """-> codes."""
        return self._each(at, topic, tokens, "nack", delay_s)

    def extend(self, at: float, topic: str, tokens: list[str], lease_s: float) -> list[str | None]:
        """-> codes."""
        return self._each(at, topic, tokens, "extend", lease_s)

    def count(self, at: float, topic: str) -> int:
        """-> how many are stored."""
        self._pass(at)
        return len(self.topics[topic].stored)

    def _each(self, at: float, topic: str, tokens: list[str], kind: str, seconds: float) -> list[str | None]:
        self._pass(at)
        return [self._settle(self.topics[topic], token, kind, seconds) for token in tokens]

    def _settle(self, source: SmallTopic, token: str, kind: str, seconds: float) -> str | None:
        held = next((each for each in source.stored if each.token == token), None)
        if held is None and kind == "ack":
            held = next((each for each in source.stored if each.ran_out == token), None)
        if held is None:
            if self.broken == "double_ack" and kind == "ack" and source.told.get(token) != "ack":
                self.effects += 1
                return None
            return None if source.told.get(token) == kind else LOST
        if kind == "extend":
            held.due = self._at + seconds
        elif kind == "nack":
            self._back(source, held, seconds, "nack")
        elif self.broken == "after_ack" and held.deliveries == 1:
            self.effects += 1
        else:
            source.stored.remove(held)
            source.told[token] = "ack"
        return None

    def _back(self, source: SmallTopic, held: Stored, delay_s: float, how: str) -> None:
        """Its delivery ended without an ack."""
        assert held.token is not None
        source.told = {token: ended for token, ended in source.told.items() if ended == "ack"}
        source.told[held.token] = how
        held.token, held.ran_out = None, held.token if how == "time" else None
        if self.broken == "ignore_delay" and delay_s:
            self.effects, delay_s = self.effects + 1, 0.0
        held.ready_at = self._at + delay_s
        if self.broken == "lose" and held.deliveries == 2:
            self.effects += 1
            source.stored.remove(held)
        most = source.most
        if self.broken == "bury_early" and most is not None and held.deliveries == most - 1:
            self.effects, most = self.effects + 1, most - 1
        if most is not None and source.grave is not None and held.deliveries >= most and held in source.stored:
            grave = self.topics[source.grave]
            if self.broken == "lose_dead":
                self.effects += 1
            else:
                grave.last += 1
                grave.stored.append(Stored(held.value, grave.last, held.group, self._at))
            if self.broken == "bury_copy":
                self.effects += 1
            else:
                source.stored.remove(held)

    def _pass(self, at: float) -> None:
        """Leases end, each at its time."""
        assert at >= self._at, "time goes on"
        while True:
            due = [
                (each.due, name, each)
                for name, topic in self.topics.items() for each in topic.stored if each.token and each.due <= at
            ]  # fmt: skip
            if not due:
                break
            moment, name, held = min(due, key=lambda one: (one[0], one[1], one[2].sequence))
            self._at = max(self._at, moment)
            self._back(self.topics[name], held, 0.0, "time")
            self.effects += self.broken == "early"
        self._at = at
