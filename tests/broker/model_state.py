"""What the model knows: topics, messages, who has which of them, leases, answers kept under keys. Lists, no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from app.broker import dedup, messages
from app.broker.commands import PutSchedule, TopicSettings
from app.broker.messages import Attributes
from app.broker.results import DeadLetter, PublishedMessage


class Refusal(Exception):
    """Nothing is done; `first`: where the message is that has the dedup_id."""

    def __init__(self, code: str, first: PublishedMessage | None = None) -> None:
        super().__init__(code)
        self.code, self.first = code, first


@dataclass(eq=False)
class Lane:
    """What stands in line with a subscription: a group, or all messages without one together. `number`: a priority, or
    the order in which groups came up; it counts only where two things are due at once."""

    number: int
    group: str | None = None


PLAIN = Lane(0)


@dataclass(eq=False)
class Subscription:
    """One group of consumers. `number`: it has another after a purge, so that tokens of before are lost."""

    number: int
    name: str
    start: int
    line: list[Lane] = field(default_factory=lambda: [PLAIN])


@dataclass(eq=False)
class Stand:
    """Where a message stands with one subscription that is not done with it."""

    state: str = "ready"
    deliveries: int = 0
    nacked: bool = False
    due_ms: int | None = None


@dataclass(eq=False)
class Message:
    """`later_ms`: when it arrives; None once it has, and then it has a lane. `expired`: its
    time was over, and who had leased it then will see. `stands`: who is not done with it."""

    id: int
    sequence: int
    body: bytes
    binary: bool
    headers: dict[str, str] | None
    group: str | None
    priority: int
    published_ms: int
    expires_ms: int | None = None
    origin: DeadLetter | None = None
    later_ms: int | None = None
    expired: bool = False
    lane: Lane = PLAIN
    stands: dict[Subscription, Stand] = field(default_factory=dict)

    def size_bytes(self) -> int:
        """How large it is for the topic's limits: the one thing that only the real queue can say, since what a message
        carries beside its body counts as it is stored."""
        return messages.size_of(
            self.body,
            Attributes(self.binary, self.headers, self.group, self.priority, self.expires_ms, self.origin),
        )


@dataclass(eq=False)
class Schedule:
    number: int
    put: PutSchedule
    next_ms: int


@dataclass(eq=False)
class Topic:
    """`lanes`: those that have messages. `gone`: deleted subscriptions, whose messages are not cleared up yet."""

    number: int
    name: str
    settings: TopicSettings
    created_ms: int
    subscriptions: list[Subscription]
    version: int = 1
    next_sequence: int = 1
    messages: list[Message] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    gone: list[Subscription] = field(default_factory=list)
    last_arrival_ms: int = 0

    def subscription(self, name: str) -> Subscription | None:
        return next((each for each in self.subscriptions if each.name == name), None)

    def living(self, message: Message) -> list[Subscription]:
        """Who still needs it."""
        return [each for each in self.subscriptions if each in message.stands]

    def at(self, subscription: Subscription, lane: Lane, *states: str) -> list[Message]:
        """Those in a lane that are in one of these states for the subscription, in order."""
        found = []
        for each in self.messages:
            stand = each.stands.get(subscription)
            is_there = each.lane is lane if lane.group is not None else each.group is None
            if is_there and stand is not None and stand.state in states and each.later_ms is None:
                found.append(each)
        return found

    def counts(self, subscription: Subscription) -> dict[str, int]:
        """Its messages in each state."""
        states = [each.stands[subscription].state for each in self.messages if subscription in each.stands]
        return {state: states.count(state) for state in ("ready", "leased", "delayed", "dead")}


@dataclass(eq=False)
class Item:
    """A message that is leased."""

    message: Message
    deliveries: int
    due_ms: int


@dataclass(eq=False)
class Lease:
    number: int
    topic: Topic
    subscription: Subscription
    items: list[Item]

    def due_ms(self) -> int:
        return min(item.due_ms for item in self.items)


@dataclass(frozen=True)
class Token:
    """What a token stands for. `holder`: the subscription's number then."""

    holder: int
    lease: Lease
    message: Message
    deliveries: int


@dataclass(eq=False)
class Claim:
    owner: tuple[object, ...]
    fingerprint: object
    expires_ms: int
    answer: object


@dataclass(eq=False)
class Gathered:
    claims: list[Claim]
    wait: bool = False


class Claims:
    """Answers kept under keys, in the order in which they came, some of them together; the bounds are the machine's."""

    def __init__(self) -> None:
        self._rows: deque[list[Claim]] = deque()
        self._last: dict[tuple[object, ...], Claim] = {}
        self._gathered: Gathered | None = None
        self._waiting: list[Claim] = []

    def __len__(self) -> int:
        return sum(map(len, self._rows))

    def is_known(self, *owner: object) -> bool:
        """Whether there is a claim, or one that waits, be its time over."""
        return owner in self._last or any(claim.owner == owner for claim in self._waiting)

    def find(self, now_ms: int, *owner: object) -> Claim | None:
        claim = self._last.get(owner)
        return None if claim is None or claim.expires_ms <= now_ms else claim

    def remember(self, now_ms: int, window_ms: int, fingerprint: object, answer: object, *owner: object) -> None:
        claim = Claim(owner, fingerprint, now_ms + window_ms, answer)
        if self._gathered is None:
            self._add(now_ms, [claim])
        else:
            self._gathered.claims.append(claim)

    @contextmanager
    def gathered(self, now_ms: int) -> Iterator[Gathered]:
        """What is remembered meanwhile comes at the end: it waits for others, or else comes one after the other."""
        self._gathered = gathered = Gathered([])
        yield gathered
        self._gathered = None
        if gathered.wait:
            self._waiting += gathered.claims
        else:
            self.settle(now_ms)
            for claim in gathered.claims:
                self._add(now_ms, [claim])

    def settle(self, now_ms: int) -> None:
        """What waited comes: together, what is kept for equally long."""
        rows: dict[int, list[Claim]] = {}
        for claim in self._waiting:
            rows.setdefault(claim.expires_ms, []).append(claim)
        self._waiting = []
        for row in rows.values():
            for start in range(0, len(row), dedup.ROW_MAX):
                self._add(now_ms, row[start : start + dedup.ROW_MAX])

    def _add(self, now_ms: int, row: list[Claim]) -> None:
        self._rows.append(row)
        self._last.update({claim.owner: claim for claim in row})
        swept = 0
        while swept < dedup.SWEEP_MAX:
            oldest = self._rows[0]
            swept += len(oldest)
            if len(self) - len(oldest) < dedup.CLAIMS_MAX and oldest[0].expires_ms > now_ms:
                break
            for claim in self._rows.popleft():
                if self._last[claim.owner] is claim:
                    del self._last[claim.owner]


class Counters:
    """What is counted over the whole queue."""

    def __init__(self) -> None:
        self.topics, self.messages, self.leases, self.others = count(1), count(1), count(1), count(10)
