"""What tests of the routes ask again and again."""

from __future__ import annotations

from typing import Any

import httpx

from app.api.problems import CODES

JSON = {"content-type": "application/json"}
T = "/v1/topics/t"


def check(answer: httpx.Response, status: int, code: str) -> str:
    """A problem as RFC 9457 and our table have it; its detail."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert (answer.status_code, body["code"], body["status"]) == (status, code, status), body
    assert body["title"] == CODES[code].title and body["type"] == f"urn:rmq:problem:{code}"
    assert body["retryable"] is CODES[code].retryable
    assert body["outcome"] in ("not_committed", "unknown")
    assert body["detail"]
    return str(body["detail"])


async def publish(client: httpx.AsyncClient, *bodies: Any, topic: str = T, **fields: Any) -> list[dict[str, Any]]:
    """Publish these, each with the fields; where they are now."""
    messages = [{"body": body, **fields} for body in bodies]
    answer = await client.post(f"{topic}/messages", json={"messages": messages})
    assert answer.status_code == 201, answer.text
    return list(answer.json()["messages"])


async def receive(client: httpx.AsyncClient, topic: str = T, **asked: Any) -> list[dict[str, Any]]:
    """What a receive hands out."""
    answer = await client.post(f"{topic}/messages:receive", json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return list(answer.json()["messages"])


async def take(client: httpx.AsyncClient, **asked: Any) -> list[Any]:
    """The bodies of messages that are done with it."""
    return [message["body"] for message in await receive(client, auto_ack=True, **asked)]


async def settle(client: httpx.AsyncClient, how: str, *tokens: str, **asked: Any) -> list[str | None]:
    """The code of each token, None where it was done."""
    answer = await client.post(f"{T}/messages:{how}", json={"tokens": tokens, **asked})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [result["token"] for result in results] == list(tokens)
    assert all(result["ok"] is (result["code"] is None) for result in results)
    return [result["code"] for result in results]


async def counts(client: httpx.AsyncClient, subscription: str = "default") -> dict[str, int]:
    """How many messages of a subscription are in each state."""
    answer = await client.get(f"{T}/subscriptions/{subscription}")
    assert answer.status_code == 200, answer.text
    return {name: answer.json()[name] for name in ("ready", "leased", "delayed", "dead")}
