"""A message's body at a terminal: how it is read from what is typed, and how it is shown.

    text   as it stands; sent as a JSON text
    json   parsed; sent as the JSON value that it is
    bytes  as they are

Templates: {{n}} is the number of the message, from 1; {{time}} is now, RFC 3339; {{id}} is a new UUID.
"""

from __future__ import annotations

import base64
import enum
import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

from rmq.calls import is_unicode
from rmq.command.exits import UsageError

_FIELD = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class Form(enum.StrEnum):
    """What a body is."""

    TEXT = "text"
    JSON = "json"
    BYTES = "bytes"


def read(raw: bytes, form: Form) -> Any:
    """A body from what was typed or read. UsageError for what is not of this form."""
    if form is Form.BYTES:
        return raw
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"The body is no UTF-8 text (byte {error.start + 1}): add --form bytes.") from None
    if form is Form.TEXT:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The body is no JSON ({error}): mend it, or leave --form json out.") from None


def fill(template: bytes, number: int) -> bytes:
    """The template for the message of this number. UsageError for a field that nobody knows."""
    values = {
        "n": lambda: str(number), "time": lambda: datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "id": lambda: str(uuid.uuid4()),
    }  # fmt: skip

    def one(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise UsageError(f"{found[0]} is no field of a template: there are {{{{n}}}}, {{{{time}}}}, {{{{id}}}}.")
        return values[found[1]]()

    return _FIELD.sub(one, template.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def headers(given: list[str] | None) -> dict[str, str]:
    """Headers from NAME=VALUE each. UsageError for what is not so."""
    found = {}
    for each in given or []:
        name, equals, value = each.partition("=")
        if not equals or not name or not is_unicode(each):
            raise UsageError(f"A header is NAME=VALUE, in UTF-8, not {each!r}.")
        found[name] = value
    return found


def shown(body: Any) -> str:
    """A body in a line or more: a text as it is, bytes in base64, all else as JSON."""
    if isinstance(body, str):
        return body
    if isinstance(body, bytes):
        return "base64:" + base64.b64encode(body).decode()
    return json.dumps(body, ensure_ascii=False)


def written(body: Any) -> bytes:
    """A body as it is, for a file."""
    return body if isinstance(body, bytes) else shown(body).encode("utf-8", "surrogatepass")


def short(body: Any, width: int) -> str:
    """A body in a cell of a table."""
    text = " ".join(shown(body).split())
    return text if len(text) <= width else text[: width - 1] + "…"
