"""The API against its own description: what OpenAPI says holds for whatever schemathesis thinks up.

The server is the real one over a fake node. Its long polls believe that it is stopping,
so that none waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig

from app.api.app import OperationRoute, create_app
from tests.api.conftest import Live
from tests.api.fake_node import FakeNode
from tests.api.fake_node import settings as node_settings

EXAMPLES = 50
METHODS = {"get", "head", "put", "post", "patch", "delete"}
BODY_OPTIONAL = {
    "create_topic", "purge_topic", "redrive_topic", "create_subscription", "transfer_leadership",
}  # fmt: skip

# A key that was used before, a node that does not exist, a topic that is full or was changed meanwhile: valid by the
# schema, refused by the state.
ACCEPTED = ["2xx", "404", "409", "412", "422", "429"]
CONFIG = {
    "checks": {
        "negative_data_rejection": {"expected-statuses": ["400", "404", "409", "412", "413", "414", "415", "422"]},
        "positive_data_acceptance": {"expected-statuses": ACCEPTED},
    },
    "operations": [
        {
            # The classic answer to a topic that exists already.
            "include-operation-id": "classic_create_topic",
            "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400"]}},
        },
        {
            # An ETag without its quotes, which schemathesis takes away.
            "include-operation-id": "change_topic",
            "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400"]}},
        },
        {
            # What it takes is no plain request.
            "include-operation-id": "session",
            "checks": {"positive_data_acceptance": {"expected-statuses": ["426"]}},
        },
        {
            # A cursor that no answer gave.
            "include-operation-id": ["list_topics", "peek"],
            "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400"]}},
        },
    ],
}


def made() -> FastAPI:
    """The application; nothing is asked of its node."""
    node = FakeNode()
    try:
        return create_app(node, node_settings())  # type: ignore[arg-type]
    finally:
        node.machine.close()


APP = made()
DOCUMENT = APP.openapi()
"""What /openapi.json serves."""
# An answer without an end cannot be validated: tests/api/test_stream.py looks at that one.
schema = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict(CONFIG)).exclude(
    operation_id="stream"
)
OPERATIONS = [
    pytest.param(path, method, operation, id=operation["operationId"])
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


@pytest.fixture(scope="module")
def served() -> Iterator[Live]:
    with Live() as found:
        found.run(lambda: _stop_waiting(found))
        yield found


async def _stop_waiting(found: Live) -> None:
    found.node.stopping.set()
    found.node.stopping = asyncio.Event()


@schema.parametrize()
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
def test_answers_are_what_the_description_says(case: schemathesis.Case, served: Live) -> None:
    case.call_and_validate(base_url=served.url)


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_route_is_documented(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"] and operation["description"] and operation["tags"]
    for parameter in operation.get("parameters", []):
        assert parameter["description"]
    if method in ("put", "post", "patch"):
        assert operation["requestBody"]["required"] is (operation["operationId"] not in BODY_OPTIONAL)
    for media in operation.get("requestBody", {}).get("content", {}).values():
        assert media["examples"]
    for status, answer in operation["responses"].items():
        assert answer["description"]
        has_body = status not in ("101", "204") and (method, status) != ("head", "200")
        assert not has_body or all(media["examples"] for media in answer["content"].values()), status


def test_examples_are_served_as_they_were_written() -> None:
    routes = [route for route in APP.routes if isinstance(route, OperationRoute)]
    assert len(routes) == len(OPERATIONS)
    for route in routes:
        written = route.operation.openapi()
        served = DOCUMENT["paths"][route.path_format][route.operation.method.lower()]
        assert {name: served.get(name) for name in written} == written, "null is a value, too"


def test_the_classic_and_the_v1_routes_are_all_there() -> None:
    assert set(DOCUMENT["paths"]) == {
        "/topic", "/message", "/message/{topic}", "/status", "/v1/topics", "/v1/topics/{topic}",
        "/v1/topics/{topic}:purge", "/v1/topics/{topic}:redrive", "/v1/topics/{topic}/messages",
        "/v1/topics/{topic}/messages:receive", "/v1/topics/{topic}/messages:ack", "/v1/topics/{topic}/messages:nack",
        "/v1/topics/{topic}/messages:extend", "/v1/topics/{topic}/subscriptions",
        "/v1/topics/{topic}/subscriptions/{subscription}", "/v1/topics/{topic}/schedules",
        "/v1/topics/{topic}/schedules/{schedule}", "/v1/topics/{topic}/stream", "/v1/session", "/v1/cluster",
        "/v1/cluster/transfer", "/livez", "/readyz", "/metrics",
    }  # fmt: skip
    assert all(set(item) <= METHODS for item in DOCUMENT["paths"].values())


def test_no_reference_leads_nowhere() -> None:
    text = str(DOCUMENT)
    for part in text.split("'#/components/schemas/")[1:]:
        assert part.split("'")[0] in DOCUMENT["components"]["schemas"]
