"""What comes beside the body: names in the path, query parameters, cursors, the request's key, versions.

Rules of this file: a parameter that is not known, repeated or malformed is refused by name; a cursor is
opaque, carries what it continues, and is refused unless this file made it for the same question.
"""

from __future__ import annotations

import base64
import hashlib
import re
from urllib.parse import parse_qsl

from app.api.calls import Call
from app.api.kinds import KEY_PATTERN, NAME_PATTERN, WHOLE_MAX
from app.api.problems import CODES, Problem

_name = re.compile(NAME_PATTERN)
_key = re.compile(KEY_PATTERN.encode())
_whole = re.compile(r"[0-9]{1,16}", re.ASCII)
_decimal = re.compile(r"[0-9]{1,32}(\.[0-9]{1,32})?([eE][+-]?[0-9]{1,4})?", re.ASCII)
_tag = re.compile(rb'(W/)?"([!#-~]*)"')
_version = re.compile(rb"[1-9][0-9]{0,14}")


def topic_of(call: Call) -> str:
    """The topic in the path of a /v1 route."""
    topic = call.parameters[0]
    if not _name.match(topic):
        raise Problem("invalid_topic", CODES["invalid_topic"].example)
    return topic


def part_of(call: Call) -> str:
    """The name in the path behind the topic's: of a subscription or a schedule."""
    name = call.parameters[1]
    if not _name.match(name):
        raise Problem("invalid_name", CODES["invalid_name"].example)
    return name


def is_topic(name: str) -> bool:
    """Whether a topic may have this name."""
    return _name.match(name) is not None


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
    if not _key.match(value):
        raise Problem("invalid_header", f"{name} is 1 to 256 visible ASCII characters, such as a UUID.")
    return value.decode("ascii")


def version_of(call: Call) -> int | None:
    """The version that the client has seen (If-Match); None for any. Problem version_conflict for what none has."""
    value = call.headers.get(b"if-match", b"*").strip()
    if value == b"*":
        return None
    found = _tag.fullmatch(value)
    if found is None:
        raise Problem("invalid_header", "If-Match is the ETag of one GET, with its quotes, or `*`.")
    if found[1] or not _version.fullmatch(found[2]):
        raise Problem("version_conflict", "No version of the topic has this ETag.")
    return int(found[2])


class Query:
    """The query parameters of one call, checked against the names that the route knows. `prefix`: any name that
    begins so is known as well; `prefixed` are those, without it."""

    def __init__(self, call: Call, *known: str, prefix: str = "") -> None:
        self._values: dict[str, str] = {}
        self.prefixed: dict[str, str] = {}
        query = call.scope.get("query_string", b"")
        if not query:
            return
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=32)
        except (ValueError, UnicodeError):
            raise Problem("invalid_parameter", "The query is not percent-encoded UTF-8, or too long.") from None
        for name, value in pairs:
            if prefix and name.startswith(prefix):
                if name[len(prefix) :] in self.prefixed:
                    raise Problem("invalid_parameter", f"The query parameter {_quoted(name)} stands twice.")
                self.prefixed[name[len(prefix) :]] = value
                continue
            if name not in known:
                takes = ", ".join([*known, *([f"{prefix}NAME"] if prefix else [])]) or "none"
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

    def matching(self, name: str, pattern: str, words: str) -> str | None:
        """A text of that pattern, which these words describe; None where it is not there."""
        value = self._values.get(name)
        if value is not None and not re.match(pattern, value):
            raise Problem("invalid_parameter", f"The query parameter `{name}` is {words}.")
        return value

    def whole(self, name: str, low: int = 0, high: int = WHOLE_MAX) -> int | None:
        """A whole number from low to high; None where it is not there."""
        value = self._values.get(name)
        if value is None:
            return None
        if not _whole.fullmatch(value) or not low <= int(value) <= high:
            raise Problem("invalid_parameter", f"The query parameter `{name}` is a whole number from {low} to {high}.")
        return int(value)

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """The same with a default."""
        value = self.whole(name, low, high)
        return default if value is None else value

    def seconds(self, name: str, low: float, high: int) -> float | None:
        """A number from low to high; None where it is not there."""
        value = self._values.get(name)
        if value is None:
            return None
        if not _decimal.fullmatch(value) or not low <= float(value) <= high:
            raise Problem("invalid_parameter", f"The query parameter `{name}` is a number from {low} to {high}.")
        return float(value)

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
        raise Problem("invalid_cursor", "Send the `next_cursor` of an answer of this route, with the same question.")
    return int.from_bytes(place, "big")


def _seal(question: str, place: bytes) -> bytes:
    """Tells a cursor from a typing mistake; it is no secret and keeps nobody out."""
    return hashlib.blake2b(question.encode() + b"\0" + place, digest_size=8).digest()
