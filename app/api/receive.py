"""Receive: POST /v1/topics/{topic}/messages:receive. Hot. With `ack`, what came before is done, in the same round.

Rules of this file: who has a key comes back for his answer, so his messages stay leased for him. Who has none and hangs
up before it is answered has seen nothing: what was leased for him is given back where that is noticed in time, and its
lease runs out where not.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from app.api import message_schemas as schemas
from app.api.bodies import BodyDecoder, read_body, require_json
from app.api.calls import JSON, NO_STORE, Answer, Call, ClientGone
from app.api.kinds import timestamp, to_ms
from app.api.metrics import Meters
from app.api.operations import BODY, WRITES, Json, Operation, answer, body, ref
from app.api.params import Query, key_of, topic_of
from app.api.polls import LongPolls
from app.api.queue import Queue, tokens_of
from app.api.routes import KEY, OPERATION_TIMEOUT_S, TOPIC
from app.api.settle import token_results
from app.api.stepper import begun
from app.broker import results
from app.broker.commands import Ack, Receive

if TYPE_CHECKING:
    from app.config import Settings

SLOW_S = 0.1
"""An answer that took so long may have lost its client: it is worth a look."""
_receive_body = BodyDecoder(schemas.Receive)
_encode = msgspec.json.Encoder().encode


class Receiving:
    """The route over one node's queue."""

    def __init__(self, queue: Queue, settings: Settings, polls: LongPolls, meters: Meters) -> None:
        self._meters = meters
        self._queue = queue
        self._polls = polls
        self._limit_bytes = settings.body_limit_bytes

    async def receive(self, call: Call) -> Answer:
        """POST /v1/topics/{topic}/messages:receive."""
        topic = topic_of(call)
        Query(call)
        require_json(call)
        asked: schemas.Receive = _receive_body.decode(await read_body(call, self._limit_bytes))
        lease_ms = None if asked.lease_s is None or asked.auto_ack else to_ms(asked.lease_s)
        key = asked.attempt_id or key_of(call)
        final = Receive(topic, asked.subscription, int(asked.max), asked.auto_ack, lease_ms, key, True)
        acked: list[schemas.TokenResult] | msgspec.UnsetType = msgspec.UNSET if asked.ack is None else []
        received = None
        if asked.ack:
            received, acked = await self._ack_and_take(call, Ack(topic, asked.ack), final, asked.wait_s)
        if received is None:
            received = await self._take(call, final, asked.wait_s, again=bool(asked.ack))
        self._meters.count_consumed(topic, len(received.messages))
        messages = [received_message(message) for message in received.messages]
        return Answer(200, _encode(schemas.Received(messages=messages, acked=acked)), (JSON, NO_STORE))

    async def _ack_and_take(
        self, call: Call, ack: Ack, final: Receive, wait_s: float
    ) -> tuple[results.Received | None, list[schemas.TokenResult]]:
        """Both go into the log together, the ack first. None: the ack is done, and what there is has yet to be taken,
        since there was nothing, or others wait for it, or since what is handed out without a lease could not be given
        back."""
        acking = begun(self._queue.settle(ack, None, OPERATION_TIMEOUT_S))
        if final.auto_ack or (wait_s and self._polls.is_waited((final.topic, final.subscription))):
            return None, token_results(ack.tokens, (await acking).codes)
        first = msgspec.structs.replace(final, final=not wait_s)
        taking = begun(self._queue.receive(first, OPERATION_TIMEOUT_S))
        started_s = time.monotonic()
        await asyncio.wait((acking, taking))
        if acking.exception() is not None and taking.exception() is None:
            # The answer is what became of the ack: whoever gets it sees no messages.
            await self._give_back(final, taking.result())
        acked, received = token_results(ack.tokens, acking.result().codes), taking.result()
        await self._check_awaited(call, final, received, started_s)
        return received if received.messages or received.final or not wait_s else None, acked

    async def _take(self, call: Call, final: Receive, wait_s: float, *, again: bool) -> results.Received:
        received = await self._wait(call, final, wait_s, again=again) if wait_s else None
        if received is None or (final.key is not None and not (received.messages or received.final)):
            # With a key, that there was nothing is an answer too, which every repetition must get.
            started_s = time.monotonic()
            received = await self._queue.receive(final, OPERATION_TIMEOUT_S)
            await self._check_awaited(call, final, received, started_s)
        return received

    async def _check_awaited(self, call: Call, asked: Receive, received: results.Received, started_s: float) -> None:
        """Raises ClientGone, and gives back, where the client has not waited for it."""
        if time.monotonic() - started_s > SLOW_S and received.messages and await call.is_gone():
            await self._give_back(asked, received)
            raise ClientGone

    async def _wait(self, call: Call, final: Receive, wait_s: float, *, again: bool) -> results.Received:
        asked = msgspec.structs.replace(final, final=False)

        async def take() -> results.Received:
            return await self._queue.receive(asked, OPERATION_TIMEOUT_S)

        async def give_back(received: results.Received) -> None:
            await self._give_back(asked, received)

        place = asked.topic, asked.subscription
        return await self._polls.receive(call, place, wait_s, take, give_back, wanted=asked.max, again=again)

    async def _give_back(self, asked: Receive, received: results.Received) -> None:
        if asked.key is None:
            await self._queue.give_back(asked.topic, tokens_of(received), OPERATION_TIMEOUT_S)

    def operations(self) -> list[Operation]:
        """The route."""
        return [
            Operation(
                method="POST", path="/v1/topics/{topic}/messages:receive", name="receive", tag="messages", hot=True,
                summary="Receive messages", description=_DESCRIPTION, handler=self.receive, parameters=(TOPIC, KEY),
                body=body(
                    ref(schemas.Receive),
                    {
                        "One message, leased": {"max": 1, "lease_s": 300},
                        "Up to ten, waiting for the first": {"max": 10, "wait_s": 20},
                        "The next one, and the one before is done": {"wait_s": 20, "ack": ["b-1-0-6-1"]},
                        "Done when handed out": {"auto_ack": True},
                        "For another subscription": {"subscription": "mails", "attempt_id": "mails-4711"},
                    },
                ),
                answers={
                    200: answer(
                        "The messages", ref(schemas.Received),
                        {"One message": {"messages": [_MESSAGE]}, "None": _NONE, "Acked, and one message": _ACKED},
                    )
                },
                errors=(
                    "invalid_topic", "invalid_parameter", "invalid_header", *BODY, "topic_not_found",
                    "subscription_not_found", "key_reused", *WRITES,
                ),
            )
        ]  # fmt: skip


