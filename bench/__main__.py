"""`python -m bench`: publish rates, failover times and the cost of a backlog, of three local nodes."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import urllib.request

import uvloop

from bench.backlog import backlog
from bench.cluster import LocalCluster
from bench.failover import kill_leader_once
from bench.publish import Load, publish


def create_topic(port: int, topic: str) -> None:
    """Create a topic by the classic route."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/topic",
        json.dumps({"topic": topic}).encode(),
        {"content-type": "application/json"},
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=5).close()


async def rates(cluster: LocalCluster, seconds: float) -> None:
    """Print a row for each kind of load, through the leader and through a follower."""
    leader = cluster.wait_for_leader()
    follower = (leader + 1) % len(cluster.ports)
    create_topic(cluster.ports[leader], "bench")
    print("| publish | through | acknowledged/s | p50 ms | p99 ms | failed |\n| --- | --- | --- | --- | --- | --- |")
    for through, node in (("leader", leader), ("follower", follower)):
        for load in (
            Load(1, 1, 100, seconds),
            Load(64, 1, 100, seconds),
            Load(64, 1, 1000, seconds),
            Load(4, 500, 100, seconds),
        ):
            result = await publish(cluster.ports[node], "bench", load)
            what = f"{load.clients} clients, batches of {load.batch}, {load.size_bytes} B"
            figures = f"{result.rate:,.0f} | {result.p50_ms:.2f} | {result.p99_ms:.2f} | {result.failed}"
            print(f"| {what} | {through} | {figures} |", flush=True)


async def failovers(cluster: LocalCluster, trials: int) -> None:
    """Print the times of `trials` leader kills."""
    leader = cluster.wait_for_leader()
    create_topic(cluster.ports[leader], "failover")
    times = []
    for number in range(trials):
        times.append(await kill_leader_once(cluster, number))
        print(f"\rleader kill {number + 1} of {trials}: {times[-1]:.0f} ms   ", end="", flush=True)
    listed = ", ".join(f"{each:.0f}" for each in sorted(times))
    print(f"\nkill -9 of the leader to the next acknowledgement, {trials} trials: ", end="")
    print(f"median {statistics.median(times):.0f} ms, maximum {max(times):.0f} ms ({listed})")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="length of each publish load (default 5)")
    parser.add_argument("--kills", type=int, default=20, help="leader kills (default 20)")
    parser.add_argument("--backlog", type=int, default=1_000_000, help="messages of 1,000 B (default 1000000)")
    parser.add_argument("--only", choices=("rates", "failover", "backlog"), help="one part alone")
    options = parser.parse_args()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.date.today()}, {machine}")
    parts = {
        "rates": lambda cluster: rates(cluster, options.seconds),
        "failover": lambda cluster: failovers(cluster, options.kills),
        "backlog": lambda cluster: backlog(cluster, options.backlog),
    }
    for name, part in parts.items():
        if options.only in (None, name):
            with LocalCluster() as cluster:
                uvloop.run(part(cluster))


if __name__ == "__main__":
    main()
