"""Every operation as data: what is asked, and how its answer is read. Both clients run these; neither knows a path.

Rules of this file: whatever changes something has a key, made here where the caller gives none, so that every call may
be tried again; a caller's key is for repetitions that outlive the call. Nothing is sent from here.
"""

from __future__ import annotations

import dataclasses
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

from rmq import errors, messages, topics
from rmq.exchange import Reply, Request
from rmq.messages import Body, Message, NewMessage, Peeked, Published, Settled
from rmq.topics import Cluster, Redriven, Schedule, Settings, Subscription, Topic

T = TypeVar("T")
U = TypeVar("U")
_JSON = {"content-type": "application/json"}
_KEY = re.compile(r"[!-~]{1,256}")
_DONE = {"ack": "acked", "nack": "given back", "extend": "extended"}
MESSAGES_MAX = 1000
"""In one request."""
BATCH_BYTES = 900_000
"""Of one request with several messages, as JSON: below the 1 MiB that a node takes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and what its answer means."""

    request: Request
    read: Callable[[Reply], T]


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items. `next_cursor`: for the page after; None at the end."""

    items: Sequence[T]
    next_cursor: str | None


def _topic(name: str, *rest: str) -> str:
    name_in_path(name, "topic")
    return "/".join(["/v1/topics", quote(name, safe=""), *(quote(each, safe=":") for each in rest)])


def name_in_path(value: str, name: str) -> str:
    """A name that can stand in a path; what else a name may not be, the node says."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` is a name, a text that is not empty")
    # Libraries and proxies take . and .. out of a path: what is left is the path of something else.
    if "/" in value or value in (".", "..") or not is_unicode(value):
        raise ValueError(f"`{name}` is 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-', not {value!r}")
    return value


def is_unicode(text: str) -> bool:
    """Whether there is no half of a pair in it, as there is in what was no UTF-8 on a command line."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _call(
    method: str, path: str, read: Callable[[Any], T], body: Any = None, *, key: str | None = None, keyed: bool = True,
    headers: Mapping[str, str] | None = None, wait_s: float = 0.0, content: bytes | None = None,
) -> Call[T]:  # fmt: skip
    sent = dict(headers or {})
    if method != "GET" and keyed:
        sent["idempotency-key"] = _key(key)
    if body is not None:
        content = encode(body)
    if content is not None:
        sent.update(_JSON)
    request = Request(method=method, path=path, headers=sent, content=content, wait_s=wait_s)
    return Call(request, lambda reply: _read(reply, read))


def _read(reply: Reply, read: Callable[[Any], T]) -> T:
    """What the answer says. Raises NotRMQ where no node says so."""
    found = reply.json() if reply.body else None
    try:
        return read(found)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise errors.NotRMQ("The answer is not what a node says.", code="not_rmq", outcome="unknown") from None


def encode(value: Any) -> bytes:
    """As JSON. Raises TypeError or ValueError for what is none."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this cannot be sent as JSON: {error}") from None


def new_key() -> str:
    """A key that nobody else has."""
    return uuid.uuid4().hex


def _key(given: str | None) -> str:
    if given is None:
        return new_key()
    if not isinstance(given, str) or not _KEY.fullmatch(given):
        raise ValueError(f"`key` is 1 to 256 visible ASCII characters, such as a UUID, not {given!r}")
    return given


# -- messages -----------------------------------------------------------------------------------------------


def publish(topic: str, new: NewMessage, key: str | None) -> Call[Published]:
    """Store this one."""
    return _call("POST", _topic(topic, "messages"), lambda found: _published(found)[0], new.to_json(), key=key)


def publish_many(topic: str, new: Iterable[Body | NewMessage], key: str | None) -> Iterable[Call[list[Published]]]:
    """As many requests as it takes; the messages of one are stored together, or none of them. Of a sequence all are
    made before the first is sent, so that none is where a body cannot be; else one after the other."""
    if isinstance(new, str | bytes | bytearray | memoryview | Mapping):
        raise TypeError("`bodies` are several bodies: for one, use `publish`, or write [body]")
    batches = _batches(topic, new, _key(key))
    return list(batches) if isinstance(new, Sequence) else batches


