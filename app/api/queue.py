"""The queue's operations as the routes need them: commands out, results in, refusals as problems.

Rules of this file: commands become bytes and bytes become results here and nowhere else in the API. An operation with a
key may be sent again by the node after an unknown outcome, since the broker answers a repeated key with its first
answer; one without only where a second time changes nothing (`repeatable`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from app.api import joined
from app.api.calls import Call, Header
from app.api.joined import Joined
from app.api.params import key_of
from app.api.problems import CODES, Problem, sentence
from app.broker import Machine, TopicInfo, commands, results
from app.broker.commands import (
    MESSAGES_MAX,
    Ack,
    Acks,
    Command,
    Extend,
    Keyed,
    Nack,
    NewMessage,
    Once,
    Publish,
    Publishes,
    PublishKeyed,
    Receive,
    Receives,
)
from app.broker.digest import fingerprint
from app.node.errors import NodeError

RETRY_AFTER: Header = (b"retry-after", b"1")
"""For a full topic: nobody knows when there will be room."""
_NUMBERS_BYTES = 64
"""What a publish says in numbers, and with a key in a hash, is shorter."""
_MESSAGE_BYTES = joined.BYTES // 64
"""What a message that is received or acked counts for: who asks for so many by himself gains nothing by company."""
_Result = TypeVar("_Result")
_deterministic = msgspec.msgpack.Encoder(order="deterministic").encode


class Submitter(Protocol):
    """The part of a node that this file needs."""

    async def submit(self, command: bytes, *, timeout_s: float, retry: bool = False, grows: bool = False) -> bytes: ...


class Repeat(NamedTuple):
    """The key under which the client may send a change again, and a hash of what it asked for."""

    key: str
    fingerprint: bytes

    def step(self, number: int) -> Repeat:
        """For the n-th command of one request. No client's key has a space in it."""
        return self if number == 0 else Repeat(f"{self.key} {number}", self.fingerprint)


def repeat_of(call: Call, body: bytes = b"") -> Repeat | None:
    """What makes this change repeatable; None when the client sent no key."""
    key = key_of(call)
    if key is None:
        return None
    parts = call.scope["method"].encode(), call.scope["path"].encode("utf-8", "surrogateescape"), body
    return Repeat(key, fingerprint(b"".join(b"%d:%b" % (len(part), part) for part in parts)))


class _Lane(NamedTuple):
    """What those have in common that are done by one command. `repeatable`: each may be sent again."""

    repeatable: bool
    timeout_s: float


