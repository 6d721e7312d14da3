"""What is done to the messages of a topic as a whole: purge, and another chance for dead ones.

Rules of this file: a redrive is as many commands as it takes, each of them small; after `STEPS_MAX` of them the answer
says how far it came, and where to go on. Not after some time: a repetition has to come as far as the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.api import topic_schemas as schemas
from app.api.bodies import BodyDecoder
from app.api.calls import Answer, Call
from app.api.kinds import MESSAGES_MAX
from app.api.operations import BODY, WRITES, Json, Operation, answer, body, ref
from app.api.params import Query, topic_of
from app.api.queue import Queue, repeat_of
from app.api.routes import KEY, OPERATION_TIMEOUT_S, TOPIC, optional_body
from app.broker import results
from app.broker.commands import Purge, Redrive

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node

STEPS_MAX = 20
"""Commands of one redrive. Each may move `MESSAGES_MAX`; clients commonly wait 5 s for all of them."""
_purge_body = BodyDecoder(schemas.Purge)
_redrive_body = BodyDecoder(schemas.Redrive)
_encode = msgspec.json.Encoder().encode


class TopicActions:
    """The routes over one node."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._queue = Queue(node)
        self._limit_bytes = settings.body_limit_bytes

    async def purge(self, call: Call) -> Answer:
        """POST /v1/topics/{topic}:purge."""
        topic = topic_of(call)
        Query(call)
        _, content = await optional_body(call, _purge_body, self._limit_bytes)
        repeat = repeat_of(call, content)
        purged = await self._queue.change(Purge(topic), repeat, OPERATION_TIMEOUT_S)
        assert isinstance(purged, results.Purged)
        return Answer(200, _encode(schemas.Purged(purged=purged.messages)))

    async def redrive(self, call: Call) -> Answer:
        """POST /v1/topics/{topic}:redrive."""
        topic = topic_of(call)
        Query(call)
        asked, content = await optional_body(call, _redrive_body, self._limit_bytes)
        repeat = repeat_of(call, content)
        left = None if asked.max is None else int(asked.max)
        moved = kept = step = 0
        place = 1 if asked.start is None else int(asked.start)
        while True:
            most = MESSAGES_MAX if left is None else min(MESSAGES_MAX, left - moved)
            key = None if repeat is None else repeat.step(step)
            command = Redrive(topic, most, place, asked.to)
            done = await self._queue.change(command, key, OPERATION_TIMEOUT_S, grows=True)
            assert isinstance(done, results.Redriven)
            moved, kept, step = moved + done.moved, kept + done.kept, step + 1
            if done.next is None or moved == left or step == STEPS_MAX:
                return Answer(200, _encode(schemas.Redriven(moved=moved, kept=kept, next=done.next)))
            place = done.next

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        return [self._purge(), self._redrive()]

    def _purge(self) -> Operation:
        return Operation(
            method="POST", path="/v1/topics/{topic}:purge", name="purge_topic", tag="topics", summary="Purge a topic",
            description="All messages go, for all subscriptions, leased ones too. Sequences go on.",
            handler=self.purge, parameters=(TOPIC, KEY),
            body=body(ref(schemas.Purge), {"Purge": {}}, required=False),
            answers={200: answer("Purged", ref(schemas.Purged), {"Three were there": {"purged": 3}})},
            errors=_ERRORS,
        )  # fmt: skip

    def _redrive(self) -> Operation:
        done: Json = {"moved": 2, "kept": 0, "next": None}
        return Operation(
            method="POST", path="/v1/topics/{topic}:redrive", name="redrive_topic", tag="topics",
            summary="Give dead messages another chance",
            description=(
                "Messages that stand still in the topic become ready again; dead letters in it go back to the end of "
                "the topic that they came from, or to `to`, for the subscription in which they had died. What finds no "
                "place stays. A long redrive answers after 20,000 messages with `next`: send it as `from` to go on. "
                "With `to`, messages that stand still in the topic are left alone."
            ),
            handler=self.redrive, parameters=(TOPIC, KEY),
            body=body(
                ref(schemas.Redrive),
                {"All": {}, "A hundred, to another topic": {"max": 100, "to": "orders-again"}}, required=False,
            ),
            answers={200: answer("Done", ref(schemas.Redriven), {"All of them": done})},
            errors=(*_ERRORS, "disk_full"),
        )  # fmt: skip


_ERRORS = ("invalid_topic", "invalid_parameter", "invalid_header", *BODY, "topic_not_found", "key_reused", *WRITES)
