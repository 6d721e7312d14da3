"""What must hold at the end, when all is healed, drained and quiet.

The committed log is replayed through a model of the queue that is written from its description and shares no code with
it. Every answer that any node gave must be the model's, every read must fit, and every acknowledged publish must have
been handed out exactly once, in order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from app.broker import commands, results
from app.broker.commands import Acks, Command, Once, Publishes, PublishKeyed, Tick
from app.broker.handlers import ROWS_BESIDE, ROWS_IN_A_TICK
from app.broker.results import LEASE_LOST, Published, PublishedEach, Received, Settled
from app.node.envelope import unseal
from app.raft import Kind
from tests.broker.model import Model
from tests.broker.names import Names
from tests.sim import leases
from tests.sim.parts import parts_of

if TYPE_CHECKING:
    from tests.sim.world import World

ANSWERS = "answers are those of a queue"
AUDIT = "the state's hash is that of its rows"
READS = "a read sees what its index holds"
EXACTLY_ONCE = "every acknowledged publish is handed out exactly once, in order"
REFUSED = "what was refused has no effect"


def check_ending(world: World) -> None:
    """Raises Violation."""
    _check_states(world)
    _check_answers(world)
    _check_publishes(world)
    for invariant, what in leases.violations(world):
        raise _violation(invariant, what)


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


def _check_answers(world: World) -> None:
    """Replay the log through the model, reads in their places."""
    checks, model = world.checks, Model(ROWS_BESIDE, ROWS_IN_A_TICK)
    names = Names(lambda schedule: schedule)
    reads = deque(sorted(checks.reads, key=lambda read: read.index))
    seen = _Seen(world)
    for entry in checks.ledger:
        if entry.kind == Kind.COMMAND:
            time_ms, data = unseal(entry.data)
            expected = model.apply(time_ms, names.command(data))
            answer = checks.answers[entry.index]
            assert answer is not None
            given = names.answer(results.decode(answer), expected)
            if given != expected:
                raise _violation(ANSWERS, f"entry {entry.index} was answered by {given}, the model says {expected}")
            seen.count(data, given)
        else:
            model.nothing(0)
        while reads and reads[0].index == entry.index:
            read = reads.popleft()
            topic = model.topics.get(read.topic)
            expected_count = None if topic is None else len(topic.messages)
            if read.messages != expected_count:
                raise _violation(READS, f"{read}, the model says {expected_count}")


class _Seen:
    """What the log has shown of rare things."""

    def __init__(self, world: World) -> None:
        self._count = world.count
        self._keys: set[str] = set()

    def count(self, data: bytes, answer: object) -> None:
        whole = commands.decode(data)
        parts = parts_of(whole, answer)
        if isinstance(whole, Acks) and len(parts) > 1:
            self._count("several acks in one command")
        if sum(isinstance(each, Received) and bool(each.messages) for _, each in parts) > 1:
            self._count("several receives in one command got messages")
        for command, each in parts:
            self._count_part(command, each)

    def _count_part(self, command: Command, answer: object) -> None:
        key = getattr(command, "key", None)
        is_repeated = key in self._keys
        if key is not None:
            self._keys.add(key)
        if isinstance(command, Tick):
            self._count("time passed by a tick")
        elif isinstance(command, Once) and is_repeated:
            self._count("settling repeated under its key")
        published = _published(answer)
        if published is not None and any(message.duplicate for message in published.messages):
            is_joined = isinstance(command, PublishKeyed | Publishes)
            self._count("joined publishes repeated" if is_joined else "publish deduplicated")
        elif isinstance(answer, Settled) and LEASE_LOST in answer.codes:
            self._count("lease lost, and said so")
        elif isinstance(answer, Received) and answer.messages:
            if is_repeated:
                self._count("receive repeated")
            if any(message.deliveries > 1 for message in answer.messages):
                self._count("message handed out again")
            if any(message.dead_letter for message in answer.messages):
                self._count("dead letter handed out")


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
    if isinstance(answer, Received) and answer.messages != taken.messages:
        raise _violation(EXACTLY_ONCE, f"{answer} was answered to {operation}, whose key took {taken}")


def _published(answer: object) -> Published | None:
    """What a publish was answered, be it the only one of several; None for anything else."""
    if isinstance(answer, PublishedEach):
        (answer,) = answer.answers
    return answer if isinstance(answer, Published) else None


def _check_handed_out(operation: object, handed_out: set[bytes]) -> None:
    if _published(results.decode(operation.answer)) is not None:
        missing = [body for body in operation.bodies if body not in handed_out]
        if missing:
            raise _violation(EXACTLY_ONCE, f"{missing} were acknowledged and never handed out")
