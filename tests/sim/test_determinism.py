"""A seed is a world: the same events in the same order, in any process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.world import simulate

ROOT = Path(__file__).parents[2]
SECONDS = 20
_PROGRAM = "from tests.sim.test_determinism import digest; import sys; print(digest(int(sys.argv[1])))"


def digest(seed: int) -> str:
    """Of every line of the trace."""
    seen = hashlib.sha256()
    outcome = simulate(seed, SECONDS, lambda line: seen.update(line.encode() + b"\n"))
    return f"{seen.hexdigest()} {outcome.events} {outcome.committed}"


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_the_same_seed_is_the_same_world(seed: int) -> None:
    here = digest(seed)
    assert here == digest(seed)
    for hash_seed in ("0", "4711"):
        there = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here


def test_another_seed_is_another_world() -> None:
    assert digest(1) != digest(2)
