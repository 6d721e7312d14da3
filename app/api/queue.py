"""The queue's operations as the routes need them: commands out, results in, refusals as problems.

Rules of this file: the only one of the API that knows the broker's commands and results. An operation with
a key may be sent again by the node after an unknown outcome, since the broker answers a repeated key with
its first answer; without a key it never is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from app.api.problems import CODES, Problem, sentence
from app.broker import Machine, TopicInfo, commands, results
from app.broker.commands import CreateTopic, DeleteTopic, NewMessage, Publish, Receive, TopicSettings


class Submitter(Protocol):
    """The part of a node that this file needs."""

    async def submit(self, command: bytes, *, timeout_s: float, retry: bool = False, grows: bool = False) -> bytes: ...


class Queue:
    """Operations on topics and messages through one node. All raise Problem and NodeError."""

    def __init__(self, node: Submitter) -> None:
        self._submit = node.submit

    async def create(
        self, topic: str, dedup_window_s: int, timeout_s: float, *, again: bool
    ) -> results.TopicCreated | results.TopicExists:
        """Create a topic, unless it is there. `again`: it does not matter who did, so that it may be sent twice."""
        command = commands.encode(CreateTopic(topic, TopicSettings(dedup_window_ms=dedup_window_s * 1000)))
        data = await self._submit(command, timeout_s=timeout_s, retry=again, grows=True)
        result = _result(data)
        assert isinstance(result, results.TopicCreated | results.TopicExists)
        return result

    async def delete(self, topic: str, timeout_s: float) -> None:
        """Delete a topic with its messages."""
        _result(await self._submit(commands.encode(DeleteTopic(topic)), timeout_s=timeout_s))

    async def publish(
        self, topic: str, bodies: Sequence[bytes], key: str | None, timeout_s: float
    ) -> results.Published:
        """Store messages, all or none; each body is the text of a JSON value."""
        messages = [NewMessage(body) for body in bodies]
        fingerprint = b"" if key is None else _fingerprint(bodies)
        command = commands.encode(Publish(topic, messages, key, fingerprint))
        data = await self._submit(command, timeout_s=timeout_s, retry=key is not None, grows=True)
        result = _result(data)
        assert isinstance(result, results.Published)
        return result

    async def receive(
        self, topic: str, limit: int, key: str | None, timeout_s: float, *, final: bool = True
    ) -> results.Received:
        """Take up to `limit` of the oldest messages out of the topic. Not `final`: none is no answer to the key yet."""
        command = commands.encode(Receive(topic, max=limit, auto_ack=True, key=key, final=final))
        data = await self._submit(command, timeout_s=timeout_s, retry=key is not None)
        result = _result(data)
        assert isinstance(result, results.Received)
        return result


def _result(data: bytes) -> results.Result:
    """The result in these bytes; Problem where the broker refused."""
    result = results.decode(data)
    if isinstance(result, results.Refused):
        code = result.code if result.code in CODES else "bad_command"
        raise Problem(code, sentence(result.detail) or CODES[code].example)
    return result


def all_topics(machine: Machine) -> Iterator[TopicInfo]:
    """Every topic of this node's own state, in the order of creation."""
    after = 0
    while page := machine.topics("", limit=1000, after=after):
        yield from page
        after = page[-1].id


def _fingerprint(bodies: Sequence[bytes]) -> bytes:
    """Equal for equal messages in equal order; lengths go in, so that no other split of the bytes is equal."""
    digest = hashlib.blake2b(digest_size=16)
    for body in bodies:
        digest.update(b"%d:" % len(body))
        digest.update(body)
    return digest.digest()
