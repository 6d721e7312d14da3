"""The plants fit today's source, and say so where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos import planted, scenarios
from chaos.planted import Edit, Planted

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("plant", planted.PLANTS, ids=lambda plant: plant.name)
def test_a_plant_changes_the_source_and_it_still_compiles(plant: Planted, tmp_path: Path) -> None:
    planted.copy_with(plant, ROOT, tmp_path)
    for edit in (*plant.edits, *plant.waits):
        source = (tmp_path / edit.path).read_text()
        assert source != (ROOT / edit.path).read_text()
        compile(source, edit.path, "exec")
    assert (tmp_path / "Dockerfile").exists()
    scenarios.find(plant.scenario)


def test_the_slow_windows_alone_are_lawful_edits_too(tmp_path: Path) -> None:
    for number, plant in enumerate(planted.PLANTS):
        (tmp_path / str(number)).mkdir()
        planted.copy_with(plant._replace(edits=()), ROOT, tmp_path / str(number))


def test_a_plant_that_no_longer_fits_says_where(tmp_path: Path) -> None:
    rotten = planted.PLANTS[0]._replace(edits=(Edit("app/raft/core.py", "no such text", ""),))
    with pytest.raises(planted.Rotted, match=r"app/raft/core\.py"):
        planted.copy_with(rotten, ROOT, tmp_path)


def test_an_unknown_plant_says_what_there_is() -> None:
    with pytest.raises(planted.UnknownPlant, match="early-ack"):
        planted.find("late-ack")
    assert planted.find("all") == planted.PLANTS
