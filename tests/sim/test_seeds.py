"""The default run: 500 seeds of 60 virtual seconds, in chunks, so that several processes share them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.__main__ import DEFAULT_SEEDS, never_reached, table
from tests.sim.runs import gather, put_down, regressions, run_all

CHUNKS = 20
CHUNK = DEFAULT_SEEDS // CHUNKS


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory that all test processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "simulated-situations"


@pytest.mark.parametrize("seed", regressions())
def test_what_once_failed_holds(seed: int) -> None:
    run_all([seed])


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_seeds_hold(chunk: int, shared: Path) -> None:
    counts = run_all(range(chunk * CHUNK, (chunk + 1) * CHUNK))
    put_down(shared, str(chunk), counts)
    chunks, counts = gather(shared)
    if chunks == CHUNKS:
        # Whoever ends last speaks for all.
        print(table(counts))
        assert not never_reached(counts), "never reached, so nothing is proved about it"
