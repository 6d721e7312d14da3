"""The schedule: what will be done, drawn from a seed before anything is done.

Rules of this file: same scenario, seed, length and faults, same schedule, on every machine. Whom a fault hits is drawn
from the round's own seed when the time has come, since who leads is not known before.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from chaos.scenarios import FULL_S, Scenario


class Round(NamedTuple):
    """Inject `fault`, hold it `hold_s`, heal, wait for full redundancy, rest `rest_s`. `seed` chooses the targets."""

    number: int
    fault: str
    hold_s: float
    rest_s: float
    seed: int


def enough(scenario: Scenario, seconds: float) -> int:
    """How many rounds a run of this length needs, though it takes longer."""
    return scenario.least_rounds if seconds >= FULL_S else 0


def plan(scenario: Scenario, seed: int, seconds: float, usable: Sequence[str]) -> list[Round]:
    """More rounds than fit into `seconds`: the runner ends when it has done enough. `usable`: faults for so many nodes.

    In a scenario of several faults each comes once before one comes again, in an order drawn anew each time.
    """
    rng = random.Random(f"{scenario.name} {seed}")
    names = [name for name in scenario.faults if name in usable]
    rounds: list[Round] = []
    planned_s, bag = 0.0, list[str]()
    while planned_s < seconds or len(rounds) < enough(scenario, seconds):
        if not bag:
            bag = rng.sample(names, len(names))
        hold_s, rest_s = round(rng.uniform(*scenario.hold_s), 3), round(rng.uniform(*scenario.rest_s), 3)
        rounds.append(Round(len(rounds), bag.pop(), hold_s, rest_s, rng.getrandbits(32)))
        planned_s += hold_s + rest_s
    return rounds
