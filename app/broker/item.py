"""What the machine is fed: one committed log entry, opened as far as the machine needs it.

Every entry arrives here, commands or not, since the applied index must not skip any.
"""

from __future__ import annotations

import msgspec


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry. `command` and `configuration` are both None for a no-op; at most one of them is given."""

    index: int
    term: int
    time_ms: int
    """The leader's clock when it proposed the entry, Unix milliseconds; 0 where it did not say."""
    command: bytes | None = None
    configuration: bytes | None = None
    """Opaque to the machine: it keeps the last one it was given."""
    is_asked: bool = True
    """Whether somebody waits for the answer here. Without, it may be empty bytes; the state does not depend on it."""
