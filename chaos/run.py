"""One scenario from an empty cluster to a history: start, load, break, heal, drain, gather.

    warm    the clients run, nothing is broken: the rate that the faults are measured against
    faults  round after round of the schedule: inject, prove, hold, heal, prove, wait for full redundancy, rest
    heal    clients go on over a whole cluster, then end
    drain   what waits is taken out
    gather  final states, the nodes' logs as files and as committed entries

Rules of this file: it does and writes down; whether that was right is judged afterwards from the history alone. What
it cannot do (no leader to hit, a node that never catches up) is written down too, as a step that is not ok. Docker is
slow and blocks, so all of it is called in threads; records are written in the event loop alone.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from app.version import VERSION
from chaos import gather
from chaos.attached import attach
from chaos.clients.workload import Workload
from chaos.cluster import Cluster
from chaos.display import Progress
from chaos.faults import FAULTS, During, Proof, Targets, View, probes
from chaos.history import FaultStep, Phase, PhaseName, Redundant, Run, Step
from chaos.own import PROJECT, OwnCluster
from chaos.recorder import Recorder
from chaos.reporting.cases import HISTORY
from chaos.scenarios import Scenario
from chaos.schedule import Round, enough, plan

WARM_S, HEALED_S = 6.0, 2.0
LEADER_S, REDUNDANT_S, DRAIN_S, SETTLE_S = 15.0, 60.0, 60.0, 30.0
"""How long to wait: for someone to hit, for all nodes after a heal, for the queue to be empty, for equal states."""
LOOK_EVERY_S = 0.02


class Task(NamedTuple):
    """What to run, and where to write it: `directory` holds history.jsonl, schedule.json and the nodes' logs.

    `project`: a Compose project to borrow; None: a cluster of `image` is built for the run. `beside_others`: the
    borrowed cluster may have topics of others.
    """

    scenario: Scenario
    seed: int
    seconds: float
    nodes: int
    image: str
    directory: Path
    project: str | None = None
    beside_others: bool = False

    def cluster(self) -> Cluster:
        """Where it runs. Refused when the project is not one to borrow."""
        if self.project is not None:
            return attach(self.project, beside_others=self.beside_others)
        return OwnCluster(
            f"{PROJECT}{self.nodes}", self.nodes, image=self.image, environment=self.scenario.settings,
            data_mib=self.scenario.data_mib,
        )  # fmt: skip


def usable(nodes: int, borrowed: bool) -> list[str]:
    """Names of the faults that so many nodes are enough for, and that may be done to such a cluster."""
    return [
        fault.name for fault in FAULTS.values() if fault.needs_nodes <= nodes and not (borrowed and fault.own_cluster)
    ]


async def run(task: Task, progress: Progress) -> None:
    """Run it to the end. Raises what keeps a run from being one: no engine, no cluster, a client that died."""
    task.directory.mkdir(parents=True)
    schedule = plan(task.scenario, task.seed, task.seconds, usable(task.nodes, task.project is not None))
    written = [each._asdict() for each in schedule]
    (task.directory / "schedule.json").write_text(json.dumps(written, indent=1) + "\n")
    cluster = task.cluster()
    with Recorder(task.directory / HISTORY) as recorder:
        recorder.add(about(task))
        ticking = asyncio.get_running_loop().create_task(_tick(recorder, progress))
        try:
            progress.phase("start")
            await asyncio.to_thread(cluster.up)
            course = _Course(task, cluster, recorder, progress)
            try:
                await course.load(schedule)
                await course.gather()
            finally:
                await course.leave()
        finally:
            ticking.cancel()
            await asyncio.to_thread(gather.save_prints, cluster, task.directory)
            await asyncio.to_thread(cluster.down)


async def _tick(recorder: Recorder, progress: Progress) -> None:
    """Tell the display, once a second, how it goes."""
    before = 0
    while True:
        leader, acknowledged = recorder.leader(), recorder.acknowledged
        progress.tick(acknowledged - before, leader.node if leader else None, leader.term if leader else None)
        before = acknowledged
        await asyncio.sleep(1)


def _go_on(during: During, over: threading.Event, cluster: Cluster, targets: Targets) -> Proof:
    """What a fault does while it lasts, as a step like the others."""
    return during(cluster, targets, over)


def about(task: Task) -> Run:
    """What this task is, as the history's first line."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Run(
        scenario=task.scenario.name, seed=task.seed, seconds=task.seconds, nodes=task.nodes, started_at=now,
        image=task.image, version=VERSION,
    )  # fmt: skip


