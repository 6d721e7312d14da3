"""Heads of requests that were read before.

Theory: a client sends the same head again and again, and to parse it is a third of what a publish costs in HTTP
(docs/performance.md). What a head says follows from its bytes alone. So the bytes of one are kept beside what they say,
and whoever sends them again, with a body of the length that they tell, needs no parser. A key that is another in each
request is cut out before, and put in again into what they say. Where all else differs, too, such as with lengths
without end, nothing is gained.

Rules of this file: a head is kept only where the parser has found its end and its body just where `find` would look for
them, and, as a second fence, where each of its lines ends with CRLF and is a header of its own. None is kept that ends
the connection, since the parser has to know of that. What is cut out is one word of visible ASCII, on a line whose
header is none of the others', so that no parser can see anything else in it. There is room for so many heads, of so
many headers; then the oldest gives way, but only to a few of those that come: else more heads in turn than there is
room for would each be gone before they come again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from app.api.endpoint import Endpoint

MOST, BYTES, HEADERS = 16_384, 1024, 16
"""Heads that are kept, some 2 KB of memory each, and how long each of them may be."""
FEW = 16
"""Where there is no room, one of so many gets some."""
_ONCE = (b"idempotency-key", b"traceparent", b"x-request-id")
"""Headers that differ from request to request."""
_ONCE_VALUE = re.compile(rb"(?i)\r\n(?:%b): ([!-~]+)(?=\r\n)" % b"|".join(_ONCE))
_END = b"\r\n\r\n"
_Pieces = tuple[bytes, ...]
"""A head without the values of those headers: what stands before, between and behind them."""


class Head(NamedTuple):
    """What a head says. `scope` is shared by all requests that have it, and names the first one's client."""

    scope: Mapping[str, Any]
    endpoint: Endpoint
    parameters: tuple[str, ...]
    body_bytes: int


class Heads:
    """The memory, for all connections of a server."""

    def __init__(self) -> None:
        self._heads: dict[bytes | _Pieces, Head] = {}
        self._came = 0

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """What the head says that these bytes begin with, and the body that is all of the rest."""
        end = _end(data)
        head = self._heads.get(data[:end]) or self._find_cut(data[:end])
        return (head, data[end:]) if head is not None and len(data) - end == head.body_bytes else None

    def _find_cut(self, data: bytes) -> Head | None:
        pieces, values = _cut(data)
        head = self._heads.get(pieces) if values else None
        if head is None:
            return None
        left = iter(values)
        headers = [(name, next(left) if name in _ONCE else value) for name, value in head.scope["headers"]]
        return head._replace(scope={**head.scope, "headers": headers})

    def keep(self, data: bytes, head: Head, body: bytes | bytearray) -> None:
        """These bytes were parsed, as one request with this head and this body."""
        end, headers = _end(data), head.scope["headers"]
        lines = len(headers) + 2
        if data[end:] != body or data.count(b"\r\n", 0, end) != lines or data.count(b"\n", 0, end) != lines:
            return
        pieces, values = _cut(data[:end])
        if len(headers) > HEADERS or values != [value for name, value in headers if name in _ONCE]:
            return
        if len(self._heads) >= MOST:
            self._came += 1
            if self._came % FEW:
                return
            del self._heads[next(iter(self._heads))]
        self._heads[pieces if values else data[:end]] = head


def _cut(head: bytes) -> tuple[_Pieces, list[bytes]]:
    """A head's bytes without what differs from request to request, and that."""
    pieces, values, at = [], [], 0
    for found in _ONCE_VALUE.finditer(head):
        pieces.append(head[at : found.start(1)])
        values.append(found[1])
        at = found.end(1)
    return (*pieces, head[at:]), values


def _end(data: bytes) -> int:
    """Where the head is over; where it is not, or is long, a place at which none ever was."""
    return data.find(_END, 0, BYTES) + len(_END)
