"""Heads of requests that were read before.

Theory: a client sends the same head again and again, and to parse it is a third of what a publish costs in HTTP
(docs/performance.md). What a head says follows from its bytes alone. So the bytes of one are kept beside what they say,
and whoever sends them again, with a body of the length that they tell, needs no parser. Where each head is another, as
with a key for each request, or lengths without end, nothing is gained, and a tenth of HTTP's time is lost.

Rules of this file: a head is kept only where the parser has found its end and its body just where `find` would look for
them, and, as a second fence, where each of its lines ends with CRLF and is a header of its own. None is kept that ends
the connection, since the parser has to know of that. Heads are few and short; the oldest goes first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.api.endpoint import Endpoint

MOST, BYTES = 256, 1024
"""Heads that are kept, and how long each of them may be."""
_END = b"\r\n\r\n"


class Head(NamedTuple):
    """What a head says. `scope` is shared by all requests that have it, and names the first one's client."""

    scope: Mapping[str, Any]
    endpoint: Endpoint
    parameters: tuple[str, ...]
    body_bytes: int


class Heads:
    """The memory, for all connections of a server."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """What the head says that these bytes begin with, and the body that is all of the rest."""
        end = data.find(_END, 0, BYTES) + len(_END)
        head = self._heads.get(data[:end])
        return (head, data[end:]) if head is not None and len(data) - end == head.body_bytes else None

    def keep(self, data: bytes, head: Head, body: bytes | bytearray) -> None:
        """These bytes were parsed, as one request with this head and this body."""
        end = data.find(_END, 0, BYTES) + len(_END)
        lines = len(head.scope["headers"]) + 2
        if data[end:] != body or data.count(b"\r\n", 0, end) != lines or data.count(b"\n", 0, end) != lines:
            return
        if len(self._heads) >= MOST:
            del self._heads[next(iter(self._heads))]
        self._heads[data[:end]] = head
