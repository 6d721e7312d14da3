"""The frames of a session, one JSON object each, told apart by `op`.

Rules of this file: what a frame shares with a route has the route's names and limits. A frame's `id` is the client's;
whatever answers the frame carries it again. Every frame of the client is answered by one frame, of its kind or `error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from app.api import message_schemas as schemas
from app.api.bodies import MALFORMED, check_value, refuse, refuse_duplicates
from app.api.kinds import WHOLE_MAX, Integer, Lease, Name
from app.api.problems import Problem, ProblemDetails, problem_details, problem_of
from app.node.errors import NodeError

CREDIT_MAX = 10_000
Id = Annotated[int, Meta(ge=0, le=WHOLE_MAX)]
Credit = Annotated[Integer, Meta(ge=0, le=CREDIT_MAX)]


class Publish(schemas.Publish, tag_field="op", tag="publish", kw_only=True, forbid_unknown_fields=True):
    """One message, or several: as POST /v1/topics/{topic}/messages. -> Published"""

    id: Id
    topic: Name


class PlainPublish(Struct, tag_field="op", tag="publish", kw_only=True, forbid_unknown_fields=True):
    """The commonest of these: one message, with nothing but a body."""

    id: Id
    topic: Name
    body: Raw


class Ack(schemas.Ack, tag_field="op", tag="ack", kw_only=True, forbid_unknown_fields=True):
    """As the route. -> Settled"""

    id: Id
    topic: Name


class Nack(schemas.Nack, tag_field="op", tag="nack", kw_only=True, forbid_unknown_fields=True):
    """As the route. -> Settled"""

    id: Id
    topic: Name


class Extend(schemas.Extend, tag_field="op", tag="extend", kw_only=True, forbid_unknown_fields=True):
    """As the route. -> Settled"""

    id: Id
    topic: Name


class Consume(Struct, tag_field="op", tag="consume", kw_only=True, forbid_unknown_fields=True):
    """Become a consumer: messages come, never more unsettled ones than `credit`. -> Consuming, then Deliver"""

    id: Id
    topic: Name
    credit: Credit
    subscription: Name = "default"
    lease_s: Lease | None = None


class SetCredit(Struct, tag_field="op", tag="credit", kw_only=True, forbid_unknown_fields=True):
    """Another credit for the consumer `id`; 0 holds it. -> Consuming"""

    id: Id
    credit: Credit


class Cancel(Struct, tag_field="op", tag="cancel", kw_only=True, forbid_unknown_fields=True):
    """The consumer `id` gets no more; what it has stays with it. -> Cancelled"""

    id: Id


Sent = Publish | Ack | Nack | Extend | Consume | SetCredit | Cancel
OPS = ("publish", "ack", "nack", "extend", "consume", "credit", "cancel")


class Hello(Struct, tag_field="op", tag="hello", kw_only=True):
    """The first frame: who answers, and the largest frame that it takes."""

    node: int
    version: str
    frame_bytes_max: int


class Published(schemas.Published, tag_field="op", tag="published", kw_only=True):
    """On the disks of a majority."""

    id: int


def published(id: int, places: Sequence[bytes]) -> Raw:
    """`Published` as it is said, of places that are JSON already (`publish.places`)."""
    return Raw(_PUBLISHED % (b",".join(places), id))


_PUBLISHED = msgspec.json.encode(Published(messages=[], id=7)).replace(b"[]", b"[%b]").replace(b"7", b"%d")


class Settled(schemas.Settled, tag_field="op", tag="settled", kw_only=True):
    """A result for each token."""

    id: int


class Consuming(Struct, tag_field="op", tag="consuming", kw_only=True):
    """The consumer stands, with this credit."""

    id: int
    credit: int


class Cancelled(Struct, tag_field="op", tag="cancelled", kw_only=True):
    """Nothing comes for this consumer any more."""

    id: int


class Deliver(Struct, tag_field="op", tag="deliver", kw_only=True):
    """Messages for the consumer `id`, each a `ReceivedMessage`, encoded already."""

    messages: list[Raw]
    id: int


class Error(ProblemDetails, tag_field="op", tag="error", kw_only=True):
    """A frame was refused, or a consumer ended; `id` is null where the frame could not be read so far."""

    id: int | None


def error(id: int | None, refused: Problem | NodeError) -> Error:
    """The frame that tells of this refusal."""
    problem = problem_of(refused) if isinstance(refused, NodeError) else refused
    return Error(id=id, **msgspec.structs.asdict(problem_details(problem)))


class _Head(Struct):
    """Of a frame that is not understood: which one it was."""

    id: Id | None = None


class Refused(Exception):
    """A frame that cannot be taken: its id, as far as it is known, and why."""

    def __init__(self, id: int | None, problem: Problem) -> None:
        super().__init__(id, problem)
        self.id, self.problem = id, problem


_decode = msgspec.json.Decoder(Sent).decode
_decode_plain = msgspec.json.Decoder(PlainPublish | Cancel).decode
"""Of two kinds, since of one the decoder would not ask for the `op`."""
_PLAIN_NAMES = (b'"op"', *(b'"%s"' % name.encode() for name in PlainPublish.__struct_fields__))
_PLAIN_FIELDS = len(_PLAIN_NAMES)
_decode_head = msgspec.json.Decoder(_Head).decode
_NAMES = {b'"%s"' % name.encode() for kind in (Consume, Nack, Extend) for name in kind.__struct_fields__} | {b'"op"'}


def read(frame: bytes) -> Sent:
    """What the client says. Raises Refused."""
    try:
        sent: Sent = _decode(frame)
    except MALFORMED as mistake:
        raise Refused(_id_of(frame), _problem(mistake, frame)) from None
    if not isinstance(sent, Publish) and any(frame.count(name) > 1 for name in _NAMES):
        # Of a publish the messages are looked at where they are decoded; what a body says is its own affair.
        try:
            refuse_duplicates(frame)
        except Problem as problem:
            raise Refused(sent.id, problem) from None
    return sent


def read_plain(frame: bytes) -> PlainPublish | None:
    """A publish of one message that has nothing but a body, all of it checked. None: it is another frame, or may be
    wrong; `read` tells."""
    try:
        sent = _decode_plain(frame)
        if not isinstance(sent, PlainPublish):
            return None
        check_value(sent.body)
    except (*MALFORMED, Problem):
        return None
    if frame.count(b":") > _PLAIN_FIELDS and any(frame.count(name) > 1 for name in _PLAIN_NAMES):
        return None
    return sent


def _id_of(frame: bytes) -> int | None:
    try:
        return _decode_head(frame).id
    except MALFORMED:
        return None


def _problem(mistake: Exception, frame: bytes) -> Problem:
    if isinstance(mistake, msgspec.ValidationError) and ("`op`" in str(mistake) or "`$.op`" in str(mistake)):
        return Problem("invalid_body", f"The field `op` is one of {', '.join(OPS)}.")
    try:
        refuse(mistake, frame)
    except Problem as problem:
        return problem
