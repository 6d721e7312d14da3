"""What a core may be told about its pace: how long, and how much at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """Times in ticks, sizes in bytes. The election timeout is drawn anew for each round from [min, max]."""

    heartbeat_ticks: int = 5
    election_min_ticks: int = 20
    election_max_ticks: int = 40
    stall_ticks: int = 150
    """A leader whose disk finishes nothing for so long steps down."""
    message_bytes: int = 1 << 20
    window: int = 64
    """AppendEntries under way to one member."""
    window_bytes: int = 8 << 20
    apply_bytes: int = 1 << 20
    """Committed entries handed out in one Ready."""
