"""What goes into a topic and what comes out of it. Times are aware datetimes in UTC, spans are seconds."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

Body = Any
"""Whatever JSON can say, or bytes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message to publish, where it is more than its body. `body`: any JSON value, or bytes. What is None is as the
    topic says. `group`: its messages are worked on strictly in order. `dedup_id`: stored once within the topic's
    window. `delay_s`: not handed out before. `ttl_s`: gone if not handed out by then. `priority`: 0 to 9, on topics
    that have priorities."""

    body: Body
    headers: Mapping[str, str] | None = None
    group: str | None = None
    dedup_id: str | None = None
    delay_s: float | None = None
    ttl_s: float | None = None
    priority: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As the node takes it."""
        found = {
            name: value
            for name in ("headers", "group", "dedup_id", "delay_s", "ttl_s", "priority")
            if (value := getattr(self, name)) is not None
        }
        if isinstance(self.body, bytes | bytearray | memoryview):
            found["body_base64"] = base64.b64encode(self.body).decode()
        else:
            found["body"] = self.body
        return found


class NewFields(TypedDict, total=False):
    """What stands beside the body of a NewMessage."""

    headers: Mapping[str, str] | None
    group: str | None
    dedup_id: str | None
    delay_s: float | None
    ttl_s: float | None
    priority: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Published:
    """Where a message was stored. `sequence`: its place in the topic, from 1, without gaps. `duplicate`: it was there
    already, from an earlier try or under its dedup_id."""

    id: str
    sequence: int
    duplicate: bool


@dataclasses.dataclass(frozen=True, slots=True)
class DeadLetter:
    """Where a dead letter comes from."""

    topic: str
    subscription: str
    sequence: int
    deliveries: int
    at: datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that was handed out. `token`: for ack, nack and extend, None with auto_ack. `deliveries`: how often it
    was handed out, this time included."""

    topic: str
    id: str
    sequence: int
    body: Body
    headers: Mapping[str, str]
    group: str | None
    priority: int
    deliveries: int
    published_at: datetime
    token: str | None
    lease_expires_at: datetime | None
    dead_letter: DeadLetter | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peeked:
    """A message where it stands. `state`: ready, delayed, leased, dead or done, for the subscription asked for.
    `deliveries`: None while it is leased."""

    topic: str
    id: str
    sequence: int
    state: str
    body: Body
    headers: Mapping[str, str]
    group: str | None
    priority: int
    deliveries: int | None
    published_at: datetime
    dead_letter: DeadLetter | None


@dataclasses.dataclass(frozen=True, slots=True)
class Settled:
    """What came of one token. `code`: None where it was done, else "lease_lost" or "bad_token"."""

    token: str
    ok: bool
    code: str | None


def message_of(topic: str, found: Mapping[str, Any]) -> Message:
    """From what a node hands out."""
    expires = found["lease_expires_at"]
    return Message(
        **_carried(topic, found), deliveries=found["deliveries"], token=found["token"],
        lease_expires_at=None if expires is None else time_of(expires),
    )  # fmt: skip


def peeked_of(topic: str, found: Mapping[str, Any]) -> Peeked:
    """From what a node shows."""
    return Peeked(**_carried(topic, found), state=found["state"], deliveries=found["deliveries"])


def _carried(topic: str, found: Mapping[str, Any]) -> dict[str, Any]:
    origin, encoded = found.get("dead_letter"), found.get("body_base64")
    return {
        "topic": topic, "id": found["id"], "sequence": found["sequence"],
        "body": found["body"] if encoded is None else base64.b64decode(encoded), "headers": found["headers"],
        "group": found["group"], "priority": found["priority"], "published_at": time_of(found["published_at"]),
        "dead_letter": None if origin is None else DeadLetter(**{**origin, "at": time_of(origin["at"])}),
    }  # fmt: skip


def time_of(text: str) -> datetime:
    """RFC 3339 as a node writes it."""
    return datetime.fromisoformat(text)
