"""The examples of the documentation, tried one after the other as a person would who reads it from the top."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.api.app import create_app
from tests.api.fake_node import FakeNode, settings

pytestmark = pytest.mark.anyio


class Reader:
    """Who tries operations with what stands in their examples, and pastes tokens where they belong."""

    def __init__(self, client: httpx.AsyncClient, document: dict[str, Any]) -> None:
        self._client = client
        self._operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
        }
        self.token = ""

    async def tries(self, name: str, example: int = 0, **parameters: str) -> httpx.Response:
        """The answer, which is one of success."""
        method, path, operation = self._operations[name]
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                value = parameters.get(parameter["name"], parameter.get("example"))
                path = path.replace(f"{{{parameter['name']}}}", str(value))
        options: dict[str, Any] = {}
        if "requestBody" in operation:
            (media, *_), examples = zip(*operation["requestBody"]["content"].items(), strict=True)
            assert media == "application/json"
            body = list(examples[0]["examples"].values())[example]["value"]
            options["json"] = {**body, "tokens": [self.token]} if "tokens" in body else body
        answer = await self._client.request(method, path, **options)
        assert answer.is_success, answer.text
        if name == "receive" and answer.json()["messages"]:
            self.token = answer.json()["messages"][0]["token"]
        return answer


@pytest.fixture
async def reader(client: httpx.AsyncClient, node: FakeNode) -> Reader:
    return Reader(client, create_app(node, settings()).openapi())  # type: ignore[arg-type]


async def test_from_a_topic_to_a_dead_letter_and_back(reader: Reader) -> None:
    assert (await reader.tries("create_topic")).status_code == 201
    await reader.tries("publish")
    (message,) = (await reader.tries("receive")).json()["messages"]
    assert message["headers"] == {"kind": "order"}
    for name in ("extend", "ack"):
        assert (await reader.tries(name)).json()["results"][0]["ok"]
    assert (await reader.tries("receive")).json() == {"messages": []}
    assert (await reader.tries("change_topic")).json() == {"name": "orders", "version": 2}
    assert (await reader.tries("create_topic", topic="orders-dead")).status_code == 201
    await reader.tries("publish")
    for _ in range(2):
        await reader.tries("receive")
        assert (await reader.tries("nack")).json()["results"][0]["ok"]
    (dead,) = (await reader.tries("peek", topic="orders-dead")).json()["items"]
    assert dead["dead_letter"]["topic"] == "orders"
    assert (await reader.tries("redrive_topic", topic="orders-dead")).json() == {"moved": 1, "kept": 0, "next": None}
    assert (await reader.tries("get_topic")).json()["subscriptions"][0]["ready"] == 1
    assert (await reader.tries("purge_topic")).json() == {"purged": 1}
    await reader.tries("delete_topic")


async def test_a_dead_letter_without_a_topic_for_it(reader: Reader) -> None:
    await reader.tries("classic_create_topic")
    assert (await reader.tries("create_topic")).status_code == 200, "the classic example has made it"
    await reader.tries("change_topic")
    await reader.tries("classic_publish")
    for _ in range(2):
        await reader.tries("receive")
        await reader.tries("nack")
    assert (await reader.tries("peek")).json()["items"][0]["state"] == "dead"
    assert (await reader.tries("redrive_topic")).json()["moved"] == 1
    assert (await reader.tries("classic_consume")).json() == {"success": True, "message": "one coffee"}


async def test_subscriptions_and_schedules(reader: Reader) -> None:
    await reader.tries("create_topic")
    for name in ("create_subscription", "get_subscription", "list_subscriptions"):
        await reader.tries(name)
    await reader.tries("publish", 1)
    assert len((await reader.tries("receive", 3)).json()["messages"]) == 1
    for name in ("put_schedule", "get_schedule", "list_schedules", "delete_schedule", "delete_subscription"):
        await reader.tries(name)
    assert (await reader.tries("put_schedule", 1)).status_code == 201


async def test_every_example_of_a_publish(reader: Reader) -> None:
    await reader.tries("create_topic", 2)
    for example in range(4):
        await reader.tries("publish", example)
    assert len((await reader.tries("receive", 1)).json()["messages"]) > 1