class _Course:
    """A run while it goes on."""

    def __init__(self, task: Task, cluster: Cluster, recorder: Recorder, progress: Progress) -> None:
        self._task, self._cluster, self._recorder, self._progress = task, cluster, recorder, progress
        urls = [cluster.url(node) for node in range(task.nodes)]
        self._workload = Workload(recorder, urls, task.seed, task.seconds, shared=task.project is not None)

    async def load(self, schedule: Sequence[Round]) -> None:
        """Warm up, go through the rounds, let the clients end."""
        self._phase("warm")
        await self._workload.create_topics()
        self._workload.watch()
        self._workload.start()
        await asyncio.sleep(WARM_S)
        whole = await asyncio.to_thread(probes.whole, self._cluster, ())
        if not whole.ok:
            raise RuntimeError(f"The cluster is not whole before the first fault: {whole.detail}.")
        self._phase("faults")
        end = self._recorder.now() + self._task.seconds - WARM_S
        least = enough(self._task.scenario, self._task.seconds)
        for each in schedule:
            if self._recorder.now() + each.hold_s > end and each.number >= least:
                break
            await self._round(each)
            self._workload.check()
        await asyncio.sleep(max(0.0, end - self._recorder.now()))
        self._phase("heal")
        await asyncio.sleep(HEALED_S)
        await self._workload.stop()

    async def gather(self) -> None:
        """Empty the queue, write down how each node ended."""
        self._phase("drain")
        await self._workload.drain(DRAIN_S)
        self._phase("gather")
        await self._workload.settle(SETTLE_S)
        await self._workload.stop_watching()
        applied = [status.applied_index for status in self._recorder.statuses.values()]
        for piece in await asyncio.to_thread(gather.log_pieces, self._cluster, min(applied, default=0)):
            self._recorder.add(piece)
        self._phase("end")

    async def leave(self) -> None:
        """End what still runs, however far it got."""
        await self._workload.abandon()

    async def _round(self, each: Round) -> None:
        """One fault, from injection to full redundancy."""
        fault = FAULTS[each.fault]
        view = await self._view()
        targets = fault.choose(view, random.Random(each.seed)) if view else ()
        if not targets and fault.name != "none":
            nobody = Proof(False, "nobody led, so there was nobody to hit")
            self._write(each, "inject", [], self._recorder.now(), nobody)
            return
        self._progress.fault(fault.name, targets)
        await self._step(each, "inject", targets, fault.inject)
        held_until = self._recorder.now() + each.hold_s
        await self._step(each, "prove", targets, fault.prove)
        if fault.during is not None:
            over = threading.Event()
            asyncio.get_running_loop().call_later(max(0.0, held_until - self._recorder.now()), over.set)
            await self._step(each, "prove", targets, partial(_go_on, fault.during, over))
        await asyncio.sleep(max(0.0, held_until - self._recorder.now()))
        await self._step(each, "heal", targets, fault.heal)
        await self._step(each, "prove_healed", targets, fault.prove_healed)
        self._progress.fault(None, ())
        await self._redundant(each)
        await asyncio.sleep(each.rest_s)

    async def _step(
        self, each: Round, step: Step, targets: tuple[int, ...],
        act: Callable[[Cluster, tuple[int, ...]], Proof | None],
    ) -> None:  # fmt: skip
        """Do one step in a thread; what it raises makes it a step that is not ok."""
        start = self._recorder.now()
        try:
            proof = await asyncio.to_thread(act, self._cluster, targets) or Proof(True, "")
        except Exception as error:  # whatever Docker says: the run goes on, and the step counts as not proven
            proof = Proof(False, f"{type(error).__name__}: {error}")
        self._write(each, step, list(targets), start, proof)

    async def _view(self) -> View | None:
        """Who leads and who follows, as soon as somebody leads; None when nobody does for too long."""
        deadline = time.monotonic() + LEADER_S
        while (leader := self._recorder.leader()) is None:
            if time.monotonic() > deadline:
                return None
            await asyncio.sleep(LOOK_EVERY_S)
        return View(nodes=tuple(range(self._task.nodes)), leader=leader.node)

    async def _redundant(self, each: Round) -> None:
        """Wait until every node has applied what the leader had committed when it was first seen after the heal."""
        deadline = time.monotonic() + REDUNDANT_S
        since = self._recorder.now()
        wanted: int | None = None
        while time.monotonic() < deadline:
            leader = self._recorder.leader()
            fresh = [status for status in self._recorder.statuses.values() if status.start >= since]
            if leader is not None and leader.start >= since and wanted is None:
                wanted = leader.commit_index
            if leader is not None and wanted is not None and len(fresh) == self._task.nodes:
                follow = all(status.leader == leader.node and status.term == leader.term for status in fresh)
                if follow and min(status.applied_index for status in fresh) >= wanted:
                    self._recorder.add(Redundant(round=each.number, at=max(status.at for status in fresh)))
                    return
            await asyncio.sleep(LOOK_EVERY_S)

    def _write(self, each: Round, step: Step, targets: list[int], start: float, proof: Proof) -> None:
        self._recorder.add(
            FaultStep(
                round=each.number, name=each.fault, step=step, targets=targets, start=start,
                end=self._recorder.now(), ok=proof.ok, detail=proof.detail,
            )
        )

    def _phase(self, name: PhaseName) -> None:
        self._recorder.add(Phase(name=name, at=self._recorder.now()))
        self._progress.phase(name)
