"""Leases without the model: what commands and answers in the log say of each message, whatever a queue is inside.

Rules that are held here: nothing is handed out while it is leased, by the log's own time; nothing that was acked is
handed out again; an ack is taken, late or not, only from who was given the message last; of a group one message at a
time, in order; nothing that was acknowledged is missing in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.broker import commands, results
from app.broker.commands import Ack, Command, Extend, Nack, Once, Receive
from app.broker.results import Published, Received, ReceivedMessage, Settled
from app.node.envelope import unseal
from app.raft import Kind
from tests.sim.parts import parts_of
from tests.sim.work import SETTINGS, WORK

if TYPE_CHECKING:
    from tests.sim.world import World

TOO_EARLY = "a leased message is handed out to nobody else"
AFTER_ACK = "an acked message is never handed out again"
STALE_ACK = "an ack is taken only from who was given the message last, and has not given it back"
IN_ORDER = "messages of a group are handed out one at a time, in order"
LOST = "every acknowledged message is acked in the end"


@dataclass
class Lease:
    """The newest delivery of a message; `ends_ms` None: given back."""

    message: ReceivedMessage
    ends_ms: int | None


def violations(world: World) -> Iterator[tuple[str, str]]:
    """(invariant, what) of each message that was treated wrongly."""
    book = _Book(world.count)
    for index, time_ms, command, answer in _entries(world):
        yield from book.read(index, time_ms, command, answer)
    for client in world.clients:
        for operation in client.history:
            answer = results.decode(operation.answer) if operation.name == "work" and operation.answer else None
            if isinstance(answer, Published):
                missing = [body for body in operation.bodies if body not in book.done]
                if missing:
                    yield LOST, f"{missing} were published and never acked"


def _entries(world: World) -> Iterator[tuple[int, int, Command, object]]:
    """Each command with the log's time and its answer, once for each key."""
    checks, time_ms, keys = world.checks, 0, set()
    for entry in checks.ledger:
        answer = checks.answers.get(entry.index)
        if entry.kind != Kind.COMMAND or answer is None:
            continue
        stamp_ms, data = unseal(entry.data)
        time_ms = max(time_ms, stamp_ms)
        for command, result in parts_of(commands.decode(data), results.decode(answer)):
            key = getattr(command, "key", None)
            if isinstance(command, Once):
                command = commands.decode(command.command)
            if key is None or key not in keys:
                keys.add(key)
                yield entry.index, time_ms, command, result


class _Book:
    """What the log has said so far. `done`: bodies that nobody will see again. `count`: told of rare things."""

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self.done: set[bytes] = set()
        self._leases: dict[bytes, Lease] = {}
        self._tokens: dict[str, bytes] = {}
        self._last: dict[str, int] = {}

    def read(self, index: int, time_ms: int, command: Command, answer: object) -> Iterator[tuple[str, str]]:
        if isinstance(answer, Received) and isinstance(command, Receive) and command.topic in SETTINGS:
            for message in answer.messages:
                yield from self._handed_out(index, time_ms, command, message)
        elif isinstance(answer, Settled) and isinstance(command, Ack | Nack | Extend):
            for token, code in zip(command.tokens, answer.codes, strict=True):
                if code is None and token in self._tokens:
                    yield from self._settled(index, time_ms, command, token)

    def _handed_out(
        self, index: int, time_ms: int, command: Receive, message: ReceivedMessage
    ) -> Iterator[tuple[str, str]]:
        body, lease = message.body, self._leases.get(message.body)
        where = f"{message} at entry {index}, time {time_ms}"
        if body in self.done:
            yield AFTER_ACK, where
        if lease is not None and lease.ends_ms is not None and time_ms < lease.ends_ms:
            yield TOO_EARLY, f"{where}; leased until {lease.ends_ms}"
        was_dead = message.deliveries > (SETTINGS[WORK].max_deliveries or 0)
        if command.topic == WORK and message.group is not None and not was_dead:
            yield from self._in_group(time_ms, message, where)
        if message.token is None:
            self.done.add(body)
            self._leases.pop(body, None)
        else:
            self._tokens[message.token] = body
            self._leases[body] = Lease(message, message.lease_expires_ms)

    def _in_group(self, time_ms: int, message: ReceivedMessage, where: str) -> Iterator[tuple[str, str]]:
        group = message.group or ""
        if message.sequence < self._last.get(group, 0):
            yield IN_ORDER, f"{where}, after {self._last[group]}"
        self._last[group] = message.sequence
        for body, lease in self._leases.items():
            if lease.message.group == group and body != message.body and (lease.ends_ms or 0) > time_ms:
                yield IN_ORDER, f"{where}, while {lease.message} is leased until {lease.ends_ms}"

    def _settled(self, index: int, time_ms: int, command: Ack | Nack | Extend, token: str) -> Iterator[tuple[str, str]]:
        body = self._tokens[token]
        lease = self._leases.get(body)
        if isinstance(command, Ack):
            self.done.add(body)
            self._leases.pop(body, None)
            if lease is None:
                return
            if lease.message.token != token or lease.ends_ms is None:
                yield STALE_ACK, f"{token} at entry {index}, of {lease}"
            elif lease.ends_ms <= time_ms:
                self._count("ack taken after its lease had run out")
        elif lease is not None and lease.message.token == token:
            lease.ends_ms = time_ms + command.lease_ms if isinstance(command, Extend) else None
