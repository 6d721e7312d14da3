"""The scenarios: which faults, for how long, on how many nodes. Each is a row; what a fault does stands in `faults`.

Rules of this file: data and nothing else. A name says fault and target. `hold_s` and `rest_s` are the ends between
which a round's length with the fault and the pause after its heal are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

MIB = 1 << 20


class Scenario(NamedTuple):
    """`faults`: names in `faults`, one drawn for each round. `settings`: RMQ_ variables of all nodes.

    `data_mib`: size of each node's disk, where it matters; None: the machine's. `nodes`: the least that it needs.
    """

    name: str
    text: str
    faults: tuple[str, ...]
    hold_s: tuple[float, float] = (2.0, 4.0)
    rest_s: tuple[float, float] = (1.0, 2.5)
    nodes: int = 3
    settings: Mapping[str, str] = {}
    data_mib: int | None = None
    least_rounds: int = 0
    """However long they take, in a run of `FULL_S` or more."""


FULL_S = 60.0
"""The usual length of a run."""

SHORT = (0.8, 1.6)
"""For faults whose first second is what matters: more rounds in the same time."""

SMALL_LOG = {
    "RMQ_SEGMENT_BYTES": str(MIB // 4), "RMQ_COMPACT_BYTES": str(MIB), "RMQ_LOG_RETAIN_BYTES": str(MIB // 4),
    "RMQ_SNAPSHOT_CHUNK_BYTES": "16384",
}  # fmt: skip
"""A log that is compacted every few seconds, so that who was away needs a snapshot."""

DEFAULT = (
    Scenario("calm", "no fault: what the others are compared with", ("none",)),
    Scenario(
        "pause-leader", "the leader stands still, and wakes as if it led", ("pause-leader",), SHORT, SHORT,
        least_rounds=20,
    ),
    Scenario("pause-follower", "a follower stands still", ("pause-follower",)),
    Scenario("pause-majority", "no majority moves, and then it does", ("pause-majority",)),
    Scenario("pause-all", "time stops for everyone", ("pause-all",)),
    Scenario("kill-leader", "kill -9 of the leader", ("kill-leader",), SHORT, (0.2, 0.6), least_rounds=20),
    Scenario("kill-follower", "kill -9 of a follower", ("kill-follower",)),
    Scenario("kill-majority", "kill -9 of a majority at once", ("kill-majority",)),
    Scenario("kill-all", "kill -9 of every node at once", ("kill-all",), (0.2, 1.0)),
    Scenario("rolling-restart", "every node in turn is restarted as an upgrade would", ("rolling-restart",)),
    Scenario("stop-leader", "the leader is told to end while it is under load", ("stop-leader",)),
    Scenario("isolate-leader", "the leader loses its peers and keeps its clients", ("isolate-leader",)),
    Scenario("isolate-minority", "two of five lose their peers", ("isolate-minority",), nodes=5),
    Scenario("split", "two of five on a network of their own", ("split",), nodes=5),
    Scenario("majority-ring", "each of five sees a majority, no two the same", ("majority-ring",), nodes=5),
    Scenario("bridge", "two halves that only one node sees", ("bridge",)),
    Scenario("hub-restarts", "the only node that sees both halves keeps dying", ("hub-restarts",), (6.0, 10.0)),
    Scenario("mute-leader", "what the leader sends is lost, what it is sent arrives", ("mute-leader",)),
    Scenario("deaf-leader", "what the leader is sent is lost, what it sends arrives", ("deaf-leader",)),
    Scenario("flapping-link", "a link comes and goes", ("flapping-link",), (4.0, 8.0)),
    Scenario(
        "snapshot", "cut off in the middle of catching up by a snapshot", ("cut-catch-up",), settings=SMALL_LOG
    ),
    Scenario("disk-full", "the leader's disk is full", ("disk-full",), data_mib=512),
    Scenario("wiped-disk", "a node comes back with an empty disk", ("wiped-disk",)),
    Scenario(
        "mixed", "anything, at random",
        (
            "pause-leader", "pause-follower", "pause-majority", "pause-all", "kill-leader", "kill-follower",
            "kill-majority", "kill-all", "rolling-restart", "stop-leader", "isolate-leader", "bridge", "mute-leader",
            "deaf-leader", "flapping-link", "wiped-disk", "isolate-minority", "split", "majority-ring",
        ),
        (1.0, 6.0), settings=SMALL_LOG,
    ),
)  # fmt: skip
"""What `make chaos` runs, in this order. `mixed` leaves out the faults that need more nodes than there are."""


class UnknownScenario(Exception):
    """No such scenario, or not on so few nodes. Its text is a sentence that says what there is."""


def find(name: str) -> Scenario:
    """The scenario of this name, or UnknownScenario."""
    for scenario in DEFAULT:
        if scenario.name == name:
            return scenario
    raise UnknownScenario(f"There is no scenario {name!r}: `make chaos LIST=1` lists them.")


def nodes_of(scenario: Scenario, asked: int | None) -> int:
    """How many nodes it runs on: as many as asked for, else the least. UnknownScenario if those are too few."""
    if asked is not None and asked < scenario.nodes:
        raise UnknownScenario(f"{scenario.name} needs {scenario.nodes} nodes: write NODES={scenario.nodes}.")
    return asked or scenario.nodes
