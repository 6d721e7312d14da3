"""Clients: each does one operation after another, through any node, and remembers what it was told.

A keyed operation whose outcome is unknown is repeated under its key until its fate is told, at another node. An unkeyed
one is left unknown. Every command but a create has bytes of its own, so it can be found again in the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.broker.commands import (
    CreateTopic,
    DeleteTopic,
    Keyed,
    NewMessage,
    Once,
    Publish,
    Publishes,
    PublishKeyed,
    Receive,
    Redrive,
    TopicSettings,
    encode,
)
from app.broker.results import decode as decode_result
from app.node.errors import NodeError, OutcomeUnknown
from tests.sim.plan import MS, SECOND
from tests.sim.service import Errand
from tests.sim.work import CREATES, Worker

if TYPE_CHECKING:
    from tests.sim.world import World

TOPICS = ("t0", "t1")
"""Made at the beginning and never deleted: what is published here is accounted for."""
SCRATCH = "scratch"
"""Made and deleted again and again; its keys are honoured for a second only."""
WORK_SHARE = 0.4
_FIRST = [*((topic, encode(CreateTopic(topic))) for topic in TOPICS), *CREATES.items()]
_CREATE_SCRATCH = encode(CreateTopic(SCRATCH, TopicSettings(dedup_window_ms=1000)))


@dataclass(slots=True, eq=False)
class Operation:
    """`floor`: how much was committed anywhere when it was first sent. `refused`: surely not in the log."""

    name: str
    topic: str
    command: bytes | None
    grows: bool = False
    keyed: bool = False
    floor: int = 0
    attempts: int = 0
    doubted: bool = False
    answer: bytes | None = None
    done: bool = False
    refused: bool = False
    bodies: list[bytes] = field(default_factory=list)


class Client:
    """One client. It goes on until `world.closing`, then only ends what it began."""

    def __init__(self, world: World, number: int):
        self.world, self.number = world, number
        self.history: list[Operation] = []
        self._made = 0
        self._worker = Worker(number, world.rng)
        self._attempt = 0
        self._home = number % world.plan.nodes

    def begin(self) -> None:
        """Do the next operation."""
        if self.world.closing:
            self.world.clients_done += 1
            return
        self._start(self._next_operation())

    def _start(self, operation: Operation) -> None:
        operation.floor = self.world.checks.committed
        self.history.append(operation)
        self._send(operation)

    def _next_operation(self) -> Operation:
        self._made += 1
        if self._made <= len(_FIRST):
            topic, command = _FIRST[self._made - 1]
            return Operation("create", topic, command, grows=True)
        rng = self.world.rng
        if rng.random() < WORK_SHARE:
            name, work, keyed, bodies = self._worker.next()
            return Operation(name, "work", encode(work), grows=name == "work", keyed=keyed, bodies=bodies)
        choice = rng.random()
        topic = SCRATCH if rng.random() < 0.15 else rng.choice(TOPICS)
        if topic == SCRATCH and choice < 0.25:
            if rng.random() < 0.6:
                return Operation("create", topic, _CREATE_SCRATCH, grows=True)
            return Operation("delete", topic, encode(DeleteTopic(topic)))
        if choice < 0.5:
            return self._publish(topic)
        if choice < 0.85:
            return self.receive(topic, 1 if rng.random() < 0.7 else 5)
        return Operation("read", topic, None)

    def _publish(self, topic: str) -> Operation:
        """A batch, or what the API makes of publishes of several clients (`app.api.joined`)."""
        rng = self.world.rng
        name = f"{self.number}.{self._made}"
        count = 1 if rng.random() < 0.8 else rng.randint(2, 4)
        padding = "x" * (300 if rng.random() < 0.05 else 0)
        bodies = [f'"{name}.{i}{padding}"'.encode() for i in range(count)]
        key = f"k{name}" if rng.random() < 0.6 else None
        messages = [NewMessage(body) for body in bodies]
        joined = count > 1 and self._made % 2 == 0
        command: Publish | PublishKeyed | Publishes
        if joined and key is not None:
            print_ = name.encode()
            command = PublishKeyed(topic, [Keyed(each, f"{key}.{i}", print_) for i, each in enumerate(messages)])
        else:
            command = Publish(topic, messages, key, name.encode() if key else b"", not joined)
        if joined and self._made % 4 == 0:
            command = Publishes([command])
        return Operation("publish", topic, encode(command), grows=True, keyed=key is not None, bodies=bodies)

    def receive(self, topic: str, most: int, keyed: bool | None = None) -> Operation:
        """The next messages of a topic. The lease, of no effect here, makes the command's bytes its own."""
        self._made += 1
        nonce = self.number * 1_000_000 + self._made
        if keyed is None:
            keyed = self.world.rng.random() < 0.6
        key = f"r{nonce}" if keyed else None
        command = Receive(topic, max=most, lease_ms=nonce, key=key, final=True)
        return Operation("receive", topic, encode(command), keyed=keyed)

    def _send(self, operation: Operation) -> None:
        world, rng = self.world, self.world.rng
        operation.attempts += 1
        self._attempt += 1
        if rng.random() < 0.2:
            self._home = rng.randrange(world.plan.nodes)
        node = world.nodes[self._home]
        patience_us = int(rng.choice((0.2, 0.5, 1.5)) * SECOND)
        errand = Errand(
            operation.command,
            operation.grows,
            operation.keyed,
            world.now_us + patience_us,
            lambda outcome, attempt=self._attempt: self._told(operation, attempt, outcome, node.id),
        )
        if node.up:
            world.schedule(MS, node, node.service.submit, errand)
            world.schedule(patience_us + 50 * MS, None, self._heard, operation, self._attempt, _SILENCE, node.id)
        else:
            self._home = rng.randrange(world.plan.nodes)
            world.schedule(50 * MS, None, self._heard, operation, self._attempt, None, node.id)

    def _told(self, operation: Operation, attempt: int, outcome: bytes | NodeError | None, node: int) -> None:
        """The node answers; it takes a moment to get here."""
        if operation.command is None and outcome is None:
            outcome = self.world.checks.read_served(self.world.nodes[node], operation)
        self.world.schedule(MS, None, self._heard, operation, attempt, outcome, node)

    def _heard(self, operation: Operation, attempt: int, outcome: Any, node: int) -> None:
        if attempt != self._attempt:
            return
        self._attempt += 1
        world = self.world
        if isinstance(outcome, bytes):
            world.trace(node, "acknowledges", (self.number, operation.name, outcome))
            operation.answer, operation.done = outcome, True
            if operation.command is not None:
                world.checks.acknowledged(operation)
            if operation.name == "take":
                self._worker.told(outcome)
        elif isinstance(outcome, OutcomeUnknown) or outcome is _SILENCE:
            operation.doubted = True
            if operation.keyed:
                world.count("keyed operation repeated")
                self._home = world.rng.randrange(world.plan.nodes)
                world.schedule(20 * MS, None, self._send, operation)
                return
        elif operation.keyed and operation.doubted:
            world.schedule(100 * MS, None, self._send, operation)
            return
        elif not operation.doubted:
            operation.refused = True
        world.schedule(int(world.rng.expovariate(1 / world.plan.think_ms) * MS), None, self.begin)

    def drain(self, topic: str) -> None:
        """Receive, with keys, until the topic is empty."""
        self._start(self.receive(topic, 100, keyed=True))

    def revive(self, topic: str) -> None:
        """Let messages be handed out again that stand still for want of their dead-letter topic."""
        self._made += 1
        command = Once(f"v{self.number}.{self._made}", b"", encode(Redrive(topic)))
        self._start(Operation("redrive", topic, encode(command), keyed=True))

    def came_back_empty(self) -> bool:
        """Whether the last receive found nothing."""
        answer = self.history[-1].answer
        return answer is not None and not getattr(decode_result(answer), "messages", None)


_SILENCE = object()
