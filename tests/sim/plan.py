"""What one run is like: everything that is drawn once, from the seed alone.

Rules of this file: plain data. Faults are drawn as a swarm: each seed leaves some kinds out and prefers others, so
that runs differ in character and not only in their details (Groce et al., "Swarm Testing", ISSTA 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from app.raft import Tuning

MS = 1000
"""Virtual time is counted in microseconds."""
SECOND = 1000 * MS

SCENES = ("figure_8", "wiped_ally", "overtaken_leader", "forgotten_leases")
FAULTS = (
    "power", "power_soon", "power_on_start", "power_all", "kill", "disk_error", "pause", "pause_leader", "partition",
    "isolate_leader", "deafen_leader", "one_way", "straggler", "stall", "stall_leader", "full", "wipe", "clock",
    "transfer", "transfer_stuck", "loss", "depose", "rogue_leader",
    *SCENES,
)  # fmt: skip
"""Each is a method of `faults.Faults`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes in bytes, times in milliseconds unless the name says otherwise."""

    seed: int
    seconds: int
    nodes: int
    tick_ms: int
    tuning: Tuning
    segment_bytes: int
    compact_every_bytes: int
    retain_bytes: int
    chunk_bytes: int
    cache_bytes: int
    inbox_limit: int
    delay_ms: float
    slow_share: float
    drop_share: float
    duplicate_share: float
    in_order: bool
    disk_ms: float
    turn_lag_share: float
    clients: int
    think_ms: float
    fault_gap_ms: float
    fault_weights: tuple[float, ...]
    ambush_share: float
    """How often a machine loses its power, or a link is cut, in the middle of a step that is rarely under way."""


def draw(seed: int, seconds: int = 60) -> Plan:
    """The plan of this seed."""
    rng = Random(f"plan {seed}")
    pick = rng.choice
    nodes = rng.choices((1, 2, 3, 4, 5, 7), (2, 3, 58, 3, 32, 2))[0]
    heartbeat = pick((3, 4))
    election = heartbeat * pick((3, 4))
    tuning = Tuning(
        heartbeat_ticks=heartbeat,
        election_min_ticks=election,
        election_max_ticks=election * 2,
        stall_ticks=election * pick((2, 4)),
        message_bytes=pick((300, 1000, 1 << 20)),
        window=pick((1, 4, 64)),
        window_bytes=pick((600, 8 << 20)),
        apply_bytes=pick((200, 1 << 20)),
    )
    calm = rng.random() < 0.03
    return Plan(
        seed=seed,
        seconds=seconds,
        nodes=nodes,
        tick_ms=pick((20, 25, 40)),
        tuning=tuning,
        segment_bytes=pick((8192, 8192, 12288, 65536)),
        compact_every_bytes=pick((1500, 4000, 12000)),
        retain_bytes=pick((200, 1000, 6000)),
        chunk_bytes=pick((4096, 8192, 32768)),
        cache_bytes=pick((0, 500, 1 << 20)),
        inbox_limit=pick((3, 100, 1000)),
        delay_ms=pick((0.5, 2.0, 10.0)),
        slow_share=pick((0.0, 0.01, 0.05)),
        drop_share=0.0 if calm else pick((0.0, 0.01, 0.05)),
        duplicate_share=pick((0.0, 0.02)),
        in_order=pick((True, False)),
        disk_ms=pick((0.3, 1.0, 4.0)),
        turn_lag_share=pick((0.0, 0.1)),
        clients=pick((2, 3, 4)),
        think_ms=pick((100.0, 200.0)),
        fault_gap_ms=0.0 if calm else pick((700.0, 1500.0, 4000.0)),
        fault_weights=tuple(
            0.0 if rng.random() < 0.35 else rng.expovariate(1.0) * (2 if name in SCENES else 1) for name in FAULTS
        ),
        ambush_share=0.0 if calm else pick((0.0, 0.1, 0.3)),
    )
