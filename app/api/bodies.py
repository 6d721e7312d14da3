"""Reading and decoding request bodies.

Rules of this file: a body is counted while it streams, and refused at the first byte too many, whatever its
Content-Length claims; nothing is decoded before its size, type and encoding are known to be right; every
way in which bytes can fail to be what a route takes ends in a `Problem` that names it, never in another
exception. Values that are stored as they came (`msgspec.Raw`) are checked to the last byte first, because
whoever receives them has to be able to read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from app.api.calls import Call, ClientGone
from app.api.kinds import CHOICES, IN_WORDS
from app.api.problems import Problem

MALFORMED = (ValueError, RecursionError, msgspec.MsgspecError)
"""What decoding a body may raise."""
_FORM = b"application/x-www-form-urlencoded"
"""What curl calls a body whose type it was not told."""
_MATCHING = "Expected `str` matching regex "
_NO_CHOICE = re.compile(rf"Invalid enum value (.*) - at `\$\.({'|'.join(CHOICES)})`", re.DOTALL)
_FLOAT = re.compile(r"`float( \| null)?`")
_WHOLE_BOUND = re.compile(r"([<>]=? [0-9]+)\.0\b")
_SAME_DIGIT = bytes.maketrans(b"123456789", b"000000000")
DIGITS_MAX = 308
"""Of a number, before its point: the largest doubles have one more (RFC 8259, 6)."""
_STRIDE = 34
_MANY_DIGITS = b"0" * ((DIGITS_MAX + 1) // _STRIDE)
"""More digits than that, seen at every `_STRIDE`-th byte."""


async def read_body(call: Call, limit_bytes: int) -> bytes:
    """The whole body; Problem body_too_large above the limit, ClientGone when the client hung up before its end."""
    if call.body is not None and len(call.body) <= limit_bytes:
        return call.body
    declared = call.headers.get(b"content-length")
    if declared is not None and declared.isdigit() and (len(declared) > 18 or int(declared) > limit_bytes):
        # Who asked before sending (Expect) will not send now: the connection has no next request on it.
        close = ((b"connection", b"close"),) if b"expect" in call.headers else ()
        raise _too_large(limit_bytes, close)
    message = await call.receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    if not message.get("more_body", False):
        return body
    chunks, size_bytes = [body], len(body)
    while message.get("more_body", False):
        message = await call.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limit_bytes: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Problem:
    return Problem("body_too_large", f"A body may have at most {limit_bytes} bytes.", headers=headers)


def require_json(call: Call, *, lenient: bool = False) -> None:
    """Refuse a body that does not say that it is JSON in UTF-8, uncompressed.

    Lenient is for the classic routes: a body without a type, or with curl's default, is taken as JSON.
    """
    if b"content-encoding" in call.headers:
        _refuse_encoded(call)
    value = call.headers.get(b"content-type", b"")
    if value == b"application/json":
        return
    kind, _, options = value.lower().partition(b";")
    kind = kind.strip()
    if lenient and kind in (b"", _FORM):
        return
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise Problem("unsupported_media_type", "Send the body with Content-Type: application/json.")
    for option in options.split(b";"):
        name, _, charset = option.strip().partition(b"=")
        if name == b"charset" and charset.strip(b'"') not in (b"utf-8", b"utf8", b"us-ascii"):
            raise Problem("unsupported_media_type", "JSON is sent in UTF-8; leave the charset out.")


def _refuse_encoded(call: Call) -> None:
    if call.headers[b"content-encoding"].strip().lower() not in (b"identity", b""):
        raise Problem("unsupported_media_type", "The body must be sent without Content-Encoding.")


def is_binary(call: Call) -> bool:
    """Whether the body says that it is bytes and nothing more; Problem when it is compressed as well."""
    kind = call.headers.get(b"content-type", b"")
    if kind == b"application/json" or kind.partition(b";")[0].strip().lower() != b"application/octet-stream":
        return False
    if b"content-encoding" in call.headers:
        _refuse_encoded(call)
    return True


class BodyDecoder:
    """Decodes bodies of one struct. The repetition of a field is refused, as it may hide a mistake."""

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self._quoted = [b'"%s"' % name.encode() for name in kind.__struct_encode_fields__]

    def decode(self, body: bytes) -> Any:
        """The struct; Problem malformed_json or invalid_body with the place of the mistake."""
        try:
            value = self._decoder.decode(body)
        except MALFORMED as error:
            refuse(error, body)
        for name in self._quoted:
            if body.count(name) > 1:
                refuse_duplicates(body)
                break
        return value


def refuse(error: Exception, body: bytes) -> NoReturn:
    """Turn what the decoder said into a Problem."""
    if isinstance(error, msgspec.ValidationError):
        raise Problem("invalid_body", f"{_in_words(_first_line(error))}.") from None
    if isinstance(error, RecursionError):
        raise Problem("malformed_json", "The JSON is nested too deeply.") from None
    if isinstance(error, UnicodeDecodeError):
        raise Problem("malformed_json", "The body is not valid UTF-8.") from None
    if not body.strip():
        raise Problem("malformed_json", "The body is empty: send a JSON object.") from None
    if b"\\ud" in body.lower():
        raise Problem("malformed_json", f"{_first_line(error)}, or a lone surrogate.") from None
    raise Problem("malformed_json", f"{_first_line(error)}.") from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300].rstrip(".") if str(error) else "The JSON cannot be read"


def _in_words(text: str) -> str:
    """What the decoder expects, without Python's names for it. A field's name, which may be any text, stays."""
    if text.startswith(_MATCHING):
        found = next(pattern for pattern in IN_WORDS if text.startswith(f"{_MATCHING}{pattern!r}"))
        return f"Expected {IN_WORDS[found]}{text[len(_MATCHING) + len(repr(found)) :]}"
    if other := _NO_CHOICE.fullmatch(text):
        return f"Expected {CHOICES[other[2]]}, got {other[1]} - at `$.{other[2]}`"
    if text.startswith("Expected `bytes`"):
        return text.replace("`bytes`", "a string in base64", 1)
    if not text.startswith("Expected `float"):
        return text
    text = text.replace("`float` that's a multiple of 1.0", "a whole number", 1)
    text = _FLOAT.sub(lambda found: "a number or null" if found[1] else "a number", text, count=1)
    return _WHOLE_BOUND.sub(r"\1", text, count=1)


_decode_any = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode


def check_text(raw: msgspec.Raw, name: str) -> bytes:
    """The bytes of the field `name`, a JSON string, checked; Problem when it is another kind of value or no text."""
    try:
        _decode_text(raw)
    except msgspec.ValidationError as error:
        raise Problem("invalid_body", f"{_first_line(error)} - at `$.{name}`.") from None
    except MALFORMED as error:
        refuse(error, bytes(raw))
    return bytes(raw)


def check_value(raw: msgspec.Raw | bytes) -> bytes:
    """The bytes of any JSON value, checked: UTF-8, no lone surrogate, no number beyond a double."""
    value = bytes(raw)
    try:
        _decode_any(value)
    except MALFORMED as error:
        refuse(error, value)
    if _may_have_huge_numbers(value):
        _refuse_huge_numbers(value)
    return value


def check_values(values: Sequence[bytes], body: bytes) -> None:
    """The same check of many values that stand in one body: of the whole of it, and of each only where that fails."""
    try:
        _decode_any(body)
        is_well = not _may_have_huge_numbers(body)
    except MALFORMED:
        is_well = False
    if not is_well:
        for value in values:
            check_value(value)


def _may_have_huge_numbers(value: bytes) -> bool:
    return len(value) > DIGITS_MAX and _MANY_DIGITS in value[::_STRIDE].translate(_SAME_DIGIT)


def _refuse_huge_numbers(value: bytes) -> None:
    """The slow look, after the fast one found a long row of digits: it may stand in a string, or after a point."""

    def parse_int(text: str) -> int:
        if len(text.lstrip("-")) > DIGITS_MAX:
            raise Problem("invalid_body", "A number in the body is out of range.")
        return 0

    json.loads(value, parse_int=parse_int)


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON with all its fields, repeated ones too."""

    def repeated(self) -> str | None:
        """The first name that stands twice."""
        seen: set[str] = set()
        for name, _ in self:
            if name in seen:
                return name
            seen.add(name)
        return None


def refuse_duplicates(body: bytes) -> None:
    """The slow look, after the fast one found a name too often: it may stand in a message's value, which is free."""
    try:
        top = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return
    objects = [top] if isinstance(top, _Pairs) else []
    for name, value in list(objects[0]) if objects else []:
        if name == "messages" and isinstance(value, list):
            objects.extend(item for item in value if isinstance(item, _Pairs))
        elif name == "message" and isinstance(value, _Pairs):
            objects.append(value)
    for item in objects:
        repeated = item.repeated()
        if repeated is not None:
            raise Problem("invalid_body", f"Object contains the field `{repeated[:64]}` twice.")