def _batches(topic: str, new: Iterable[Body | NewMessage], key: str) -> Iterator[Call[list[Published]]]:
    number, batch, size = 0, list[bytes](), 0
    for each in new:
        message = encode(new_message(each).to_json())
        if batch and (len(batch) == MESSAGES_MAX or size + len(message) > BATCH_BYTES):
            yield _publish_batch(topic, batch, f"{key}-{number}")
            number, batch, size = number + 1, [], 0
        batch.append(message)
        size += len(message) + 1
    if batch:
        yield _publish_batch(topic, batch, f"{key}-{number}")


def _publish_batch(topic: str, batch: Sequence[bytes], key: str) -> Call[list[Published]]:
    content = b'{"messages":[' + b",".join(batch) + b"]}"
    return _call("POST", _topic(topic, "messages"), _published, content=content, key=key)


def _published(found: Any) -> list[Published]:
    return [Published(each["id"], each["sequence"], each["duplicate"]) for each in found["messages"]]


def new_message(body: Body | NewMessage, **fields: Any) -> NewMessage:
    """A message as it was given, or of a body and what stands beside it."""
    if not isinstance(body, NewMessage):
        return NewMessage(body=body, **fields)
    if any(value is not None for value in fields.values()):
        raise TypeError("a NewMessage says everything itself: leave the other arguments out")
    return body


def receive(
    topic: str, *, max: int, wait_s: float, lease_s: float | None, subscription: str, auto_ack: bool,
    attempt_id: str | None,
) -> Call[list[Message]]:  # fmt: skip
    """Take messages."""
    body = {
        "max": max, "wait_s": wait_s, "lease_s": lease_s, "subscription": subscription, "auto_ack": auto_ack,
        "attempt_id": attempt_id or new_key(),
    }  # fmt: skip

    def read(found: Any) -> list[Message]:
        return [messages.message_of(topic, each) for each in found["messages"]]

    return _call("POST", _topic(topic, "messages:receive"), read, body, keyed=False, wait_s=wait_s)


How = Literal["ack", "nack", "extend"]


def token_of(message: Message) -> str:
    """What stands for it in ack, nack and extend. ValueError where it has none, TypeError for what is no message."""
    if not isinstance(message, Message):
        raise TypeError(f"give the messages that were received, as in ack(*messages), not {type(message).__name__}")
    if message.token is None:
        raise ValueError(f"message {message.id} of {message.topic} was received with auto_ack: it is done already")
    return message.token


def settles(how: How, held: Sequence[Message], **fields: Any) -> list[Call[list[Settled]]]:
    """What to say of these messages: a call for each thousand of one topic. Raises as `token_of`."""
    by_topic: dict[str, list[str]] = {}
    for message in held:
        token = token_of(message)
        by_topic.setdefault(message.topic, []).append(token)
    return [
        _settle(how, topic, tokens[start : start + MESSAGES_MAX], fields)
        for topic, tokens in by_topic.items()
        for start in range(0, len(tokens), MESSAGES_MAX)
    ]


def check_settled(how: How, settled: Sequence[Settled]) -> None:
    """Raises LeaseLost where one of them was not done."""
    lost = [each.token for each in settled if not each.ok]
    if lost:
        code = next(each.code for each in settled if not each.ok)
        these = f"{len(lost)} of {len(settled)} messages"
        detail = f"{these} could not be {_DONE[how]}: they are settled already, or their leases are over."
        raise errors.LeaseLost(detail, code=code or "lease_lost", tokens=lost)


def _settle(how: How, topic: str, tokens: Sequence[str], fields: Mapping[str, Any]) -> Call[list[Settled]]:
    body = {"tokens": tokens, **fields}

    def read(found: Any) -> list[Settled]:
        return [Settled(**each) for each in found["results"]]

    # A nack that is sent again may find the message with somebody else; its key tells that it was done. The others are
    # answered as before without one.
    return _call("POST", _topic(topic, f"messages:{how}"), read, body, keyed=how == "nack")


