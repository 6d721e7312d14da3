"""Through all sweeps, run by run: each point on a cluster of its own, but for the backlog, which grows in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import uvloop

from bench.cluster import LocalCluster
from bench.progress import Progress
from bench.scale.backlog import levels
from bench.scale.points import measure
from bench.scale.sweeps import BACKLOG, PUBLISH, SWEEPS, Place, Samples, Sweep


class Plan(NamedTuple):
    """So many runs of so many seconds for each point; the largest backlog; which sweeps."""

    runs: int
    seconds: float
    backlog: int
    keys: Sequence[str]

    def values(self, sweep: Sweep) -> list[int]:
        """The points of a sweep."""
        return [value for value in sweep.values if sweep is not BACKLOG or value <= self.backlog]


def grow(plan: Plan, samples: Samples, notes: list[str]) -> None:
    """Measure all of it. `notes` gets a sentence for each election."""
    sweeps = [sweep for sweep in SWEEPS if sweep.key in plan.keys]
    progress = Progress(plan.runs * sum(len(plan.values(sweep)) for sweep in sweeps))
    for sweep in sweeps:
        if sweep is BACKLOG:
            _backlog(plan, samples, notes, progress)
            continue
        for run in range(plan.runs):
            for value in plan.values(sweep) if run % 2 == 0 else reversed(plan.values(sweep)):
                progress.step(f"{sweep.title}: {value:,}, run {run + 1}")
                _point(sweep, value, plan.seconds, samples, notes)
    progress.end()


def _point(sweep: Sweep, value: int, seconds: float, samples: Samples, notes: list[str]) -> None:
    setting = sweep.at(value)
    with LocalCluster(setting.nodes) as cluster:
        terms = Terms(cluster, notes)
        found = uvloop.run(measure(cluster, setting, seconds))
        terms.look(f"{value:,} {sweep.axis}")
    samples.setdefault(Place(sweep.key, PUBLISH, value), []).append(found)


def _backlog(plan: Plan, samples: Samples, notes: list[str], progress: Progress) -> None:
    with LocalCluster() as cluster:
        terms = Terms(cluster, notes)

        def step(text: str) -> None:
            terms.look(f"before {text}")
            progress.step(text)

        uvloop.run(levels(cluster, plan.values(BACKLOG), plan.runs, plan.seconds, samples, step, progress.note))
        terms.look(BACKLOG.axis)


class Terms:
    """Notes each election."""

    def __init__(self, cluster: LocalCluster, notes: list[str]) -> None:
        self._cluster, self._notes, self._term = cluster, notes, cluster.term()

    def look(self, where: str) -> None:
        """What has happened since it looked last."""
        before, self._term = self._term, self._cluster.term()
        if self._term != before:
            self._notes.append(f"The term rose from {before} to {self._term}: {where}.")
