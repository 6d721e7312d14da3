"""Feeding a machine by hand: indices and stamps are counted on, answers come back decoded."""

from __future__ import annotations

from typing import Any

from app.broker import Item, Machine
from app.broker.commands import (
    Ack,
    Command,
    CreateSubscription,
    CreateTopic,
    Extend,
    Nack,
    NewMessage,
    Publish,
    Receive,
    Tick,
    TopicSettings,
    encode,
)
from app.broker.queries import SubscriptionInfo
from app.broker.results import Published, PublishedMessage, Received, ReceivedMessage, Refused, Result, Settled, decode

START_MS = 1_700_000_000_000


class Feed:
    """`now_ms` is the stamp of the next item; a test moves it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.now_ms = START_MS

    def items(self, *commands: Command) -> list[Item]:
        first, term = self.machine.applied_index + 1, max(1, self.machine.applied_term)
        return [Item(first + i, term, self.now_ms, encode(command)) for i, command in enumerate(commands)]

    def all(self, *commands: Command) -> list[Result]:
        """One apply call for all."""
        answers = self.machine.apply(self.items(*commands))
        return [decode(answer) for answer in answers if answer is not None]

    def one(self, command: Command) -> Result:
        return self.all(command)[0]

    def refused(self, command: Command) -> str:
        """The code of the refusal that this command gets."""
        answer = self.one(command)
        assert isinstance(answer, Refused), answer
        assert answer.detail
        return answer.code

    def create(self, name: str = "t", *subscriptions: str, **settings: Any) -> Result:
        """A topic, with these subscriptions beside "default"."""
        answer = self.one(CreateTopic(name, TopicSettings(**settings)))
        for each in subscriptions:
            self.one(CreateSubscription(name, each))
        return answer

    def publish(
        self, *messages: bytes | NewMessage, topic: str = "t", key: str | None = None, **attributes: Any
    ) -> list[PublishedMessage]:
        """Bodies get these attributes."""
        new = [NewMessage(each, **attributes) if isinstance(each, bytes) else each for each in messages]
        answer = self.one(Publish(topic, new, key, b"f" if key else b""))
        assert isinstance(answer, Published), answer
        return answer.messages

    def receive(
        self, max: int = 1, topic: str = "t", subscription: str = "default", key: str | None = None
    ) -> list[ReceivedMessage]:
        """Done when they are handed out."""
        return self.received(Receive(topic, subscription, max, key=key))

    def lease(
        self, max: int = 1, topic: str = "t", subscription: str = "default", lease_ms: int | None = None
    ) -> list[ReceivedMessage]:
        return self.received(Receive(topic, subscription, max, False, lease_ms))

    def received(self, command: Receive) -> list[ReceivedMessage]:
        answer = self.one(command)
        assert isinstance(answer, Received), answer
        assert not answer.more
        return answer.messages

    def bodies(self, max: int = 1000, topic: str = "t", subscription: str = "default") -> list[bytes]:
        """What is there, which then is done."""
        return [message.body for message in self.receive(max, topic, subscription)]

    def settled(self, command: Ack | Nack | Extend) -> list[str | None]:
        answer = self.one(command)
        assert isinstance(answer, Settled), answer
        return answer.codes

    def ack(self, *messages: ReceivedMessage, topic: str = "t") -> list[str | None]:
        return self.settled(Ack(topic, tokens(*messages)))

    def nack(self, *messages: ReceivedMessage, topic: str = "t", delay_ms: int = 0) -> list[str | None]:
        return self.settled(Nack(topic, tokens(*messages), delay_ms))

    def extend(self, *messages: ReceivedMessage, lease_ms: int, topic: str = "t") -> list[str | None]:
        return self.settled(Extend(topic, tokens(*messages), lease_ms))

    def tick(self, step_ms: int = 0) -> None:
        """So much later, what is due is done."""
        self.now_ms += step_ms
        self.one(Tick())

    def stored(self, topic: str = "t") -> int:
        """How many messages the topic holds."""
        info = self.machine.topic(topic)
        assert info is not None
        return info.messages

    def counts(self, topic: str = "t", subscription: str = "default") -> tuple[int, int, int, int]:
        """Its messages that are ready, leased, delayed, dead."""
        info = self.machine.topic(topic)
        assert info is not None
        found: SubscriptionInfo = next(each for each in info.subscriptions if each.name == subscription)
        return found.ready, found.leased, found.delayed, found.dead

    def fill(self, count: int, size_bytes: int = 100, topic: str = "t") -> None:
        """Publish that many messages, whose bodies begin with their number."""
        for start in range(0, count, 500):
            self.publish(*(b"%d:" % i + b"x" * size_bytes for i in range(start, min(start + 500, count))), topic=topic)


def tokens(*messages: ReceivedMessage) -> list[str]:
    return [message.token for message in messages if message.token is not None]
