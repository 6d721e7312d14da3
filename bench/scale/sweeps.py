"""What grows, through which values; and what a point is. Pure."""

from __future__ import annotations

from typing import NamedTuple

from bench.loads import Taken

PUBLISH, TAKE = "publish", "receive + ack"


class Setting(NamedTuple):
    """`clients` publish messages of `size` bytes, each awaits its own, to so many topics in turn, while `idle` others
    are there, on so many nodes."""

    clients: int = 64
    size: int = 100
    topics: int = 1
    idle: int = 0
    nodes: int = 3


class Sweep(NamedTuple):
    """`key` says what grows, through `values`; `axis` is the same in words, `unit` belongs to its values."""

    key: str
    title: str
    axis: str
    values: tuple[int, ...]
    unit: str = ""
    base: Setting = Setting()

    def at(self, value: int) -> Setting:
        """The setting of one point."""
        return self.base._replace(**{self.key: value})


BACKLOG = Sweep(
    "backlog", "Backlog (4 clients, batches of 100)", "messages of 100 B waiting",
    (0, 1000, 10_000, 100_000, 1_000_000, 10_000_000),
)  # fmt: skip
SWEEPS = (
    Sweep("clients", "Clients (100 B, each awaits its own)", "clients", (1, 4, 16, 64, 256, 1024)),
    Sweep("size", "Message size (16 clients, each awaits its own)", "bytes in a message",
          (10, 100, 1000, 10_000, 100_000, 1_000_000), "B", Setting(clients=16)),
    BACKLOG,
    Sweep("topics", "Topics (64 clients, 100 B, topic after topic)", "topics", (1, 10, 100, 1000, 10_000)),
    Sweep("idle", "Topics that nobody uses (64 clients, 100 B, to one more)", "topics", (0, 100, 1000, 10_000)),
    Sweep("nodes", "Nodes (64 clients, 100 B)", "nodes", (1, 3, 5, 7)),
)  # fmt: skip
BY_KEY = {sweep.key: sweep for sweep in SWEEPS}


class Spent(NamedTuple):
    """Time, and the processor time of it: the leader's, all followers', the load's, the whole machine's."""

    wall_s: float = 0.0
    leader_s: float = 0.0
    followers_s: float = 0.0
    load_s: float = 0.0
    all_s: float = 0.0

    def since(self, before: Spent) -> Spent:
        """What came to it."""
        return Spent(*(now - then for now, then in zip(self, before, strict=True)))

    def and_(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(*map(sum, zip(self, other, strict=True)))


class Sample(NamedTuple):
    """A point as one run found it. The last four: how many cores were used; `all`: by whatever ran on the machine."""

    rate: float
    p99_ms: float
    leader: float
    followers: float
    load: float
    all: float


def sample(taken: Taken, spent: Spent) -> Sample:
    """What a load has reached, and what it took."""
    leader, followers, load, all_ = (each / spent.wall_s for each in spent[1:])
    return Sample(taken.rate, taken.p99_ms, leader, followers, load, all_)


class Place(NamedTuple):
    """Where a sample belongs: to a line of a sweep's picture, at this value."""

    sweep: str
    line: str
    value: int


Samples = dict[Place, list[Sample]]
"""In the order of the runs."""
