"""Hunting planted faults: each in an image that is thrown away, in the scenario that must find it.

Rules of this file: found means that the checker said so, by one of the rules that the plant names; a slow or
inconclusive run has found nothing.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

from rich.console import Console

from chaos import planted, scenarios, session
from chaos.display import Display, Progress
from chaos.reporting import writing
from chaos.run import Task
from scripts import containers
from scripts.console import ROOT, quiet


def hunt(name: str, root: Path, seed: int | None) -> int:
    """Plant, run, look, for the plant of this name or `all`. 0 only when each was found."""
    plants = planted.find(name)
    progress = Progress(len(plants), time.monotonic)
    console = Console()
    missed, cases = [], []
    for plant in plants:
        image = _build(plant)
        try:
            with Display(progress, console):
                case = asyncio.run(session.run_one(_task(plant, root, seed, image), progress, root))
        finally:
            quiet(["docker", "image", "rm", "--force", image])
        cases.append(case)
        writing.write(root, cases)
        found = plant.rules & case.report.totals.keys()
        said = "found: " + ", ".join(sorted(found)) if found else "NOT FOUND"
        console.print(f"{plant.name} {said}", highlight=False)
        missed += [] if found else [plant.name]
    console.print(f"{len(plants) - len(missed)} of {len(plants)} found: {root / 'report.html'}", highlight=False)
    return 1 if missed else 0


def _task(plant: planted.Planted, root: Path, seed: int | None, image: str) -> Task:
    scenario = scenarios.find(plant.scenario)
    drawn = random.SystemRandom().randrange(1, 1_000_000) if seed is None else seed
    return Task(scenario, drawn, plant.seconds, scenario.nodes, image, root / plant.name)


def _build(plant: planted.Planted) -> str:
    image = f"{planted.IMAGES}:{plant.name}"
    with tempfile.TemporaryDirectory(prefix=planted.SCRATCH) as directory:
        planted.copy_with(plant, ROOT, Path(directory))
        containers.build(image, directory)
    return image
