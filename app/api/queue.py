"""The queue's operations as the routes need them: commands out, results in, refusals as problems.

Rules of this file: the only one of the API that knows the broker's commands and results. An operation with
a key may be sent again by the node after an unknown outcome, since the broker answers a repeated key with
its first answer; without a key it never is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from app.api.problems import CODES, Problem, sentence
from app.broker import commands, results
from app.broker.commands import CreateTopic, DeleteTopic, NewMessage, Publish, Receive

class Submitter(Protocol):
    """The part of a node that this file needs."""

    async def submit(self, command: bytes, *, timeout_s: float, retry: bool = False, grows: bool = False) -> bytes: ...


class Queue:
    """Operations on topics and messages through one node. All raise Problem and NodeError."""

    def __init__(self, node: Submitter) -> None:
        self._submit = node.submit

    async def create(self, topic: str, timeout_s: float, *, again: bool) -> results.TopicCreated | results.TopicExists:
        """Create a topic, unless it is there. `again`: the caller does not mind who created it, so it may be repeated."""
        command = commands.encode(CreateTopic(topic))
        return self._result(await self._submit(command, timeout_s=timeout_s, retry=again, grows=True))

    async def delete(self, topic: str, timeout_s: float) -> None:
        """Delete a topic with its messages."""
        self._result(await self._submit(commands.encode(DeleteTopic(topic)), timeout_s=timeout_s))

    async def publish(
        self, topic: str, bodies: Sequence[bytes], key: str | None, timeout_s: float
    ) -> results.Published:
        """Store messages, all or none; each body is the text of a JSON value."""
        messages = [NewMessage(body) for body in bodies]
        fingerprint = b"" if key is None else _fingerprint(bodies)
        command = commands.encode(Publish(topic, messages, key, fingerprint))
        return self._result(await self._submit(command, timeout_s=timeout_s, retry=key is not None, grows=True))

    async def receive(self, topic: str, limit: int, key: str | None, timeout_s: float) -> results.Received:
        """Take up to `limit` of the oldest messages out of the topic."""
        command = commands.encode(Receive(topic, max=limit, auto_ack=True, key=key))
        return self._result(await self._submit(command, timeout_s=timeout_s, retry=key is not None))

    def _result(self, data: bytes) -> Any:
        result = results.decode(data)
        if isinstance(result, results.Refused):
            code = result.code if result.code in CODES else "bad_command"
            raise Problem(code, sentence(result.detail) or CODES[code].example)
        return result


def _fingerprint(bodies: Sequence[bytes]) -> bytes:
    """Equal for equal messages in equal order; lengths go in, so that no other split of the bytes is equal."""
    digest = hashlib.blake2b(digest_size=16)
    for body in bodies:
        digest.update(b"%d:" % len(body))
        digest.update(body)
    return digest.digest()