class Queue:
    """Operations through one node. All raise Problem and NodeError. What many ask of the same Queue at once may go as
    one command."""

    def __init__(self, node: Submitter) -> None:
        self._node = node
        self._publishing = Joined(self._publish_each)
        self._acking = Joined(self._ack_each)
        # Who acks and asks for more at once may be waiting for what only this ack sets free.
        self._receiving = Joined(self._receive_each, ahead=(self._acking, self._publishing))

    async def publish(
        self, topic: str, messages: list[NewMessage], key: str | None, timeout_s: float, *, atomic: bool = True
    ) -> results.Published | results.PublishedRun:
        """Store messages, all or none, or each that can be; a single one with those that others publish."""
        if len(messages) == 1:
            return await self.publish_one(topic, messages[0], key, timeout_s)
        fingerprint = b"" if key is None else _fingerprint(messages, atomic)
        retry = key is not None or is_repeatable(messages)
        result = _accepted(await self._store(Publish(topic, messages, key, fingerprint, atomic), timeout_s, retry))
        assert isinstance(result, results.Published | results.PublishedRun)
        return result

    async def publish_one(
        self, topic: str, message: NewMessage, key: str | None, timeout_s: float
    ) -> results.PublishedRun:
        """Store one message, with those that others publish at the moment."""
        keyed = Keyed(message, key or "", b"" if key is None else _fingerprint([message], True))
        lane = _Lane(key is not None or is_repeatable((message,)), timeout_s)
        return await self._publishing.ask(lane, (topic, keyed), _size_bytes(topic, keyed))

    async def _publish_each(
        self, lane: _Lane, parts: Sequence[tuple[str, Keyed]]
    ) -> list[results.PublishedRun | Problem]:
        by_kind: dict[tuple[str, bool], list[int]] = {}
        for n, (topic, part) in enumerate(parts):
            by_kind.setdefault((topic, bool(part.key)), []).append(n)
        publishes = [_together(topic, [parts[n][1] for n in places]) for (topic, _), places in by_kind.items()]
        command = publishes[0] if len(publishes) == 1 else Publishes(publishes)
        result = await self._store(command, lane.timeout_s, lane.repeatable)
        answers = result.answers if isinstance(result, results.PublishedEach) else [result] * len(publishes)
        found = dict[int, results.PublishedRun | Problem]()
        for places, answer in zip(by_kind.values(), answers, strict=True):
            found.update(zip(places, _places(answer, len(places)), strict=True))
        return [found[n] for n in range(len(parts))]

    async def _store(
        self, command: Publish | PublishKeyed | Publishes, timeout_s: float, retry: bool
    ) -> results.Result | results.PublishedRun:
        data = await self._node.submit(commands.encode(command), timeout_s=timeout_s, retry=retry, grows=True)
        return results.decode_short(data)

    async def receive(self, asked: Receive, timeout_s: float) -> results.Received:
        """Messages, or that there are none, with what others ask for at the moment; what has to be cleared away before
        is, as far as time allows."""
        now = asyncio.get_running_loop().time
        deadline = now() + timeout_s
        lane = _Lane(asked.key is not None, timeout_s)
        size_bytes = asked.max * _MESSAGE_BYTES + 4 * len(asked.topic)
        result = await self._receiving.ask(lane, asked, size_bytes)
        while result.more and not result.messages and (left_s := deadline - now()) > 0:
            # With the others as long as there is time.
            lane = lane if left_s > timeout_s / 2 else lane._replace(timeout_s=left_s)
            result = await self._receiving.ask(lane, asked, size_bytes)
        return result

    async def _receive_each(self, lane: _Lane, parts: Sequence[Receive]) -> list[results.Received | Problem]:
        command = parts[0] if len(parts) == 1 else Receives(list(parts))
        return await self._each(results.Received, command, len(parts), lane)

    async def settle(self, command: Ack | Nack | Extend, repeat: Repeat | None, timeout_s: float) -> results.Settled:
        """What became of each token; acks together with those of others. A repeated one is answered as the first."""
        if repeat is None and isinstance(command, Ack):
            return await self._acking.ask(_Lane(True, timeout_s), command, len(command.tokens) * _MESSAGE_BYTES)
        settled = await self.change(command, repeat, timeout_s, repeatable=True)
        assert isinstance(settled, results.Settled)
        return settled

    async def _ack_each(self, lane: _Lane, parts: Sequence[Ack]) -> list[results.Settled | Problem]:
        return await self._each(results.Settled, parts[0] if len(parts) == 1 else Acks(list(parts)), len(parts), lane)

    async def _each(
        self, kind: type[_Result], command: Receive | Receives | Ack | Acks, count: int, lane: _Lane
    ) -> list[_Result | Problem]:
        """Do the command. -> the outcome of each of its parts, which is of this kind, or refused."""
        data = await self._node.submit(commands.encode(command), timeout_s=lane.timeout_s, retry=lane.repeatable)
        result = results.decode(data)
        if isinstance(result, results.Each):
            return [_outcome(kind, results.decode(each)) for each in result.answers]
        return [_outcome(kind, result) for _ in range(count)]

    async def give_back(self, topic: str, tokens: Sequence[str], timeout_s: float) -> None:
        """These messages will not be seen by whom they were leased for. Raises nothing: else the leases run out."""
        for start in range(0, len(tokens), MESSAGES_MAX):
            with contextlib.suppress(NodeError, Problem):
                await self.settle(Nack(topic, list(tokens[start : start + MESSAGES_MAX])), None, timeout_s)

    async def change(
        self,
        command: Command,
        repeat: Repeat | None,
        timeout_s: float,
        *,
        repeatable: bool = False,
        grows: bool = False,
    ) -> results.Result:
        """Any other command, and its own answer."""
        data = commands.encode(command)
        if repeat is not None:
            data = commands.encode(Once(repeat.key, repeat.fingerprint, data))
        retry = repeatable or repeat is not None
        return _result(await self._node.submit(data, timeout_s=timeout_s, retry=retry, grows=grows))