def received_message(message: results.ReceivedMessage) -> schemas.ReceivedMessage:
    """A message as the client sees it."""
    expires_ms, origin, is_binary = message.lease_expires_ms, message.dead_letter, message.binary
    return schemas.ReceivedMessage(
        id=message.id, sequence=message.sequence, body=msgspec.UNSET if is_binary else msgspec.Raw(message.body),
        body_base64=message.body if is_binary else msgspec.UNSET, headers=message.headers or {}, group=message.group,
        priority=message.priority, deliveries=message.deliveries, published_at=timestamp(message.published_ms),
        token=message.token, lease_expires_at=None if expires_ms is None else timestamp(expires_ms),
        dead_letter=msgspec.UNSET if origin is None else dead_letter(origin),
    )  # fmt: skip


def dead_letter(origin: results.DeadLetter) -> schemas.DeadLetter:
    """Where a dead letter comes from."""
    return schemas.DeadLetter(
        topic=origin.topic, subscription=origin.subscription, sequence=origin.sequence, deliveries=origin.deliveries,
        at=timestamp(origin.at_ms),
    )  # fmt: skip


_DESCRIPTION = (
    "Leases up to `max` messages, fewer where they would exceed 4 MiB together; each comes with a `token` for ack, "
    "nack and extend, and is handed out again when its lease ends without an ack. With `auto_ack` they are done at "
    "once. `wait_s` waits for one where there is none. With an `attempt_id` (or Idempotency-Key) a retry gets the same "
    "answer again, without what is done by then, also where that was none: take a new one to ask for more. With `ack`, "
    "messages that came before are acked first, in the same round of the log, and `acked` says of each token what "
    "`messages:ack` would."
)
_MESSAGE: Json = {
    "id": "12", "sequence": 7, "body": {"drink": "coffee", "cups": 2}, "headers": {"kind": "order"}, "group": None,
    "priority": 0, "deliveries": 1, "published_at": "2026-01-31T12:00:00.000Z", "token": "b-1-0-7-1",
    "lease_expires_at": "2026-01-31T12:00:30.000Z",
}  # fmt: skip
_NONE: Json = {"messages": []}
_ACKED: Json = {"messages": [_MESSAGE], "acked": [{"token": "b-1-0-6-1", "ok": True, "code": None}]}
