"""Kinds of values that several bodies and queries have, with their limits, and how they are written.

Rules of this file: a limit of the API stands here once; none is wider than what `app.broker.commands` takes. Times are
seconds in the API, down to a millisecond, and whole milliseconds inside.
"""

from __future__ import annotations

import datetime
import functools
from typing import Annotated

from msgspec import Meta

from app.broker import commands

NAME_PATTERN = r"\A(?!\.\.?\Z)[A-Za-z0-9._-]{1,128}\Z"
"""Without `.` and `..`: clients take them out of a path before they send it (RFC 3986, 6.2.2.3)."""
HEADER_NAME_PATTERN = r"\A[A-Za-z0-9._-]{1,64}\Z"
VISIBLE_PATTERN = r"\A[!-~]{1,128}\Z"
KEY_PATTERN = r"\A[!-~]{1,256}\Z"
IN_WORDS = {
    NAME_PATTERN: "a name of 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-', not '.' or '..' alone",
    HEADER_NAME_PATTERN: "a header's name of 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'",
    VISIBLE_PATTERN: "1 to 128 visible ASCII characters",
    KEY_PATTERN: "1 to 256 visible ASCII characters",
}
"""What the patterns say, for who did not keep to one."""

CHOICES = {"overflow": "'reject' or 'drop_oldest'", "start": "'earliest', 'latest' or a sequence"}
"""By field, for who wrote another word."""

HEADERS_MAX, HEADER_LENGTH_MAX = 32, 1024
MESSAGES_MAX = commands.MESSAGES_MAX
"""Messages in one publish or one receive, tokens in one ack, items on one page."""
WHOLE_MAX = (1 << 53) - 1
"""The largest whole number that every JSON reader takes as it is."""
SPAN_MAX_S = commands.SPAN_MS_MAX // 1000
LEASE_MAX_S = commands.LEASE_MS_MAX // 1000
WINDOW_MAX_S = commands.DAY_MS // 1000
WAIT_MAX_S = 20
DELIVERIES_MAX = 1000
PRIORITY_MAX = 9
TOKEN_LENGTH_MAX = 128
CRON_LENGTH_MAX, ZONE_LENGTH_MAX = 128, 64

Integer = Annotated[float, Meta(multiple_of=1)]
"""Decoded as a float, because JSON's 1.0 is an integer as well (JSON Schema, 6.1.1)."""
Count = Annotated[Integer, Meta(ge=1, le=WHOLE_MAX)]
Priority = Annotated[Integer, Meta(ge=0, le=PRIORITY_MAX)]
Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Visible = Annotated[str, Meta(pattern=VISIBLE_PATTERN)]
Key = Annotated[str, Meta(pattern=KEY_PATTERN)]
Headers = Annotated[
    dict[Annotated[str, Meta(pattern=HEADER_NAME_PATTERN)], Annotated[str, Meta(max_length=HEADER_LENGTH_MAX)]],
    Meta(max_length=HEADERS_MAX),
]
Lease = Annotated[float, Meta(ge=0.001, le=LEASE_MAX_S)]
Delay = Annotated[float, Meta(ge=0, le=SPAN_MAX_S)]
Lifetime = Annotated[float, Meta(ge=0.001, le=SPAN_MAX_S)]
Window = Annotated[float, Meta(ge=1, le=WINDOW_MAX_S)]

TIME_SCHEMA = {"format": "date-time"}


def to_ms(seconds: float) -> int:
    """Seconds as they were sent, in milliseconds."""
    return round(seconds * 1000)


def to_s(milliseconds: int) -> float:
    """Milliseconds as seconds; whole ones without a point."""
    whole, rest = divmod(milliseconds, 1000)
    return whole if not rest else milliseconds / 1000


@functools.lru_cache(maxsize=64)
def timestamp(time_ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339 in UTC."""
    moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