def tokens_of(received: results.Received) -> list[str]:
    """What its messages are settled with; none where they are done already."""
    return [message.token for message in received.messages if message.token is not None]


def is_repeatable(messages: Sequence[NewMessage]) -> bool:
    """Whether these may be published again without a key: each has its own."""
    for message in messages:  # noqa: SIM110 # A generator for one message would be a fortieth of what it costs here.
        if message.dedup_id is None:
            return False
    return True


def _size_bytes(topic: str, part: Keyed) -> int:
    """What it takes in a command, at most."""
    message = part.message
    headers = 0 if message.headers is None else sum(len(name) + 4 * len(text) for name, text in message.headers.items())
    names = len(topic) + len(part.key) + len(message.group or "") + len(message.dedup_id or "")
    return len(message.body) + headers + 4 * names + _NUMBERS_BYTES


def _together(topic: str, parts: Sequence[Keyed]) -> Publish | PublishKeyed:
    """Publishes of one topic, all with keys or all without."""
    if parts[0].key:
        return PublishKeyed(topic, list(parts))
    return Publish(topic, [part.message for part in parts], atomic=False)


def _outcome(kind: type[_Result], result: results.Result) -> _Result | Problem:
    """What the caller gets, or is to raise."""
    if isinstance(result, results.Refused):
        return refused(result.code, result.detail)
    assert isinstance(result, kind)
    return result


def _places(answer: object, count: int) -> list[results.PublishedRun | Problem]:
    """Where each of so many messages is, or why it is nowhere."""
    if isinstance(answer, results.PublishedRun):
        id, sequence = answer.first_id, answer.first_sequence
        return [results.PublishedRun(id + n, sequence + n, 1, answer.duplicate) for n in range(count)]
    if isinstance(answer, results.Refused):
        return [refused(answer.code, answer.detail) for _ in range(count)]
    assert isinstance(answer, results.Published)
    return [
        results.PublishedRun(int(each.id), each.sequence, 1, each.duplicate)
        if each.code is None
        else refused(each.code, each.detail or "")
        for each in answer.messages
    ]


def _result(data: bytes) -> results.Result:
    """The result in these bytes; Problem where the broker refused."""
    return _accepted(results.decode(data))


def _accepted(result: _Result) -> _Result:
    if isinstance(result, results.Refused):
        raise refused(result.code, result.detail)
    return result


def refused(code: str, detail: str) -> Problem:
    """What the broker's refusal means to a client."""
    code = code if code in CODES else "bad_command"
    headers = (RETRY_AFTER,) if code == "topic_full" else ()
    return Problem(code, sentence(detail) or CODES[code].example, headers=headers)


def all_topics(machine: Machine) -> Iterator[TopicInfo]:
    """Every topic of this node's own state, in the order of creation."""
    after = 0
    while page := machine.topics("", limit=1000, after=after):
        yield from page
        after = page[-1].id


def _fingerprint(messages: Sequence[NewMessage], atomic: bool) -> bytes:
    """Equal for equal messages in equal order."""
    return fingerprint(_deterministic((messages, atomic)))
