"""Whether a topic with a backlog is as fast as an empty one: both in one cluster, in turns.

`full` has its backlog, of which the oldest are taken; `empty` has nothing, and meanwhile no more than one load's
messages. Both share nodes and disks.
"""

from __future__ import annotations

import json
import time
import urllib.request

from bench.cluster import LocalCluster
from bench.share import SIZE_BYTES, fill
from bench.turns import Side, in_turns

FULL, EMPTY = "full", "empty"


async def waiting(cluster: LocalCluster, messages: int, pairs: int) -> None:
    """Print the rates of both topics, `full` with `messages` of 1,000 B, as medians of so many pairs."""
    for topic in (FULL, EMPTY):
        cluster.create_topic(topic)
    start = time.perf_counter()
    await fill(cluster.ports[cluster.wait_for_leader()], FULL, messages)
    print(f"\rloaded {messages:,} messages of {SIZE_BYTES:,} B in {time.perf_counter() - start:.0f} s")
    await in_turns(Side(FULL, cluster, FULL), Side(EMPTY, cluster, EMPTY), pairs)
    left = ", ".join(f"{topic} {_stored(cluster, topic):,}" for topic in (FULL, EMPTY))
    print(f"messages waiting at the end: {left}")


def _stored(cluster: LocalCluster, topic: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.ports[0]}/v1/topics/{topic}", timeout=5) as answer:
        return int(json.load(answer)["messages"])
