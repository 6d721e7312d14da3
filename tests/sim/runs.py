"""Runs of seeds as tests see them: what failed, in words, and what was reached."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

from tests.sim.__main__ import report
from tests.sim.mutations import MUTATIONS
from tests.sim.world import Outcome, simulate

SECONDS = 60
REGRESSIONS = Path(__file__).with_name("regressions.txt")


def run_all(seeds: Iterable[int]) -> Counter[str]:
    """Every seed must hold. Returns how often each situation was reached; raises AssertionError with the report."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        outcome = simulate(seed, SECONDS)
        if outcome.violation:
            raise AssertionError(report(outcome, SECONDS))
        counts += outcome.counts
    return counts


def first_caught(mutation: str, seeds: Iterable[int]) -> Outcome | None:
    """The first seed that notices the planted fault; None when none does."""
    with MUTATIONS[mutation]() if mutation else nullcontext():
        for seed in seeds:
            outcome = simulate(seed, SECONDS)
            if outcome.violation:
                return outcome
    return None


def regressions() -> list[int]:
    """The seeds of regressions.txt."""
    lines = REGRESSIONS.read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


def put_down(directory: Path, name: str, counts: Counter[str]) -> None:
    """Leave counts where other test processes find them, whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    unfinished = directory / f"{name}.{os.getpid()}.tmp"
    unfinished.write_text(json.dumps(counts))
    unfinished.rename(directory / f"{name}.json")


def gather(directory: Path) -> tuple[int, Counter[str]]:
    """How many have put their counts down, and their sum."""
    counts: Counter[str] = Counter()
    found = sorted(directory.glob("*.json"))
    for path in found:
        counts += Counter(json.loads(path.read_text()))
    return len(found), counts
