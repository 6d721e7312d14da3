"""Subscriptions of a topic: create, look at, delete, list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from app.api import schemas as common
from app.api import topic_schemas as schemas
from app.api.bodies import BodyDecoder
from app.api.calls import JSON, NO_STORE, Answer, Call
from app.api.operations import BODY, REPLICATED, WRITES, Json, Operation, answer, body, header, parameter, ref
from app.api.params import Query, part_of, topic_of
from app.api.queue import Queue, repeat_of
from app.api.routes import (
    CONSISTENCY,
    KEY,
    OPERATION_TIMEOUT_S,
    TOPIC,
    freshen,
    no_subscription,
    no_topic,
    optional_body,
)
from app.broker import TopicInfo, results
from app.broker.commands import CreateSubscription, DeleteSubscription

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node

_PATH = "/v1/topics/{topic}/subscriptions"
_new_subscription = BodyDecoder(schemas.NewSubscription)
_encode = msgspec.json.Encoder().encode


class Subscriptions:
    """The routes over one node."""

    def __init__(self, node: Node, settings: Settings) -> None:
        self._node = node
        self._queue = Queue(node)
        self._limit_bytes = settings.body_limit_bytes

    async def create(self, call: Call) -> Answer:
        """PUT /v1/topics/{topic}/subscriptions/{subscription}."""
        topic, name = topic_of(call), part_of(call)
        Query(call)
        asked, content = await optional_body(call, _new_subscription, self._limit_bytes)
        start = int(asked.start) if isinstance(asked.start, float) else asked.start
        result = await self._queue.change(
            CreateSubscription(topic, name, start), repeat_of(call, content), OPERATION_TIMEOUT_S, repeatable=True,
            grows=True,
        )  # fmt: skip
        assert isinstance(result, results.SubscriptionCreated | results.SubscriptionExists)
        location = (b"location", f"/v1/topics/{topic}/subscriptions/{name}".encode())
        status = 201 if isinstance(result, results.SubscriptionCreated) else 200
        return Answer(status, _encode(schemas.CreatedSubscription(name=name, start=result.start)), (JSON, location))

    async def look(self, call: Call) -> Answer:
        """GET /v1/topics/{topic}/subscriptions/{subscription}."""
        topic, name = topic_of(call), part_of(call)
        for each in _of(await self._topic(call, topic)):
            if each.name == name:
                return Answer(200, _encode(each), (JSON, NO_STORE))
        raise no_subscription(topic, name)

    async def page(self, call: Call) -> Answer:
        """GET /v1/topics/{topic}/subscriptions."""
        found = _of(await self._topic(call, topic_of(call)))
        return Answer(200, _encode(schemas.Subscriptions(items=found)), (JSON, NO_STORE))

    async def delete(self, call: Call) -> Answer:
        """DELETE /v1/topics/{topic}/subscriptions/{subscription}."""
        command = DeleteSubscription(topic_of(call), part_of(call))
        Query(call)
        await self._queue.change(command, repeat_of(call), OPERATION_TIMEOUT_S)
        return Answer(204, headers=())

    async def _topic(self, call: Call, name: str) -> TopicInfo:
        await freshen(self._node, Query(call, "consistency"))
        info = self._node.machine.topic(name)
        if info is None:
            raise no_topic(name)
        return info

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        return [self._create(), self._look(), self._delete(), self._list()]

    def _create(self) -> Operation:
        created, location = {"name": "mails", "start": 18}, {"Location": header("The subscription's path")}
        return Operation(
            method="PUT", path=f"{_PATH}/{{subscription}}", name="create_subscription", tag="subscriptions",
            summary="Create a subscription",
            description=(
                "It gets every message from its start on, as if it were alone in the topic. Idempotent: one that is "
                "there stays as it is. A topic has at most 63; `default` is there from the start."
            ),
            handler=self.create, parameters=(TOPIC, _NAME, KEY),
            body=body(
                ref(schemas.NewSubscription),
                {
                    "All that is stored": {"start": "earliest"}, "What comes": {"start": "latest"},
                    "From a sequence on": {"start": 17},
                },
                required=False,
            ),
            answers={
                200: answer("It was there", ref(schemas.CreatedSubscription), {"It was there": created}, location),
                201: answer("It is new", ref(schemas.CreatedSubscription), {"Created": created}, location),
            },
            errors=(
                *_NAMES, "invalid_header", *BODY, "topic_not_found", "too_many", "key_reused", *WRITES, "disk_full",
            ),
        )  # fmt: skip

    def _look(self) -> Operation:
        return Operation(
            method="GET", path=f"{_PATH}/{{subscription}}", name="get_subscription", tag="subscriptions",
            summary="Look at a subscription", description="How many of its messages are in each state.",
            handler=self.look, parameters=(TOPIC, _NAME, CONSISTENCY),
            answers={200: answer("The subscription", ref(schemas.Subscription), {"A subscription": _EXAMPLE})},
            errors=(*_NAMES, "topic_not_found", "subscription_not_found", *REPLICATED),
        )  # fmt: skip

    def _delete(self) -> Operation:
        return Operation(
            method="DELETE", path=f"{_PATH}/{{subscription}}", name="delete_subscription", tag="subscriptions",
            summary="Delete a subscription",
            description="What it alone had kept is gone. The last one goes only with its topic.",
            handler=self.delete, parameters=(TOPIC, _NAME, KEY), answers={204: {"description": "It is gone"}},
            errors=(
                *_NAMES, "invalid_header", "topic_not_found", "subscription_not_found", "last_subscription",
                "key_reused", *WRITES,
            ),
        )  # fmt: skip

    def _list(self) -> Operation:
        page = {"items": [_EXAMPLE], "next_cursor": None}
        return Operation(
            method="GET", path=_PATH, name="list_subscriptions", tag="subscriptions", summary="List subscriptions",
            description="All of a topic, in the order of their creation.", handler=self.page,
            parameters=(TOPIC, CONSISTENCY),
            answers={200: answer("All of them", ref(schemas.Subscriptions), {"One": page})},
            errors=("invalid_topic", "invalid_parameter", "topic_not_found", *REPLICATED),
        )  # fmt: skip


_NAMES = ("invalid_topic", "invalid_name", "invalid_parameter")
_NAME = parameter("subscription", "path", "The subscription's name", common.NAME_SCHEMA, "mails")
_EXAMPLE: Json = {"name": "mails", "start": 18, "ready": 2, "leased": 1, "delayed": 0, "dead": 0}


def _of(info: TopicInfo) -> list[schemas.Subscription]:
    return [schemas.Subscription(**msgspec.structs.asdict(each)) for each in info.subscriptions]
