"""What must hold at the end, when all is healed, drained and quiet.

The committed log is replayed through a model of the queue that is written from its description and shares no code with
it. Every answer that any node gave must be the model's, every read must fit, and every acknowledged publish must have
been handed out exactly once, in order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.broker import commands, results
from app.broker.commands import CreateTopic, DeleteTopic, Publish, TopicSettings
from app.broker.results import (
    Published,
    PublishedMessage,
    Received,
    ReceivedMessage,
    Refused,
    TopicCreated,
    TopicDeleted,
    TopicExists,
)
from app.node.envelope import unseal
from app.raft import Kind

if TYPE_CHECKING:
    from tests.sim.world import World

ANSWERS = "answers are those of a queue"
AUDIT = "the state's hash is that of its rows"
READS = "a read sees what its index holds"
EXACTLY_ONCE = "every acknowledged publish is handed out exactly once, in order"
REFUSED = "what was refused has no effect"


@dataclass(slots=True)
class ModelTopic:
    """A topic of the model. `claims`: (kind, key) -> (fingerprint, end, answer)."""

    settings: TopicSettings
    sequence: int = 0
    waiting: deque[ReceivedMessage] = field(default_factory=deque)
    claims: dict[tuple[str, str], tuple[bytes, int, object]] = field(default_factory=dict)


class Model:
    """The queue, as described."""

    def __init__(self) -> None:
        self.topics: dict[str, ModelTopic] = {}
        self.time_ms = 0
        self.message_id = 0
        self.repeated = {"publish": 0, "receive": 0}

    def apply(self, time_ms: int, data: bytes) -> object:
        """The answer to a command."""
        self.time_ms = max(self.time_ms, time_ms)
        command = commands.decode(data)
        topic = self.topics.get(command.name if isinstance(command, CreateTopic | DeleteTopic) else command.topic)
        if isinstance(command, CreateTopic):
            if topic is not None:
                return TopicExists(topic.settings == command.settings)
            self.topics[command.name] = ModelTopic(command.settings)
            return TopicCreated()
        if topic is None:
            return Refused(results.TOPIC_NOT_FOUND, "")
        if isinstance(command, DeleteTopic):
            del self.topics[command.name]
            return TopicDeleted()
        if isinstance(command, Publish):
            return self._publish(topic, command)
        return self._receive(topic, command)

    def _publish(self, topic: ModelTopic, command: Publish) -> object:
        claim = self._claim(topic, "publish", command.key)
        if claim is not None:
            self.repeated["publish"] += 1
            if claim[0] != command.fingerprint:
                return Refused(results.KEY_REUSED, "")
            return Published([PublishedMessage(m.id, m.sequence, True) for m in claim[2]])
        made = []
        for message in command.messages:
            self.message_id += 1
            topic.sequence += 1
            entry = ReceivedMessage(
                str(self.message_id), topic.sequence, message.body, message.binary, message.headers, self.time_ms
            )
            topic.waiting.append(entry)
            made.append(PublishedMessage(entry.id, entry.sequence))
        self._remember(topic, "publish", command.key, command.fingerprint, made)
        return Published(made)

    def _receive(self, topic: ModelTopic, command: commands.Receive) -> object:
        claim = self._claim(topic, "receive", command.key)
        if claim is not None:
            self.repeated["receive"] += 1
            return claim[2]
        taken = Received([topic.waiting.popleft() for _ in range(min(command.max, len(topic.waiting)))])
        if taken.messages or command.final:
            self._remember(topic, "receive", command.key, b"", taken)
        return taken

    def _claim(self, topic: ModelTopic, kind: str, key: str | None) -> tuple[bytes, int, object] | None:
        claim = topic.claims.get((kind, key)) if key is not None else None
        return claim if claim is not None and claim[1] > self.time_ms else None

    def _remember(self, topic: ModelTopic, kind: str, key: str | None, fingerprint: bytes, answer: object) -> None:
        if key is not None:
            topic.claims[kind, key] = fingerprint, self.time_ms + topic.settings.dedup_window_ms, answer


def check_ending(world: World) -> None:
    """Raises Violation."""
    _check_states(world)
    model = _check_answers(world)
    world.coverage.counts["publish deduplicated"] += model.repeated["publish"]
    world.coverage.counts["receive repeated"] += model.repeated["receive"]
    _check_publishes(world)


def _violation(invariant: str, what: str) -> Exception:
    from tests.sim.checks import Violation

    return Violation(invariant, what)


def _check_states(world: World) -> None:
    hashes = set()
    for node in world.nodes:
        index, state_hash = node.machine.state_hash()
        if node.machine.audit() != state_hash:
            raise _violation(AUDIT, f"node {node.id} says {state_hash} at {index}, its rows say {node.machine.audit()}")
        hashes.add((index, state_hash))
    if len(hashes) != 1:
        raise _violation(AUDIT, f"the nodes' states differ: {sorted(hashes)}")


def _check_answers(world: World) -> Model:
    """Replay the log through the model, reads in their places."""
    checks, model = world.checks, Model()
    reads = deque(sorted(checks.reads, key=lambda read: read.index))
    for entry in checks.ledger:
        if entry.kind == Kind.COMMAND:
            expected = model.apply(*unseal(entry.data))
            answer = checks.answers[entry.index]
            given = results.decode(answer) if answer is not None else None
            if isinstance(given, Refused):
                given = Refused(given.code, "")
            if given != expected:
                raise _violation(ANSWERS, f"entry {entry.index} was answered by {given}, the model says {expected}")
        while reads and reads[0].index == entry.index:
            read = reads.popleft()
            topic = model.topics.get(read.topic)
            expected_count = None if topic is None else len(topic.waiting)
            if read.messages != expected_count:
                raise _violation(READS, f"{read}, the model says {expected_count}")
    return model


def _check_publishes(world: World) -> None:
    """Without the model: by what was acknowledged and what was handed out."""
    from tests.sim.clients import TOPICS

    checks = world.checks
    out: dict[str, list[bytes]] = {topic: [] for topic in TOPICS}
    told: dict[str, Received] = {}
    sequences = dict.fromkeys(TOPICS, 0)
    for index in sorted(checks.answers):
        entry, answer = checks.ledger[index], checks.answers[index]
        if entry.kind != Kind.COMMAND or answer is None:
            continue
        result = results.decode(answer)
        if not isinstance(result, Received):
            continue
        command = commands.decode(unseal(entry.data)[1])
        if command.topic not in out or (command.key in told and result.messages):
            continue
        if command.key is not None and result.messages:
            told[command.key] = result
        for message in result.messages:
            if message.sequence <= sequences[command.topic]:
                raise _violation(EXACTLY_ONCE, f"{message} was handed out again or out of order at entry {index}")
            sequences[command.topic] = message.sequence
            out[command.topic].append(message.body)
    handed_out = {topic: set(bodies) for topic, bodies in out.items()}
    for topic, bodies in out.items():
        if len(bodies) != len(handed_out[topic]):
            raise _violation(EXACTLY_ONCE, f"a message of {topic} was handed out twice")
    for client in world.clients:
        for operation in client.history:
            if operation.refused and operation.command in checks.places and operation.name in ("publish", "receive"):
                raise _violation(REFUSED, f"{operation} is in the log at {checks.places[operation.command]}")
            if operation.name == "publish" and operation.done and operation.topic in out:
                _check_handed_out(operation, handed_out[operation.topic])
            if operation.name == "receive" and operation.done and operation.keyed and operation.topic in out:
                _check_told(operation, told)


def _check_told(operation: object, told: dict[str, Received]) -> None:
    """What was taken under a key is what its client was told: not another answer, and not less."""
    answer, key = results.decode(operation.answer), commands.decode(operation.command).key
    taken = told.get(key, Received([]))
    if isinstance(answer, Received) and answer != taken:
        raise _violation(EXACTLY_ONCE, f"{answer} was answered to {operation}, whose key took {taken}")


def _check_handed_out(operation: object, handed_out: set[bytes]) -> None:
    if isinstance(results.decode(operation.answer), Published):
        missing = [body for body in operation.bodies if body not in handed_out]
        if missing:
            raise _violation(EXACTLY_ONCE, f"{missing} were acknowledged and never handed out")
