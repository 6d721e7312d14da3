"""Two sides that do the same loads in turns, so that both see the machine's same moods: compare the two.

Each load publishes a fixed number of messages, or takes so many away again, so each side ends every pair as it began.
Who goes first changes with each pair.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

from bench.cluster import LocalCluster
from bench.share import Work, publishing, receiving, share


class Side(NamedTuple):
    """A topic of a cluster, by the name of what is peculiar about it."""

    name: str
    cluster: LocalCluster
    topic: str


class Load(NamedTuple):
    """`clients` publish or take `messages`, `batch` in one request."""

    what: str
    work: Callable[[str, int], Work]
    clients: int
    batch: int
    messages: int


LOADS = (
    Load("publish one by one", publishing, 64, 1, 10_000),
    Load("receive + ack one by one", receiving, 16, 1, 10_000),
    Load("publish batches of 100", publishing, 4, 100, 40_000),
    Load("receive + ack batches of 100", receiving, 4, 100, 40_000),
)
"""In this order: what one publishes the next takes away."""


async def in_turns(one: Side, other: Side, pairs: int) -> None:
    """Print the rates of both with messages of 1,000 B, as medians of so many pairs."""
    rates: dict[tuple[Load, str], list[float]] = {(load, side.name): [] for load in LOADS for side in (one, other)}
    for pair in range(pairs):
        ports = {side.name: side.cluster.ports[side.cluster.wait_for_leader()] for side in (one, other)}
        for load in LOADS:
            for side in (one, other) if pair % 2 == 0 else (other, one):
                print(f"\rpair {pair + 1} of {pairs}: {load.what}, {side.name}".ljust(60), end="", flush=True)
                times = load.messages // load.batch
                elapsed_s = await share(ports[side.name], load.clients, times, load.work(side.topic, load.batch))
                rates[load, side.name].append(load.messages / elapsed_s)
    print(f"\rpairs: {pairs}".ljust(60))
    print(f"| messages/s, medians | {one.name} | {other.name} | {one.name} / {other.name} | of each pair |")
    print("| --- | --- | --- | --- | --- |")
    for load in LOADS:
        print(_row(load, rates[load, one.name], rates[load, other.name]))


def _row(load: Load, ones: list[float], others: list[float]) -> str:
    at_one, at_other = statistics.median(ones), statistics.median(others)
    ratios = [one / other for one, other in zip(ones, others, strict=True)]
    what = f"{load.what}, {load.clients} clients"
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"| {what} | {at_one:,.0f} | {at_other:,.0f} | {at_one / at_other:.2f} | {spread} |"
