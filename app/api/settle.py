"""The end of a delivery: ack, nack, and more time. Hot; each token has a result of its own.

Rules of this file: each of the three may be sent again, since the queue answers a repeated one as it did before; so the
node does that by itself when it has not learnt the outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from app.api import message_schemas as schemas
from app.api.bodies import BodyDecoder, read_body, require_json
from app.api.calls import Answer, Call
from app.api.kinds import to_ms
from app.api.operations import BODY, WRITES, Json, Operation, answer, body, ref
from app.api.params import Query, topic_of
from app.api.queue import Queue, repeat_of
from app.api.routes import KEY, OPERATION_TIMEOUT_S, TOPIC
from app.broker.commands import Ack, Extend, Nack

if TYPE_CHECKING:
    from app.config import Settings

_ack_body = BodyDecoder(schemas.Ack)
_nack_body = BodyDecoder(schemas.Nack)
_extend_body = BodyDecoder(schemas.Extend)
_encode = msgspec.json.Encoder().encode


class Settling:
    """The routes over one node's queue."""

    def __init__(self, queue: Queue, settings: Settings) -> None:
        self._queue = queue
        self._limit_bytes = settings.body_limit_bytes

    async def ack(self, call: Call) -> Answer:
        """POST /v1/topics/{topic}/messages:ack."""
        content = await self._body(call)
        asked: schemas.Ack = _ack_body.decode(content)
        return await self._settle(call, content, Ack(topic_of(call), asked.tokens))

    async def nack(self, call: Call) -> Answer:
        """POST /v1/topics/{topic}/messages:nack."""
        content = await self._body(call)
        asked: schemas.Nack = _nack_body.decode(content)
        return await self._settle(call, content, Nack(topic_of(call), asked.tokens, to_ms(asked.delay_s)))

    async def extend(self, call: Call) -> Answer:
        """POST /v1/topics/{topic}/messages:extend."""
        content = await self._body(call)
        asked: schemas.Extend = _extend_body.decode(content)
        return await self._settle(call, content, Extend(topic_of(call), asked.tokens, to_ms(asked.lease_s)))

    async def _body(self, call: Call) -> bytes:
        topic_of(call)
        Query(call)
        require_json(call)
        return await read_body(call, self._limit_bytes)

    async def _settle(self, call: Call, content: bytes, command: Ack | Nack | Extend) -> Answer:
        repeat = repeat_of(call, content)
        settled = await self._queue.settle(command, repeat, OPERATION_TIMEOUT_S)
        return Answer(200, _encode(schemas.Settled(results=token_results(command.tokens, settled.codes))))

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        return [self._ack(), self._nack(), self._extend()]

    def _ack(self) -> Operation:
        return Operation(
            method="POST", path="/v1/topics/{topic}/messages:ack", name="ack", tag="messages", hot=True,
            summary="Ack messages",
            description=(
                "They are done, and never handed out again to the subscription that received them. A lease that has "
                "run out is no hindrance as long as nobody else has got the message. " + _RESULTS
            ),
            handler=self.ack, parameters=(TOPIC, KEY), body=body(ref(schemas.Ack), {"One": {"tokens": [_TOKEN]}}),
            answers={200: _ANSWER}, errors=_ERRORS,
        )  # fmt: skip

    def _nack(self) -> Operation:
        return Operation(
            method="POST", path="/v1/topics/{topic}/messages:nack", name="nack", tag="messages", hot=True,
            summary="Give messages back",
            description=(
                "They are handed out again, at once or after `delay_s`, or are dead letters now, if that was their "
                "last delivery. " + _RESULTS
            ),
            handler=self.nack, parameters=(TOPIC, KEY),
            body=body(
                ref(schemas.Nack),
                {"At once": {"tokens": [_TOKEN]}, "In ten seconds": {"tokens": [_TOKEN], "delay_s": 10}},
            ),
            answers={200: _ANSWER}, errors=_ERRORS,
        )  # fmt: skip

    def _extend(self) -> Operation:
        return Operation(
            method="POST", path="/v1/topics/{topic}/messages:extend", name="extend", tag="messages", hot=True,
            summary="Extend leases", description="They end `lease_s` from now, up to 12 h. " + _RESULTS,
            handler=self.extend, parameters=(TOPIC, KEY),
            body=body(ref(schemas.Extend), {"A minute": {"tokens": [_TOKEN], "lease_s": 60}}),
            answers={200: _ANSWER}, errors=_ERRORS,
        )  # fmt: skip


def token_results(tokens: Sequence[str], codes: Sequence[str | None]) -> list[schemas.TokenResult]:
    """One for each token, in order."""
    return [
        schemas.TokenResult(token=token, ok=code is None, code=code) for token, code in zip(tokens, codes, strict=True)
    ]


_TOKEN = "b-1-0-7-1"
_RESULTS = (
    "Each token has a result: `lease_lost` when its lease had ended before, `bad_token` for one that nobody was given. "
    "Take the tokens from the answer of a receive."
)
_DONE: Json = {"results": [{"token": _TOKEN, "ok": True, "code": None}]}
_LOST: Json = {"results": [{"token": _TOKEN, "ok": False, "code": "lease_lost"}]}
_ANSWER = answer("One result for each token, in order", ref(schemas.Settled), {"Done": _DONE, "Too late": _LOST})
_ERRORS = ("invalid_topic", "invalid_parameter", "invalid_header", *BODY, "topic_not_found", "key_reused", *WRITES)
