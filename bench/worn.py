"""Whether a cluster that has compacted its log as often as in a day is as fast as a fresh one: side by side, in turns.

`worn` publishes and takes messages of 1,000 B in batches until its leader has dropped old entries `COMPACTIONS` times:
its log's files have been used again and again, and so have the pages of its database.
"""

from __future__ import annotations

import json
import time
import urllib.request

from bench.cluster import LocalCluster
from bench.share import publishing, receiving, share
from bench.turns import Side, in_turns

COMPACTIONS = 100
"""One comes after some 45 MB of log here: together a day of 50 KB a second."""
TOPIC = "worn"
CLIENTS, TURN, BATCH = 4, 20_000, 100
"""Two turns make a compaction: none is missed between two looks."""


async def worn(cluster: LocalCluster, pairs: int) -> None:
    """Wear the cluster, then print its rates and those of a fresh one, as medians of so many pairs."""
    cluster.create_topic(TOPIC)
    start, seen = time.perf_counter(), 0
    leader = cluster.wait_for_leader()
    first = _first_log_index(cluster, leader)
    while seen < COMPACTIONS:
        for work in (publishing(TOPIC, BATCH), receiving(TOPIC, BATCH)):
            await share(cluster.ports[leader], CLIENTS, TURN // BATCH, work)
        before, first = first, _first_log_index(cluster, leader)
        seen += first > before
        told = f"{seen} of {COMPACTIONS} compactions, {time.perf_counter() - start:.0f} s"
        print(f"\r{told}".ljust(60), end="", flush=True)
    print()
    with LocalCluster() as fresh:
        fresh.create_topic(TOPIC)
        await in_turns(Side(TOPIC, cluster, TOPIC), Side("fresh", fresh, TOPIC), pairs)


def _first_log_index(cluster: LocalCluster, node: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.ports[node]}/v1/cluster", timeout=5) as answer:
        return int(json.load(answer)["members"][node]["first_log_index"])
