"""From what a client sends to the messages that the queue stores: JSON, or the bytes of a single one.

Rules of this file: a JSON value is stored as the bytes it came in. What a message does not say itself it takes from the
query (`Defaults`), which is how a body of plain bytes, that has no fields, says anything at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from app.api import message_schemas as schemas
from app.api.bodies import MALFORMED, check_value, check_values, refuse, refuse_duplicates
from app.api.calls import Call
from app.api.kinds import (
    HEADER_LENGTH_MAX,
    HEADER_NAME_PATTERN,
    HEADERS_MAX,
    IN_WORDS,
    PRIORITY_MAX,
    SPAN_MAX_S,
    VISIBLE_PATTERN,
    to_ms,
    to_s,
)
from app.api.params import Query
from app.api.problems import Problem
from app.broker.commands import NewMessage

HEADER_PREFIX = b"rmq-header-"
_header_name = re.compile(HEADER_NAME_PATTERN.encode())
_decode_plain = msgspec.json.Decoder(schemas.PlainPublish).decode
_decode = msgspec.json.Decoder(schemas.Publish).decode
_QUOTED = {name: b'"%s"' % name.encode() for name in schemas.Message.__struct_fields__}
_PLAIN_BYTES, _BATCH_BYTES, _AGAIN_BYTES = len(b'{"body":}'), len(b'{"messages":[]}'), len(b',"body":0')
"""What the shortest body takes for each message, around all of them, and at least for a field that is repeated."""
_BESIDE = (b'"op"', b'"id"', b'"topic"', b'"messages"', b'"atomic"')


class Defaults(NamedTuple):
    """What the query says for messages that do not say it themselves."""

    group: str | None = None
    dedup_id: str | None = None
    delay_ms: int | None = None
    ttl_ms: int | None = None
    priority: int = 0


NO_DEFAULTS = Defaults()


def defaults_of(call: Call) -> Defaults:
    """The query of a publish."""
    query = Query(call, "group", "dedup_id", "delay_s", "ttl_s", "priority")
    delay_s, ttl_s = query.seconds("delay_s", 0, SPAN_MAX_S), query.seconds("ttl_s", 0.001, SPAN_MAX_S)
    return Defaults(
        query.matching("group", VISIBLE_PATTERN, IN_WORDS[VISIBLE_PATTERN]),
        query.matching("dedup_id", VISIBLE_PATTERN, IN_WORDS[VISIBLE_PATTERN]),
        None if delay_s is None else to_ms(delay_s),
        None if ttl_s is None else to_ms(ttl_s),
        query.number("priority", 0, 0, PRIORITY_MAX),
    )


def from_json(body: bytes, defaults: Defaults) -> tuple[list[NewMessage], bool]:
    """The messages in a body, and whether they are to be stored all or none. Problem where it is malformed."""
    if defaults is NO_DEFAULTS:
        try:
            plain = _decode_plain(body)
        except MALFORMED:
            plain = None
        if plain is not None:
            return _plain(plain, body), True
    try:
        sent = _decode(body)
    except MALFORMED as error:
        refuse(error, body)
    return messages_in(sent, body, defaults)


def messages_in(sent: schemas.Publish, body: bytes, defaults: Defaults = NO_DEFAULTS) -> tuple[list[NewMessage], bool]:
    """The same of what was decoded already from these bytes."""
    if sent.messages is UNSET:
        if sent.atomic is not UNSET:
            raise Problem("invalid_body", "The field `atomic` stands beside the field `messages`.")
        _refuse_repeated(body, [sent])
        return [new_message(sent, "", defaults)], True
    if any(_has(sent, name) for name in _QUOTED):
        raise _either()
    _refuse_repeated(body, sent.messages, sent)
    found = [new_message(item, f" - at `$.messages[{n}]`", defaults) for n, item in enumerate(sent.messages)]
    return found, sent.atomic is not False


def _plain(sent: schemas.PlainPublish, body: bytes) -> list[NewMessage]:
    """The same of one that has nothing but bodies."""
    if isinstance(sent.messages, msgspec.UnsetType):
        if isinstance(sent.body, msgspec.UnsetType):
            raise _either()
        values = [bytes(sent.body)]
        least_bytes = _PLAIN_BYTES + len(values[0])
    else:
        if sent.body is not UNSET:
            raise _either()
        values = [bytes(message.body) for message in sent.messages]
        least_bytes = _BATCH_BYTES + (_PLAIN_BYTES + 1) * len(values) - 1 + sum(map(len, values))
    if len(body) - least_bytes >= _AGAIN_BYTES and (
        body.count(b'"body"') > len(values) or body.count(b'"messages"') > 1
    ):
        refuse_duplicates(body)
    check_values(values, body)
    return [NewMessage(value) for value in values]


def new_message(sent: schemas.ScheduledMessage, place: str, defaults: Defaults = NO_DEFAULTS) -> NewMessage:
    """A message as the queue takes it. `place`: where it stands in the body."""
    if isinstance(sent.body_base64, bytes):
        if sent.body is not UNSET:
            raise Problem("invalid_body", f"Object takes either the field `body` or the field `body_base64`{place}.")
        body, binary = sent.body_base64, True
    elif isinstance(sent.body, msgspec.Raw):
        body, binary = check_value(sent.body), False
    else:
        raise Problem("invalid_body", f"Object missing required field `body`{place}.")
    dedup_id = sent.dedup_id if isinstance(sent, schemas.Message) else None
    return NewMessage(
        body, binary, sent.headers or None, sent.group or defaults.group, dedup_id or defaults.dedup_id,
        to_ms(sent.delay_s) if isinstance(sent.delay_s, float) else defaults.delay_ms,
        to_ms(sent.ttl_s) if isinstance(sent.ttl_s, float) else defaults.ttl_ms,
        int(sent.priority) if isinstance(sent.priority, float) else defaults.priority,
    )  # fmt: skip


def sent_message(message: NewMessage) -> schemas.ScheduledMessage:
    """The way back: a message as a client would send it."""
    delay_ms, ttl_ms = message.delay_ms, message.ttl_ms
    return schemas.ScheduledMessage(
        body=UNSET if message.binary else msgspec.Raw(message.body),
        body_base64=message.body if message.binary else UNSET, headers=message.headers or UNSET,
        group=message.group or UNSET, delay_s=UNSET if delay_ms is None else to_s(delay_ms),
        ttl_s=UNSET if ttl_ms is None else to_s(ttl_ms), priority=message.priority or UNSET,
    )  # fmt: skip


def from_bytes(call: Call, body: bytes, defaults: Defaults) -> NewMessage:
    """The one message of a binary publish: the body is its own, headers come as `RMQ-Header-<name>`."""
    headers: dict[str, str] = {}
    for name, value in call.scope["headers"]:
        if not name.startswith(HEADER_PREFIX):
            continue
        name = name[len(HEADER_PREFIX) :]
        if not _header_name.match(name) or name.decode() in headers:
            raise Problem("invalid_header", f"RMQ-Header- is followed by {IN_WORDS[HEADER_NAME_PATTERN]}, once each.")
        try:
            headers[name.decode()] = text = value.decode()
        except UnicodeDecodeError:
            raise Problem("invalid_header", f"RMQ-Header-{name.decode()} is not UTF-8.") from None
        if len(text) > HEADER_LENGTH_MAX or len(headers) > HEADERS_MAX:
            raise Problem(
                "invalid_header", f"A message has at most {HEADERS_MAX} headers of {HEADER_LENGTH_MAX} characters."
            )
    return NewMessage(body, True, headers or None, *defaults)


def _has(sent: schemas.ScheduledMessage, name: str) -> bool:
    return getattr(sent, name) is not UNSET


def _refuse_repeated(body: bytes, items: Sequence[schemas.ScheduledMessage], *around: schemas.Publish) -> None:
    """A name that stands there more often than it was decoded is repeated, or stands in a message's own value. None is
    where there are no more colons than fields."""
    if body.count(b":") <= sum(map(_fields, (*items, *around))):
        return
    for name, quoted in _QUOTED.items():
        if body.count(quoted) > sum(_has(item, name) for item in items):
            refuse_duplicates(body)
            return
    if any(body.count(quoted) > 1 for quoted in _BESIDE):
        refuse_duplicates(body)


def _fields(sent: msgspec.Struct) -> int:
    """How many fields were sent, the one that tells its kind included."""
    values = msgspec.structs.astuple(sent)
    return len(values) - values.count(UNSET) + (sent.__struct_config__.tag is not None)


def _either() -> Problem:
    return Problem("invalid_body", "Object takes either the field `body` or the field `messages`.")