def peek(
    topic: str, *, start: int, limit: int, subscription: str, headers: Mapping[str, str], cursor: str | None
) -> Call[Page[Peeked]]:
    """Look at messages from a sequence on."""
    query: list[tuple[str, str]] = [("limit", str(limit)), ("subscription", name_in_path(subscription, "subscription"))]
    query += [("cursor", cursor)] if cursor else [("from", str(start))]
    query += [(f"header.{name}", value) for name, value in headers.items()]
    path = f"{_topic(topic, 'messages')}?{urlencode(query)}"
    return _call("GET", path, _page(lambda each: messages.peeked_of(topic, each)))


# -- topics -------------------------------------------------------------------------------------------------


def create_topic(name: str, settings: Mapping[str, Any]) -> Call[Settings]:
    """Create it, or find it as it is to be."""
    return _call("PUT", _topic(name), lambda found: topics.settings_of(found["settings"]), dict(settings))


def look_at_topic(name: str) -> Call[Topic]:
    """Settings and counts."""
    return _call("GET", _topic(name), topics.topic_of)


def change_topic(name: str, settings: Mapping[str, Any], version: int | None) -> Call[int]:
    """-> the new version."""
    headers = {} if version is None else {"if-match": f'"{version}"'}
    return _call("PATCH", _topic(name), lambda found: int(found["version"]), dict(settings), headers=headers)


def delete_topic(name: str) -> Call[None]:
    """With everything in it."""
    return _call("DELETE", _topic(name), _nothing)


def list_topics(prefix: str, cursor: str | None) -> Call[Page[Topic]]:
    """A page of them, in the order of creation."""
    query = urlencode({"prefix": prefix, "limit": 1000, **({"cursor": cursor} if cursor else {})})
    return _call("GET", f"/v1/topics?{query}", _page(topics.topic_of))


def purge(name: str) -> Call[int]:
    """-> how many messages are gone."""
    return _call("POST", _topic(name) + ":purge", lambda found: int(found["purged"]), {})


def redrive(name: str, *, max: int | None, to: str | None, start: int | None) -> Call[tuple[Redriven, int | None]]:
    """-> what was done, and where to go on."""

    def read(found: Any) -> tuple[Redriven, int | None]:
        return Redriven(found["moved"], found["kept"]), found["next"]

    return _call("POST", _topic(name) + ":redrive", read, {"max": max, "to": to, "from": start})


# -- subscriptions and schedules ----------------------------------------------------------------------------


def create_subscription(topic: str, name: str, start: str | int) -> Call[int]:
    """-> the first sequence that it gets."""
    path = _topic(topic, "subscriptions", name_in_path(name, "name"))
    return _call("PUT", path, lambda found: int(found["start"]), {"start": start})


def delete_subscription(topic: str, name: str) -> Call[None]:
    """What it alone had kept goes with it."""
    return _call("DELETE", _topic(topic, "subscriptions", name_in_path(name, "name")), _nothing)


def list_subscriptions(topic: str) -> Call[Page[Subscription]]:
    """All of a topic."""
    return _call("GET", _topic(topic, "subscriptions"), _page(topics.subscription_of))


def put_schedule(topic: str, name: str, cron: str, zone: str, message: NewMessage) -> Call[Schedule]:
    """Make it, or change it."""
    body = {"cron": cron, "zone": zone, "message": message.to_json()}
    return _call("PUT", _topic(topic, "schedules", name_in_path(name, "name")), topics.schedule_of, body)


def delete_schedule(topic: str, name: str) -> Call[None]:
    """No tick of it is published any more."""
    return _call("DELETE", _topic(topic, "schedules", name_in_path(name, "name")), _nothing)


def list_schedules(topic: str) -> Call[Page[Schedule]]:
    """All of a topic, by name."""
    return _call("GET", _topic(topic, "schedules"), _page(topics.schedule_of))


# -- the cluster --------------------------------------------------------------------------------------------


def cluster() -> Call[Cluster]:
    """Members, leader, positions."""
    return _call("GET", "/v1/cluster", topics.cluster_of)


def transfer(to: int | None) -> Call[int]:
    """-> the new leader."""
    return _call("POST", "/v1/cluster/transfer", lambda found: int(found["leader"]), {"to": to}, keyed=False)


def _page(read: Callable[[Any], U]) -> Callable[[Any], Page[U]]:
    return lambda found: Page([read(each) for each in found["items"]], found["next_cursor"])


def _nothing(_: Any) -> None:
    return None
