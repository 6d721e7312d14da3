"""What comes beside the body: the path's topic, query parameters, cursors, the request's key.

Rules of this file: a parameter that is not known, repeated or malformed is refused by name; a cursor is
opaque, carries what it continues, and is refused unless this file made it for the same question.
"""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import parse_qsl

from app.api.calls import Call
from app.api.problems import Problem

TOPIC_PATTERN = "^[A-Za-z0-9._-]{1,128}$"
KEY_SCHEMA = {"type": "string", "pattern": "^[!-~]{1,256}$", "minLength": 1, "maxLength": 256}
_topic = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_key = re.compile(rb"[\x21-\x7e]{1,256}")
_number = re.compile(r"[0-9]{1,9}", re.ASCII)


def topic_of(call: Call) -> str:
    """The topic in the path of a /v1 route."""
    if not _topic.fullmatch(call.parameter):
        raise Problem("invalid_topic", "A topic's name is 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-'.")
    return call.parameter


def is_topic(name: str) -> bool:
    """Whether a topic may have this name."""
    return _topic.fullmatch(name) is not None


def key_of(call: Call) -> str | None:
    """The key under which the client may repeat this request: Idempotency-Key. None when it sent none."""
    return _key_from(call, b"idempotency-key", "Idempotency-Key")


def request_id_of(call: Call) -> str | None:
    """The same for a destructive read: Idempotency-Key, or X-Request-Id, which more clients know to send."""
    key, request_id = key_of(call), _key_from(call, b"x-request-id", "X-Request-Id")
    return request_id if key is None else key


def _key_from(call: Call, header: bytes, name: str) -> str | None:
    value = call.headers.get(header)
    if value is None:
        return None
    if not _key.fullmatch(value):
        raise Problem("invalid_header", f"{name} is 1 to 256 visible ASCII characters, such as a UUID.")
    return value.decode("ascii")


class Query:
    """The query parameters of one call, checked against the names that the route knows."""

    def __init__(self, call: Call, *known: str) -> None:
        self._values: dict[str, str] = {}
        query = call.scope.get("query_string", b"")
        if not query:
            return
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=32)
        except (ValueError, UnicodeError):
            raise Problem("invalid_parameter", "The query is not percent-encoded UTF-8, or too long.") from None
        for name, value in pairs:
            if name not in known:
                takes = ", ".join(known) if known else "none"
                raise Problem(
                    "invalid_parameter", f"Unknown query parameter {_quoted(name)}; this route takes: {takes}."
                )
            if name in self._values:
                raise Problem("invalid_parameter", f"The query parameter `{name}` stands twice.")
            self._values[name] = value

    def text(self, name: str, default: str = "", *, longest: int = 128) -> str:
        """A text as it came."""
        value = self._values.get(name, default)
        if len(value) > longest:
            raise Problem("invalid_parameter", f"The query parameter `{name}` has at most {longest} characters.")
        return value

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from low to high."""
        value = self._values.get(name)
        if value is None:
            return default
        if not _number.fullmatch(value) or not low <= int(value) <= high:
            raise Problem("invalid_parameter", f"The query parameter `{name}` is a whole number from {low} to {high}.")
        return int(value)

    def stale(self) -> bool:
        """Whether the client takes an answer from this node alone (`consistency=stale`)."""
        value = self._values.get("consistency", "linearizable")
        if value not in ("linearizable", "stale"):
            raise Problem("invalid_parameter", "The query parameter `consistency` is `linearizable` or `stale`.")
        return value == "stale"


def _quoted(name: str) -> str:
    return f"`{name[:64]}`" if name.isprintable() else "with unprintable characters"


def encode_cursor(question: str, after: int) -> str:
    """An opaque text that continues `question` (route and filter) behind the item `after`."""
    place = after.to_bytes(8, "big")
    return base64.urlsafe_b64encode(_seal(question, place) + place).decode().rstrip("=")


def decode_cursor(question: str, cursor: str) -> int:
    """What encode_cursor was given; Problem invalid_cursor for any other text, or for another question."""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:
        data = b""
    seal, place = data[:8], data[8:]
    if len(data) != 16 or seal != _seal(question, place):
        raise Problem("invalid_cursor", "Send the `next_cursor` of an answer of this route, with the same prefix.")
    return int.from_bytes(place, "big")


def _seal(question: str, place: bytes) -> bytes:
    """Tells a cursor from a typing mistake; it is no secret and keeps nobody out."""
    return hashlib.blake2b(question.encode() + b"\0" + place, digest_size=8).digest()
