"""When what is committed is applied: by a leader at once, by a follower after its disk, by nobody without room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from app.broker.errors import StateFull
from app.broker.item import Item
from app.node.applying import Applier
from app.node.errors import NotCommitted, OutcomeUnknown
from app.raft import Entry, Kind


class Around:
    """All that an applier knows: a core without a leader, a disk that writes, a state that may be full."""

    def __init__(self) -> None:
        self.applied: list[int] = []
        self.applied_index = 0
        self.is_full = False
        self.idle = False
        self.leader: object = None
        self.rooms_made = 0
        self.later_on: list[Callable[[], None]] = []
        around: Any = SimpleNamespace(disk=self, later=lambda _, call: self.later_on.append(call))
        whole: Any = self
        self.applier = Applier(whole, whole, SimpleNamespace(applied=lambda _: None), around)  # type: ignore[arg-type]

    def apply(self, items: Sequence[Item]) -> list[bytes | None]:
        if self.is_full:
            raise StateFull("no room")
        self.applied += [item.index for item in items]
        return [b"done" for _ in items]

    def make_room(self) -> None:
        self.rooms_made += 1

    def commit(self, *indices: int, term: int = 1) -> None:
        self.applier.take([Entry(index, term, Kind.NOOP, b"") for index in indices])
        self.applier.go_on()


@pytest.fixture
def around() -> Around:
    return Around()


def test_a_leader_applies_at_once_also_what_it_kept_as_a_follower(around: Around) -> None:
    around.commit(1)
    assert around.applied == []
    around.leader = object()
    around.commit(2)
    assert around.applied == [1, 2]


def test_what_was_kept_when_a_snapshot_comes_is_in_it(around: Around) -> None:
    around.commit(1, 2)
    around.applier.drop()
    around.applier.installed(5)
    around.applier.apply()
    around.commit(6)
    around.applier.apply()
    assert (around.applied, around.applier.applied_index) == ([6], 6)


def test_without_room_all_waits_for_the_next_try(around: Around) -> None:
    around.is_full = around.idle = True
    around.commit(1)
    around.commit(2)
    around.applier.apply()
    assert (around.rooms_made, len(around.later_on)) == (1, 1)
    around.is_full = False
    around.applier.apply()
    assert around.applied == [], "it is tried when it is time"
    around.later_on.pop()()
    assert around.applied == [1, 2]
    around.commit(3)
    assert around.applied == [1, 2, 3]


def test_who_proposed_hears_what_became_of_it(around: Around) -> None:
    heard: dict[int, object] = {}
    for index, term in ((1, 1), (2, 1), (3, 1), (9, 2)):
        around.applier.waiters[index] = term, lambda outcome, index=index: heard.update({index: outcome})
    around.idle = True
    around.commit(1)
    around.commit(2, term=2)
    around.applier.installed(4)
    assert heard.keys() == {1, 2, 3}
    assert heard[1] == b"done"
    assert isinstance(heard[2], NotCommitted), "another term's entry stands there"
    assert isinstance(heard[3], OutcomeUnknown), "the snapshot does not tell"
    around.applier.give_up("the leader changed", lambda index: index > 8)
    assert isinstance(heard[9], OutcomeUnknown) and not around.applier.waiters
