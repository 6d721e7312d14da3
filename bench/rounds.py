"""The rounds: every peer's loads, costs and faults, run by run, so that all see the same moods of the machine.

Theory: in each run every peer is started anew, with nothing on its disks, does its part alone on the machine, and is
stopped; who begins changes from run to run. So no peer is disturbed by another, nor by what an earlier run has left.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, NamedTuple

import uvloop

from bench.failover import Trial
from bench.figures import Figures, Key
from bench.loads import LOADS, fill, publish
from bench.peers.peer import Missing, Peer
from bench.peers.rmq import Rmq
from bench.progress import Progress

CPU_CLIENTS, CPU_MESSAGES = 64, 10_000
LOAD_LIMIT_S = 300.0
"""A load that takes longer hangs: it ends the measurement."""
WAITING_BYTES = 1200
"""Of the messages that wait while memory is looked at: a million of them are 1.2 GB."""


class Plan(NamedTuple):
    """So many runs of loads of so many seconds; faults of each kind; messages that wait while memory is looked at."""

    runs: int
    seconds: float
    faults: int
    waiting: int
    parts: frozenset[str]


FAILURES = (Missing, OSError, RuntimeError, TimeoutError)
Part = Callable[[Peer, Plan, Figures, Progress, int], Coroutine[Any, Any, None]]


def measure(peers: Sequence[Peer], plan: Plan, figures: Figures, notes: list[str]) -> None:
    """All runs of all parts. A peer that is missing, or fails, is left out from there on, with a note; RMQ may not."""
    present = list(peers)
    parts = [part for name, part in PARTS.items() if name in plan.parts]
    progress = Progress(plan.runs * sum(_steps(peer, plan) for peer in peers))
    for run in range(plan.runs):
        for peer in rotated(present, run):
            progress.step(f"run {run + 1}, {peer.name}: starting")
            try:
                _one_run(peer, parts, plan, figures, progress, run)
            except FAILURES as failure:
                notes.append(f"{peer.name}, from run {run + 1} on: {failure or type(failure).__name__}")
                present.remove(peer)
                if isinstance(peer, Rmq):
                    raise
    progress.end()


def _one_run(
    peer: Peer, parts: Sequence[Part], plan: Plan, figures: Figures, progress: Progress, run: int
) -> None:  # fmt: skip
    peer.start()
    try:
        for part in parts:
            uvloop.run(part(peer, plan, figures, progress, run))
    finally:
        peer.stop()


def rotated(peers: Sequence[Peer], run: int) -> list[Peer]:
    """The peers, each run beginning with the next one."""
    at = run % len(peers)
    return [*peers[at:], *peers[:at]]


def _steps(peer: Peer, plan: Plan) -> int:
    """What `measure` and its parts tell of one run of this peer, about."""
    loads = sum(len(load.sizes_bytes) for load in LOADS if load.key in peer.loads)
    kinds = 2 if isinstance(peer, Rmq) else 1
    sizes = {"memory": 2, "cpu": 1, "rates": loads, "failover": kinds * -(-plan.faults // plan.runs)}
    return 1 + sum(sizes[part] for part in plan.parts)


async def rates(peer: Peer, plan: Plan, figures: Figures, progress: Progress, run: int) -> None:
    """Each load that this peer can do, at each of its sizes; and whether there was an election meanwhile."""
    for load in LOADS:
        for size in load.sizes_bytes if load.key in peer.loads else ():
            progress.step(f"run {run + 1}, {peer.name}: {load.what}, {size:,} B")
            term = peer.term() if isinstance(peer, Rmq) else 0
            async with asyncio.timeout(LOAD_LIMIT_S):
                taken = await peer.run(load, f"{load.key}-{size}", size, plan.seconds)
            for unit, value in (("rate", taken.rate), ("p50_ms", taken.p50_ms), ("p99_ms", taken.p99_ms)):
                figures.add(Key(peer.key, load.key, size, unit), value)
            if isinstance(peer, Rmq):
                figures.add(Key(peer.key, "elections", 0, "count"), peer.term() - term)
    followers, leaders = (figures.of(peer.key, key, 100, "rate") for key in ("follower", "many"))
    if followers:
        figures.add(Key(peer.key, "follower", 0, "ratio"), followers[-1] / leaders[-1])


async def cpu(peer: Peer, plan: Plan, figures: Figures, progress: Progress, run: int) -> None:
    """Processor time of all nodes for 10,000 publishes of 64 clients."""
    if "many" not in peer.loads or peer.key == "pysyncobj":
        return
    progress.step(f"run {run + 1}, {peer.name}: processor time")
    leader = await peer.prepare("cpu")
    clients = [await peer.connect(leader, "cpu", 100, "asked") for _ in range(CPU_CLIENTS)]
    before_s = peer.usage().cpu_s()
    done = await publish(clients, 1, LOAD_LIMIT_S, most=CPU_MESSAGES)
    used_s = peer.usage().cpu_s() - before_s
    figures.add(Key(peer.key, "cpu", 0, "s"), used_s * CPU_MESSAGES / done.messages)
    for client in clients:
        client.close()


async def memory(peer: Peer, plan: Plan, figures: Figures, progress: Progress, run: int) -> None:
    """Memory of all nodes: soon after their start; and of RMQ, once, with many messages waiting."""
    progress.step(f"run {run + 1}, {peer.name}: memory, idle")
    figures.add(Key(peer.key, "memory-idle", 0, "mb"), peer.usage().resident_mb())
    if run > 0 or not isinstance(peer, Rmq):
        return
    progress.step(f"{peer.name}: memory, {plan.waiting:,} messages waiting")
    leader, term = await peer.prepare("waiting"), peer.term()
    await fill(lambda how: peer.connect(leader, "waiting", WAITING_BYTES, how), plan.waiting)
    figures.add(Key(peer.key, "memory-loaded", 0, "mb"), peer.usage().resident_mb())
    figures.add(Key(peer.key, "elections", 0, "count"), peer.term() - term)


async def failover(peer: Peer, plan: Plan, figures: Figures, progress: Progress, run: int) -> None:
    """This run's share of the faults: kills, and of RMQ's leader pauses, too."""
    kinds = {"kill": signal.SIGKILL, **({"pause": signal.SIGSTOP} if isinstance(peer, Rmq) else {})}
    for what, how in kinds.items():
        for trial in share(plan.faults, plan.runs, run):
            progress.step(f"run {run + 1}, {peer.name}: {what} {trial + 1} of {plan.faults}")
            figures.add(Key(peer.key, what, 0, "ms"), await Trial(peer, f"{what}-{trial}").run(how))


def share(total: int, runs: int, run: int) -> Iterator[int]:
    """The numbers of those of `total` that this run does."""
    yield from range(total * run // runs, total * (run + 1) // runs)


PARTS: dict[str, Part] = {"memory": memory, "cpu": cpu, "rates": rates, "failover": failover}
"""In this order: memory while nothing has been done yet, faults when all else is done."""
