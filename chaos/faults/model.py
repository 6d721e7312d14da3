"""What a fault is: data. Who is hit, how it is done, how one sees that it took hold, how it is undone.

Rules of this file: a fault decides nothing about what is right; a proof reads back from outside what was done, and
fails when it was not.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from chaos.cluster import Cluster

Targets: TypeAlias = tuple[int, ...]


class View(NamedTuple):
    """Who there is when a fault is about to be injected."""

    nodes: tuple[int, ...]
    leader: int

    @property
    def followers(self) -> list[int]:
        """All but the leader."""
        return [node for node in self.nodes if node != self.leader]


class Proof(NamedTuple):
    """Whether it was seen, and what was seen."""

    ok: bool
    detail: str


Choose: TypeAlias = Callable[[View, random.Random], Targets]
Act: TypeAlias = Callable[[Cluster, Targets], None]
Look: TypeAlias = Callable[[Cluster, Targets], Proof]
During: TypeAlias = Callable[[Cluster, Targets, threading.Event], Proof]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`during` goes on from the proof until the event is set, then says what it did.

    `healthy_majority`: a majority stays up and connected, so acknowledgements must go on. `needs_nodes`: 3 or 5.
    `own_cluster`: not for a borrowed one: it deletes data, or needs disks and settings that a run makes for itself.
    """

    name: str
    text: str
    choose: Choose
    inject: Act
    prove: Look
    heal: Act
    prove_healed: Look
    healthy_majority: bool
    needs_nodes: int = 3
    own_cluster: bool = False
    during: During | None = None


def nobody(view: View, rng: random.Random) -> Targets:
    """No node."""
    return ()


def leader(view: View, rng: random.Random) -> Targets:
    """The leader."""
    return (view.leader,)


def follower(view: View, rng: random.Random) -> Targets:
    """One of the others."""
    return (rng.choice(view.followers),)


def anyone(view: View, rng: random.Random) -> Targets:
    """One node."""
    return (rng.choice(view.nodes),)


def majority(view: View, rng: random.Random) -> Targets:
    """As few as are a majority."""
    return tuple(sorted(rng.sample(view.nodes, len(view.nodes) // 2 + 1)))


def minority(view: View, rng: random.Random) -> Targets:
    """As many as are no majority."""
    return tuple(sorted(rng.sample(view.nodes, (len(view.nodes) - 1) // 2)))


def everyone(view: View, rng: random.Random) -> Targets:
    """All, in an order drawn anew."""
    return tuple(rng.sample(view.nodes, len(view.nodes)))


def leader_first(view: View, rng: random.Random) -> Targets:
    """The leader, then the others in an order drawn anew."""
    return (view.leader, *rng.sample(view.followers, len(view.followers)))


def link_of_leader(view: View, rng: random.Random) -> Targets:
    """The leader and one follower."""
    return (view.leader, rng.choice(view.followers))


def spread(number: int, low: float, high: float) -> float:
    """The number-th of a sequence that fills [low, high) evenly however long it gets, and is the same in every run."""
    golden_ratio = 0.6180339887498949
    return low + (high - low) * (number * golden_ratio % 1)
