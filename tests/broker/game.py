"""One log played on the machine and on the model at once; whoever answers otherwise is wrong."""

from __future__ import annotations

from random import Random

from app.broker import Item, Machine
from app.broker.commands import decode
from app.broker.results import decode as decode_result
from tests.broker.logs import TOPICS, Author
from tests.broker.model import Model
from tests.broker.names import Names


class Game:
    """Plays what an Author says. Tokens and the ids of schedules are each side's own: they are held side by side."""

    def __init__(self, random: Random, model: Model, *, deletes: bool = True) -> None:
        self.machine, self.model = Machine.open(":memory:"), model
        self.author = Author(random, self.machine, deletes=deletes)
        self.items: list[Item] = []
        self.names = Names(self.schedule)
        self.heard: set[str] = set()
        self.known: set[tuple[str, int]] = set()
        for name in set(TOPICS):
            self.machine.watch(name, self.heard.add)

    def step(self) -> None:
        """One entry; the answers are the same, and whoever waits for messages was told."""
        item = self.author.item()
        self.items.append(item)
        self.heard.clear()
        answer = self.machine.apply([item])[0]
        self.author.hear(item, answer)
        if item.command is None:
            self.model.nothing(item.time_ms)
            assert answer is None
        else:
            expected = self.model.apply(item.time_ms, self.names.command(item.command))
            assert answer is not None
            given = self.names.answer(decode_result(answer), expected)
            assert given == expected, (item.index, decode(item.command), given, expected)
        before, self.known = self.known, self.available()
        assert {topic for topic, _ in self.known - before} <= self.heard, item

    def available(self) -> set[tuple[str, int]]:
        """Topics and subscriptions that have a message to hand out."""
        return {
            (topic.name, each.number)
            for topic in self.model.topics.values()
            for each in topic.subscriptions
            if self.model.has_something(topic, each)
        }

    def schedule(self, id: int) -> int:
        """The model's number of the machine's schedule."""
        for topic in self.model.topics.values():
            names = [info.name for info in self.machine.schedules(topic.name) if info.id == id]
            for schedule in topic.schedules:
                if schedule.put.name in names:
                    return schedule.number
        return 1 << 50

    def check(self) -> None:
        """Everything that can be asked of both."""
        machine, model = self.machine, self.model
        assert (machine.applied_index, machine.time_ms) == (len(self.items), model.now_ms)
        topics = sorted(model.topics.values(), key=lambda topic: topic.number)
        assert [info.name for info in machine.topics()] == [topic.name for topic in topics]
        for topic, info in zip(topics, machine.topics(), strict=True):
            assert info == machine.topic(topic.name)
            assert (info.settings, info.created_ms, info.version) == (topic.settings, topic.created_ms, topic.version)
            assert (info.next_sequence, info.messages) == (topic.next_sequence, len(topic.messages))
            assert info.size_bytes == sum(message.size_bytes() for message in topic.messages)
            assert info.oldest_ms == (topic.messages[0].published_ms if topic.messages else None)
            assert [(each.name, each.start) for each in info.subscriptions] == [
                (each.name, each.start) for each in topic.subscriptions
            ]
            for each, own in zip(topic.subscriptions, info.subscriptions, strict=True):
                states = {"ready": own.ready, "leased": own.leased, "delayed": own.delayed, "dead": own.dead}
                assert states == topic.counts(each)
                page = machine.peek(topic.name, each.name, 0, 1000, {})
                assert page is not None and page.next is None
                assert [(seen.message.id, seen.state) for seen in page.items] == [
                    (str(message.id), message.stands[each].state if each in message.stands else "done")
                    for message in topic.messages
                ]
            assert [(each.name, each.next_ms) for each in machine.schedules(topic.name)] == sorted(
                (each.put.name, each.next_ms) for each in topic.schedules
            )
        counts = machine.counts()
        assert (counts.topics, counts.claims) == (len(topics), len(model.claims))
        assert machine.next_due_ms <= model.next_due_ms()
        assert machine.audit() == machine.state_hash()[1]

    def close(self) -> None:
        self.machine.close()
