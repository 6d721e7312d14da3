"""Whether a topic with a backlog is as fast as an empty one: both in one cluster, in turns.

Each load publishes a fixed number of messages or takes so many away again, so each topic ends every pair as it began:
`full` with its backlog, of which the oldest are taken; `empty` with nothing, and meanwhile no more than one load's
messages. Both share nodes, disks and the machine's moods, and who goes first changes with each pair: compare the two.
"""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

from bench.cluster import LocalCluster
from bench.share import SIZE_BYTES, Work, fill, publishing, receiving, share

FULL, EMPTY = "full", "empty"


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


async def waiting(cluster: LocalCluster, messages: int, pairs: int) -> None:
    """Print the rates of both topics, `full` with `messages` of 1,000 B, as medians of so many pairs."""
    for topic in (FULL, EMPTY):
        cluster.create_topic(topic)
    start = time.perf_counter()
    await fill(cluster.ports[cluster.wait_for_leader()], FULL, messages)
    print(f"\rloaded {messages:,} messages of {SIZE_BYTES:,} B in {time.perf_counter() - start:.0f} s")
    rates: dict[tuple[Load, str], list[float]] = {(load, topic): [] for load in LOADS for topic in (FULL, EMPTY)}
    for pair in range(pairs):
        port = cluster.ports[cluster.wait_for_leader()]
        for load in LOADS:
            for topic in (FULL, EMPTY) if pair % 2 == 0 else (EMPTY, FULL):
                print(f"\rpair {pair + 1} of {pairs}: {load.what}, {topic}".ljust(60), end="", flush=True)
                times = load.messages // load.batch
                elapsed_s = await share(port, load.clients, times, load.work(topic, load.batch))
                rates[load, topic].append(load.messages / elapsed_s)
    left = ", ".join(f"{topic} {_stored(cluster, topic):,}" for topic in (FULL, EMPTY))
    print(f"\rpairs: {pairs}; messages waiting at the end: {left}".ljust(60))
    print(f"| messages/s, medians | {FULL} | {EMPTY} | {FULL} / {EMPTY} | of each pair |")
    print("| --- | --- | --- | --- | --- |")
    for load in LOADS:
        print(_row(load, rates[load, FULL], rates[load, EMPTY]))


def _row(load: Load, full: list[float], empty: list[float]) -> str:
    at_full, at_empty = statistics.median(full), statistics.median(empty)
    ratios = [one / other for one, other in zip(full, empty, strict=True)]
    what = f"{load.what}, {load.clients} clients"
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"| {what} | {at_full:,.0f} | {at_empty:,.0f} | {at_full / at_empty:.2f} | {spread} |"


def _stored(cluster: LocalCluster, topic: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.ports[0]}/v1/topics/{topic}", timeout=5) as answer:
        return int(json.load(answer)["messages"])
