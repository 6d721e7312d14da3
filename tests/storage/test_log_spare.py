"""The spare is made on another thread, at any moment: between any two steps of an append, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from app.storage import SegmentedLog
from tests.sim.disk import SimFile, SimFileSystem
from tests.storage.helpers import append_synced, content, entries, open_log

STEPS = [(SimFile, "pwrite"), (SimFile, "datasync"), (SimFileSystem, "rename"), (SimFileSystem, "sync_dir")]
SEGMENTS = 6


class Meddler:
    """Prepares a spare before each step of the file system whose number is among `at`."""

    def __init__(self, at: Callable[[int], bool]) -> None:
        self.at, self.log, self.steps, self.busy = at, None, 0, False

    def meddle(self) -> None:
        log: SegmentedLog | None = self.log
        if log is None or self.busy or log._spares._lock.locked():
            return
        self.busy = True
        if self.at(self.steps):
            assert log.prepare()
        self.steps += 1
        self.busy = False


@pytest.fixture
def meddled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[int], bool]], Meddler]]:
    def start(at: Callable[[int], bool]) -> Meddler:
        meddler = Meddler(at)
        for kind, name in STEPS:
            monkeypatch.setattr(kind, name, before(getattr(kind, name), meddler))
        return meddler

    def before(real: Callable[..., Any], meddler: Meddler) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            meddler.meddle()
            return real(*arguments)

        return step

    yield start


def fill(meddler: Meddler) -> tuple[SimFileSystem, int]:
    """Append over several segments, many entries at a time, then lose the power."""
    fs = SimFileSystem()
    meddler.log = log = open_log(fs)
    while len([name for name in fs.listdir("/data/log") if name.endswith(".log")]) < SEGMENTS:
        append_synced(log, entries(log.last_index + 1, log.last_index + 7, size=60))
    meddler.log = None
    log.close()
    fs.crash(Random(7))
    return fs, log.last_index


@pytest.mark.parametrize("rhythm", [1, 2, 3, 5, 7])
def test_a_spare_made_between_any_two_steps_takes_nobodys_name(meddled: Any, rhythm: int) -> None:
    """Else the blank that an append had taken was replaced by a new one: its entries lay in a file without a name."""
    fs, last = fill(meddled(lambda step: step % rhythm == 0))
    assert content(open_log(fs)) == entries(1, last, size=60)
