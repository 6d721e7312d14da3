"""Random logs, crowded on purpose: few names, few keys, few groups, spans about as long as the steps of time.

What a command says depends on what was answered before: tokens are those that were handed out, a Fire names a schedule
that is there. So a log is written while it is played: an Author says the next command, and hears the answers. It draws
from a `random.Random`: a seeded one, which is fast, or one of hypothesis, which makes a failing log short.

No log has a little of everything: each Author has moods, kinds of commands and settings that he prefers or leaves out,
since much shows only where one thing happens often. (Groce et al., "Swarm testing", 2012)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from app.broker import Item, Machine, choice, dead_letters, dedup, handlers, overflow, packs, schedules, subscriptions
from app.broker.commands import (
    Ack,
    Acks,
    ChangeTopic,
    Command,
    CreateSubscription,
    CreateTopic,
    DeleteSchedule,
    DeleteSubscription,
    DeleteTopic,
    Extend,
    Fire,
    Keyed,
    Nack,
    NewMessage,
    Once,
    Publish,
    Publishes,
    PublishKeyed,
    Purge,
    PutSchedule,
    Receive,
    Receives,
    Redrive,
    SettingsChange,
    Tick,
    TopicSettings,
    encode,
)
from app.broker.commands import decode as decode_command
from app.broker.results import Each, Received, Result, decode

START_MS = 1_700_000_000_000
NEVER_REACHED = 1 << 40
BESIDE, IN_A_TICK = 2, 5
"""Small bounds for what is due."""

TOPICS = ["a", "a", "a", "a", "b", "b", "dead"]
SUBSCRIPTIONS = ["default", "s", "t", "u"]
STEPS_MS = [[0, 0, 0, 0, 0, 1, 400, 999, 1000, 2500, -5000], [0] * 20 + [3000], [0, 0, 1, 500]]
SETTINGS: dict[str, list[Any]] = {
    "lease_ms": [1, 1000, 3000, 3000],
    "delay_ms": [0, 0, 0, 1000],
    "ttl_ms": [None, None, None, 1500],
    "max_messages": [None, 2, 5, 10, 20, 30],
    "max_bytes": [None, None, None, 40, 200],
    "overflow": ["reject", "drop_oldest", "drop_oldest"],
    "max_deliveries": [None, 1, 2, 2, 3],
    "dead_letter_topic": [None, "dead", "dead", "dead", "b", "nowhere"],
    "dedup_window_ms": [1000, 5000],
}
ODD_TOKENS = ["", "x", "1-2-3-4", "1-2-3-4-g", "1-2-3-4--5", "-1-2-3-4-5", "1" * 400, "A-1-1-1-1", "１-1-1-1-1"]
WITHOUT_TRACE = {"deletetopic", "purge", "deletesubscription"}
"""What these leave behind is cleared up later."""
WITH_TOKENS = {"ack", "acks", "nack", "extend", "once"}
"""Not to be spoiled: a token that is none, but reads like one, is for `test_leases`."""
WEIGHTS = {
    "publish": 24, "publishkeyed": 10, "publishes": 8, "receive": 20, "receives": 10, "ack": 6, "acks": 5, "nack": 12,
    "extend": 3, "tick": 4, "createtopic": 2, "changetopic": 3, "deletetopic": 1, "purge": 1, "redrive": 4,
    "createsubscription": 5, "deletesubscription": 4, "putschedule": 1, "deleteschedule": 1, "fire": 2, "once": 4,
    "nothing": 2,
}  # fmt: skip


def narrow(patch: pytest.MonkeyPatch, *, due_too: bool) -> None:
    """Bounds so small that every log runs into them. `due_too`: those on what is due as well; else they are never
    reached."""
    patch.setattr(dedup, "CLAIMS_MAX", 8)
    patch.setattr(dedup, "SWEEP_MAX", 3)
    patch.setattr(dedup, "ONCE_WINDOW_MS", 4000)
    patch.setattr(packs, "LEAST", 2)
    patch.setattr(packs, "TOGETHER", 2)
    patch.setattr(packs, "MESSAGES", 6)
    patch.setattr(packs, "BYTES", 100)
    patch.setattr(choice, "RECEIVE_BYTES", 40)
    patch.setattr(choice, "SKIPS_MAX", 2)
    patch.setattr(overflow, "DROPS_MAX", 6)
    patch.setattr(overflow, "DROPS_BYTES", 40)
    patch.setattr(dead_letters, "RETRY_MS", 2000)
    patch.setattr(subscriptions, "SLOTS", 3)
    patch.setattr(schedules, "SCHEDULES_MAX", 2)
    patch.setattr(handlers, "ROWS_BESIDE", BESIDE if due_too else NEVER_REACHED)
    patch.setattr(handlers, "ROWS_IN_A_TICK", IN_A_TICK if due_too else NEVER_REACHED)


class Author:
    """Says what comes next in a log for this machine."""

    def __init__(self, random: Random, machine: Machine, *, deletes: bool = True) -> None:
        """`deletes`: whether topics and subscriptions are deleted, and topics purged."""
        self._random, self._machine = random, machine
        kinds = {kind: weight for kind, weight in WEIGHTS.items() if deletes or kind not in WITHOUT_TRACE}
        self._kinds = list(kinds)
        self._weights = [weight * random.choice([0, 1, 1, 1, 4] if weight < 20 else [1]) for weight in kinds.values()]
        self._settings = {
            name: random.sample(values, random.randint(1, len(values))) for name, values in SETTINGS.items()
        }
        self._groups = random.choice([[None], [None, "g", "h"], [None, None, None, "g"], ["g", "g", "h", None]])
        self._rarely = {name: random.choice([2, 8, 8, 1000]) for name in ("headers", "dedup", "delay", "ttl", "key")}
        self._sizes = random.choice([[1, 1, 1, 2, 3, 5], [1], [1, 4, 12, 20]])
        self._steps_ms = random.choice(STEPS_MS)
        self._is_forgetful = random.choice([10, 30])
        self._lately: list[bytes] = []
        self.tokens: list[tuple[str, str]] = []
        """With their topics."""
        self._leases: list[tuple[str, list[str]]] = []
        """Topic and tokens of the last ones."""
        self._time_ms, self._term = START_MS, 1
        self._beginning = [CreateTopic(name, self.settings()) for name in ("dead", "a", "b")]

    def item(self) -> Item:
        """The next entry, whatever it carries."""
        self._time_ms += self._random.choice(self._steps_ms)
        self._term += self._one_in(50)
        command, configuration = None, None
        if self._beginning:
            command = encode(self._beginning.pop(0))
        elif self._lately and self._one_in(self._is_forgetful):
            command = self._random.choice(self._lately)  # he does not know what became of it
        else:
            kind = self._random.choices(self._kinds, self._weights)[0]
            if kind != "nothing":
                command = encode(getattr(self, kind)())
                if kind not in WITH_TOKENS and self._one_in(60):
                    command = self._spoil(command)
            elif self._one_in(2):
                configuration = self._random.choice([b"one", b"two"])
        self._lately = [*self._lately[-5:], command] if command is not None else self._lately
        return Item(self._machine.applied_index + 1, self._term, self._time_ms, command, configuration)

    def hear(self, item: Item, answer: bytes | None) -> None:
        """Tokens in an answer are for later."""
        result = None if answer is None else decode(answer)
        if isinstance(result, Received | Each) and item.command is not None:
            command = decode_command(item.command)
            if isinstance(command, Receive):
                self._note(command.topic, result)
            elif isinstance(command, Receives) and isinstance(result, Each):
                for receive, each in zip(command.receives, result.answers, strict=True):
                    self._note(receive.topic, decode(each))

    def _note(self, topic: str, result: Result) -> None:
        if isinstance(result, Received):
            tokens = [each.token for each in result.messages if each.token is not None]
            self.tokens += [(topic, token) for token in tokens]
            if tokens:
                self._leases = [*self._leases[-11:], (topic, tokens)]

    def _one_in(self, chances: int) -> bool:
        return self._random.randrange(chances) == chances - 1

    def _now_and_then(self, what: str) -> bool:
        return self._one_in(self._rarely[what])

    def _key(self) -> str | None:
        return self._random.choice(["k", "l", "m"]) if self._now_and_then("key") else None

    def _spoil(self, command: bytes) -> bytes:
        place = self._random.randrange(len(command))
        return command[:place] + bytes([self._random.randrange(256)]) + command[place + 1 :]

    def _topic(self) -> str:
        return self._random.choice(TOPICS)

    def _name(self) -> str:
        return self._random.choice(["", "a\0", "x" * 513] if self._one_in(50) else SUBSCRIPTIONS)

    def settings(self, **fixed: Any) -> TopicSettings:
        drawn = {name: self._random.choice(values) for name, values in self._settings.items()}
        return TopicSettings(**(drawn | fixed), priorities=self._one_in(3))

    def message(self, topic: str) -> NewMessage:
        """Mostly one that goes together, and with its topic."""
        random = self._random
        body = random.choice([b"", b"1", b"22", b"null", b"x" * 15, b"y" * 30])
        headers = random.choice([{}, {"h": "1"}, {"g": "2", "h": "1"}]) if self._now_and_then("headers") else None
        group = random.choice(self._groups)
        dedup_id = random.choice(["d", "e"]) if self._now_and_then("dedup") else None
        is_odd = self._one_in(80)
        delays_ms = [0] if group and not is_odd else [0, 0, 1, 1000]
        delay_ms = random.choice(delays_ms) if self._now_and_then("delay") else None
        ttl_ms = random.choice([1, 1000, 3000]) if self._now_and_then("ttl") else None
        found = self._machine.topic(topic)
        has_priorities = found is not None and found.settings.priorities
        priority = random.choice([0, 1, 5, 9]) if is_odd or (has_priorities and not group) else 0
        return NewMessage(body, self._one_in(4), headers, group, dedup_id, delay_ms, ttl_ms, priority)

    def _some_tokens(self) -> tuple[str, list[str]]:
        """A topic and tokens, mostly its own, mostly the last ones."""
        random = self._random
        topic = self._topic()
        tokens = [token for name, token in self.tokens if name == topic or self._one_in(100)]
        chosen: list[str] = []
        for _ in range(random.choice([1, 1, 2, 3])):
            if not tokens or self._one_in(30):
                chosen.append(random.choice(ODD_TOKENS))
            else:
                last = min(len(tokens), random.choice([1, 2, 2, 4, 8, 100]))
                chosen.append(tokens[-1 - random.randrange(last)])
        return topic, chosen

    def _subscription(self, topic: str) -> str:
        """Mostly one that is there."""
        found = self._machine.topic(topic)
        if found is None or self._one_in(12):
            return self._name()
        return self._random.choice(found.subscriptions).name

    # --- one method for each kind of command

    def createtopic(self) -> CreateTopic:
        there = {info.name for info in self._machine.topics()}
        missing = [name for name in TOPICS if name not in there] or TOPICS
        return CreateTopic(self._name() if self._one_in(20) else self._random.choice(missing), self.settings())

    def changetopic(self) -> ChangeTopic:
        names = self._random.sample(list(SETTINGS), 2)
        change = SettingsChange(**{name: self._random.choice(self._settings[name]) for name in names})
        return ChangeTopic(self._topic(), change, self._random.choice([None, None, 1, 2]))

    def deletetopic(self) -> DeleteTopic:
        return DeleteTopic(self._topic())

    def purge(self) -> Purge:
        return Purge(self._topic())

    def publish(self) -> Publish:
        key, print_ = self._key(), self._random.choice([b"1", b"1", b"2"])
        topic = self._topic()
        messages = [self.message(topic) for _ in range(self._random.choice(self._sizes))]
        return Publish(topic, messages, key, print_, not self._one_in(4))

    def publishkeyed(self) -> PublishKeyed:
        topic, new_keys = self._topic(), self._random.choice([["k", "l", "m"], list(map(str, range(300)))])
        count = self._random.choice([*self._sizes, 8])
        keys = [self._random.choice(new_keys) for _ in range(count)]
        return PublishKeyed(topic, [Keyed(self.message(topic), key, b"12"[self._one_in(8) :][:1]) for key in keys])

    def publishes(self) -> Publishes:
        several = range(self._random.choice([1, 2, 3]))
        return Publishes([self.publish() if self._one_in(2) else self.publishkeyed() for _ in several])

    def receive(self) -> Receive:
        random = self._random
        count, auto_ack = random.choice([1, 1, 2, 3, 6, 12]), self._one_in(3)
        lease_ms, key = random.choice([None, None, 1, 2000]), self._key()
        topic = self._topic()
        return Receive(topic, self._subscription(topic), count, auto_ack, lease_ms, key, self._one_in(2))

    def receives(self) -> Receives:
        several = range(self._random.choice([1, 2, 3, 4]))
        first = self.receive()
        return Receives([first if self._one_in(2) else self.receive() for _ in several])

    def ack(self) -> Ack:
        return Ack(*self._some_tokens())

    def acks(self) -> Acks:
        """Mostly what was handed out last, each lease whole."""
        if not self._leases or self._one_in(3):
            return Acks([self.ack() for _ in range(self._random.choice([1, 2, 3, 4]))])
        return Acks([Ack(topic, tokens) for topic, tokens in self._leases[-self._random.choice([1, 2, 4, 12]) :]])

    def nack(self) -> Nack:
        return Nack(*self._some_tokens(), self._random.choice([0, 0, 1, 1500]))

    def extend(self) -> Extend:
        return Extend(*self._some_tokens(), self._random.choice([1, 1000, 5000]))

    def redrive(self) -> Redrive:
        topic = self._random.choice(["dead", "dead", "a", "b"])
        to = None if self._random.randrange(4) else self._random.choice(["a", "b", "nowhere"])
        return Redrive(topic, self._random.choice([1, 2, 1000]), self._random.choice([0, 0, 3]), to)

    def createsubscription(self) -> CreateSubscription:
        start = self._random.choice(["earliest", "earliest", "latest", 1, 5, 1 << 60])
        return CreateSubscription(self._topic(), self._name(), start)

    def deletesubscription(self) -> DeleteSubscription:
        topic = self._topic()
        return DeleteSubscription(topic, self._subscription(topic))

    def putschedule(self) -> PutSchedule:
        topic, first_ms = self._topic(), self._random.choice([0, 5])
        return PutSchedule(topic, self._name(), "* * * * *", "UTC", self.message(topic), first_ms)

    def deleteschedule(self) -> DeleteSchedule:
        return DeleteSchedule(self._topic(), self._random.choice(SUBSCRIPTIONS))

    def fire(self) -> Fire:
        there = [each for topic in set(TOPICS) for each in self._machine.schedules(topic)]
        there.sort(key=lambda each: each.id)
        if not there or self._one_in(8):
            return Fire(1 << 50, 0, "never", 1)
        chosen = self._random.choice(there)
        tick_ms = chosen.next_ms + self._one_in(4)
        return Fire(chosen.id, tick_ms, f"tick {tick_ms}", tick_ms + 5)

    def tick(self) -> Tick:
        return Tick()

    def once(self) -> Once:
        kind = self._random.choices(self._kinds, self._weights)[0]
        inner: Command = self.ack() if kind == "nothing" else getattr(self, kind)()
        key, print_ = self._random.choice(["k", "l", "m", "n"]), self._random.choice([b"1", b"2"])
        return Once(key, print_, encode(inner) if not self._one_in(20) else b"?")


def written(random: Random, size: int, **how: bool) -> list[Item]:
    """A log of that many entries."""
    machine = Machine.open(":memory:")
    author = Author(random, machine, **how)
    items = []
    for _ in range(size):
        items.append(author.item())
        author.hear(items[-1], machine.apply(items[-1:])[0])
    machine.close()
    return items


def cut(random: Random, items: Sequence[Item]) -> list[list[Item]]:
    """The same log in some batches."""
    cuts = sorted({random.randrange(1, len(items)) for _ in range(random.randrange(12))}) if len(items) > 1 else []
    return [list(items[low:high]) for low, high in pairwise([0, *cuts, len(items)])]
