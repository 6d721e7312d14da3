"""Compaction: counts what earlier lives left, keeps a stretch, and never drops what is not durable or is being sent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app.broker.item import Item
from app.node import compaction as compaction_module
from app.node.compaction import Compaction

ENTRY_BYTES = 100


class World:
    """A log of `last` entries of 100 bytes each, all applied; background and disk work runs at once."""

    def __init__(self, last: int, durable: int, oldest_copy: int | None = None):
        self.dropped: list[int] = []
        self.checkpoints = 0
        self.checkpoint_due = False
        self.last, self.durable = last, durable
        self.first_index = 1
        self.scarce = self.full = self.has_free_pages = False
        self.owed_bytes, self.time_ms, self.asked_scarce, self.applied_index = 0, 0, list[bool](), last
        self.log = SimpleNamespace(base_index=0, compact=self._given_up)
        self.leader: Any = None
        self.snapshots = SimpleNamespace(oldest=lambda: oldest_copy)

    def tail_bytes_since(self, index: int) -> int:
        return (self.last - index) * ENTRY_BYTES

    def compact(self, index: int) -> None:
        self.dropped.append(index)

    def _given_up(self, index: int) -> None:
        self.log.base_index = index

    def checkpoint(self, scarce: bool) -> int:
        self.checkpoints += 1
        self.asked_scarce.append(scarce)
        return self.durable

    def run(self, work: Any, done: Any) -> None:
        done(work())

    call = run

    def compaction(self, every_bytes: int, retain_bytes: int) -> Compaction:
        around: Any = SimpleNamespace(background=self, disk=self, elapsed_ms=lambda: self.time_ms)
        core: Any = SimpleNamespace(log=self.log, leader=self.leader)
        snapshots: Any = self.snapshots
        return Compaction(self, core, self, snapshots, around, every_bytes, retain_bytes)  # type: ignore[arg-type]


def apply_one(compaction: Compaction, index: int) -> None:
    compaction.applied([Item(index, 1, 0, b"", None)])


def test_a_long_log_of_earlier_lives_is_compacted_soon_after_a_start() -> None:
    world = World(last=1000, durable=1000)
    apply_one(world.compaction(every_bytes=50_000, retain_bytes=20_000), 1000)
    assert world.dropped == [800], "what is kept is the stretch for late followers, no more and no less"


def test_nothing_is_dropped_that_is_not_durable() -> None:
    world = World(last=1000, durable=300)
    apply_one(world.compaction(every_bytes=50_000, retain_bytes=20_000), 1000)
    assert world.dropped == [300]


def test_nothing_is_dropped_that_a_copy_builds_on() -> None:
    world = World(last=1000, durable=1000, oldest_copy=120)
    apply_one(world.compaction(every_bytes=50_000, retain_bytes=20_000), 1000)
    assert world.dropped == [120]


def test_a_short_log_is_left_alone() -> None:
    world = World(last=100, durable=100)
    apply_one(world.compaction(every_bytes=5_000, retain_bytes=20_000), 100)
    assert (world.checkpoints, world.dropped) == (1, [])


def test_no_checkpoint_before_it_is_time() -> None:
    world = World(last=10, durable=10)
    apply_one(world.compaction(every_bytes=5_000, retain_bytes=20_000), 10)
    assert world.checkpoints == 0


def test_a_state_whose_own_files_have_grown_is_checkpointed_however_short_the_log_is() -> None:
    world = World(last=1, durable=1)
    compaction = world.compaction(every_bytes=50_000, retain_bytes=20_000)
    apply_one(compaction, 1)
    assert world.checkpoints == 0
    world.checkpoint_due = True
    apply_one(compaction, 2)
    assert world.checkpoints == 1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a log of 100 KB reaches."""
    monkeypatch.setattr(compaction_module, "SCARCE_BYTES", 5_000)
    monkeypatch.setattr(compaction_module, "LEAST_BYTES", 1_000)


def test_on_a_disk_that_is_nearly_full_little_is_kept_of_the_log(small: None) -> None:
    world = World(last=1000, durable=1000)
    compaction = world.compaction(every_bytes=1 << 30, retain_bytes=20_000)
    world.scarce = True
    compaction.make_room()
    assert (world.dropped, world.asked_scarce) == ([950], [True])


@pytest.mark.parametrize(("match", "dropped"), [(990, 950), (900, 900), (100, 800)])
def test_but_not_what_a_member_lacks_that_is_a_little_late(small: None, match: int, dropped: int) -> None:
    world = World(last=1000, durable=1000)
    world.leader = SimpleNamespace(least_match=lambda: match)
    compaction = world.compaction(every_bytes=1 << 30, retain_bytes=20_000)
    world.scarce = True
    compaction.make_room()
    assert world.dropped == [dropped]


def test_where_nothing_of_the_log_may_go_no_checkpoint_is_made_for_it(small: None) -> None:
    for world in (World(last=1000, durable=1000, oldest_copy=5), World(last=1000, durable=1000)):
        world.log.base_index = 5
        compaction = world.compaction(every_bytes=1 << 30, retain_bytes=0)
        world.scarce = True
        for _ in range(5):
            world.time_ms += compaction_module.SCARCE_MS
            compaction.make_room()
        assert world.checkpoints == (0 if world.snapshots.oldest() is not None else 1)


def test_room_is_made_now_and_then_where_there_is_something_to_gain() -> None:
    world = World(last=10, durable=10)
    compaction = world.compaction(every_bytes=1 << 30, retain_bytes=20_000)
    world.scarce = True
    for owed_bytes, time_ms, checkpoints in (
        (0, 0, 0), (compaction_module.SCARCE_BYTES, 0, 1), (compaction_module.SCARCE_BYTES, 1, 1),
        (compaction_module.SCARCE_BYTES, compaction_module.SCARCE_MS, 2), (0, 10 * compaction_module.SCARCE_MS, 2),
    ):  # fmt: skip
        world.owed_bytes, world.time_ms = owed_bytes, time_ms
        compaction.make_room()
        assert world.checkpoints == checkpoints


@pytest.mark.parametrize(("owed_bytes", "free"), [(2 << 20, False), (0, True)])
def test_while_nothing_may_grow_every_bit_counts(owed_bytes: int, free: bool) -> None:
    """Found by a review: an idle queue that was drained stayed full, since no commit came to change it."""
    world = World(last=10, durable=10)
    compaction = world.compaction(every_bytes=1 << 30, retain_bytes=20_000)
    world.scarce, world.owed_bytes, world.has_free_pages = True, owed_bytes, free
    compaction.make_room()
    assert world.checkpoints == 0
    world.full = True
    compaction.make_room()
    assert world.checkpoints == 1
