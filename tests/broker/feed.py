"""Feeding a machine by hand: indices and stamps are counted on, answers come back decoded."""

from __future__ import annotations

from app.broker import Item, Machine
from app.broker.commands import Command, CreateTopic, NewMessage, Publish, Receive, TopicSettings, encode
from app.broker.results import Published, PublishedMessage, Received, ReceivedMessage, Result, decode

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

    def create(self, name: str = "t", **settings: int) -> Result:
        return self.one(CreateTopic(name, TopicSettings(**settings)))

    def publish(self, *bodies: bytes, topic: str = "t", key: str | None = None) -> list[PublishedMessage]:
        answer = self.one(Publish(topic, [NewMessage(body) for body in bodies], key, b"f" if key else b""))
        assert isinstance(answer, Published), answer
        return answer.messages

    def receive(self, max: int = 1, topic: str = "t", key: str | None = None) -> list[ReceivedMessage]:
        answer = self.one(Receive(topic, max=max, key=key))
        assert isinstance(answer, Received), answer
        return answer.messages

    def fill(self, count: int, size_bytes: int = 100, topic: str = "t") -> None:
        """Publish that many messages, whose bodies begin with their number."""
        for start in range(0, count, 500):
            self.publish(*(b"%d:" % i + b"x" * size_bytes for i in range(start, min(start + 500, count))), topic=topic)
