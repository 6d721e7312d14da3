"""Random work and random crashes against a list.

The model keeps every state the log has passed through since the last sync: a crash may bring back any of them, and
nothing else. A failing seed is the test's parameter and replays exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest

from app.raft.types import Entry, HardState
from app.storage import LogFull, SegmentedLog
from tests.sim.disk import SimCrash, SimFileSystem
from tests.storage.helpers import content, entry, open_log

pytestmark = pytest.mark.usefixtures("files")

SEEDS_PER_TEST = 25
_NO_STATE = HardState()


@dataclass(frozen=True)
class State:
    """What the log held at one moment; `entries` are never compacted here."""

    base_index: int = 0
    base_term: int = 0
    entries: tuple[Entry, ...] = ()
    hard_state: HardState = _NO_STATE

    @property
    def last_index(self) -> int:
        return self.base_index + len(self.entries)

    def matches(self, log: SegmentedLog) -> bool:
        if log.hard_state != self.hard_state or log.last_index != self.last_index or log.first_index <= self.base_index:
            return False
        before = log.first_index - 1 - self.base_index
        base_term = self.entries[before - 1].term if before else self.base_term
        return log.term(log.first_index - 1) == base_term and content(log) == list(self.entries[before:])


class World:
    """One log on one simulated disk, and all states a crash may bring back."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.fs = SimFileSystem()
        self.log = open_log(self.fs)
        self.possible = [State()]
        self.first_bound = 1
        """`first_index` may never be above this."""
        self.crashes = 0

    @property
    def now(self) -> State:
        return self.possible[-1]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            rng = self.rng
            if rng.random() < 0.2:
                self.fs.crash_at = self.fs.operations + rng.randrange(1, 12)
            self.fs.full = rng.random() < 0.1
            work = rng.choice((self.append, self.append, self.append, self.sync, self.sync, self.compact, self.reset))
            try:
                if work != self.reset or rng.random() < 0.2:
                    work()
                if rng.random() < 0.5:
                    self.log.prepare()
                assert self.now.matches(self.log)
                assert self.log.first_index <= self.first_bound
                if rng.random() < 0.05:
                    self.restart(crash=rng.random() < 0.7)
            except SimCrash:
                self.restart(crash=True)
            self.fs.crash_at = None

    def append(self) -> None:
        rng = self.rng
        now = self.now
        first = now.last_index + 1
        if rng.random() < 0.3:
            first = max(self.log.first_index, first - rng.choice((1, 2, 5, 40, 200)))
        kept = now.entries[: first - 1 - now.base_index]
        term = max(now.hard_state.term, kept[-1].term if kept else now.base_term) + (rng.random() < 0.3)
        hard_state = HardState(term, rng.randrange(-1, 3)) if rng.random() < 0.4 else None
        count = rng.choice((0, 1, 1, 2, 10, 60))
        added = tuple(entry(first + i, term, rng.choice((0, 10, 60, 300))) for i in range(count))
        if rng.random() < 0.02:
            added += (entry(first + count, term, 20_000),)
        states = [replace(now, hard_state=hard_state)] if hard_state is not None else [now]
        if added:
            states += [replace(states[0], entries=kept + added[:n]) for n in range(len(added) + 1)]
        done = self.possible
        self.possible = done + states
        try:
            self.log.append(hard_state, added)
        except LogFull:
            assert self.fs.full
            self.possible = done

    def sync(self) -> None:
        self.log.sync()
        self.possible = [self.now]

    def compact(self) -> None:
        index = self.rng.randrange(self.now.base_index, self.now.last_index + 2)
        self.first_bound = max(self.first_bound, index + 1)
        self.log.compact(index)

    def reset(self) -> None:
        index = max(0, self.now.last_index + self.rng.choice((-30, -1, 0, 1, 50)))
        term = self.now.hard_state.term
        after = State(index, term, (), self.now.hard_state)
        done, bound = self.possible, self.first_bound
        self.possible, self.first_bound = [*done, after], max(bound, index + 1)
        try:
            self.log.reset(index, term)
        except LogFull:
            assert self.fs.full
            self.possible, self.first_bound = done, bound
            return
        self.possible, self.first_bound = [after], index + 1

    def restart(self, crash: bool) -> None:
        self.crashes += 1
        rng = self.rng
        self.fs.full = False
        possible = self.possible if crash else [self.now]
        if crash:
            self.fs.crash(rng)
        else:
            self.fs.kill()
        if rng.random() < 0.3:
            possible = self.possible
            self.fs.crash_at = self.fs.operations + rng.randrange(1, 8)
            try:
                open_log(self.fs)
            except SimCrash:
                pass
            self.fs.crash(rng)
        self.log = open_log(self.fs, begin=False)
        found = [state for state in possible if state.matches(self.log)]
        assert found, "a state that never was"
        assert self.log.first_index <= self.first_bound
        # What is shown after a restart is durable: no further crash takes it away.
        self.possible = [found[-1]]


@pytest.mark.parametrize("start", range(0, 150, SEEDS_PER_TEST))
def test_after_any_crash_there_is_a_state_that_was_written_since_the_last_sync(start: int) -> None:
    crashes = 0
    for seed in range(start, start + SEEDS_PER_TEST):
        world = World(seed)
        try:
            world.run(steps=60)
        except BaseException as problem:
            problem.add_note(f"seed {seed}")
            raise
        crashes += world.crashes
    assert crashes > SEEDS_PER_TEST
