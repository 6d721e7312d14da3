"""What the clockwork wants when, asked every 10 ms as a leader asks it, of a queue that does it at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from app.broker.commands import DeleteSchedule, Fire, NewMessage, PutSchedule, Tick, decode
from app.broker.errors import StateFull
from app.broker.machine import Machine
from app.broker.queries import ScheduleInfo
from app.node import clockwork as clockwork_module
from app.node.clockwork import FIRES_MAX, LOOK_EVERY_MS, Clockwork
from tests.broker.feed import Feed

STEP_MS, MINUTE_MS = 10, 60_000
START_MS = 1_700_000_040_000
"""The begin of a minute."""


class Leader:
    """A queue with its clockwork. There are two topics, "free", and "full", in which nothing more finds a place."""

    def __init__(self) -> None:
        self.feed = Feed(Machine.open(":memory:"))
        self.clockwork = Clockwork(self.feed.machine)
        self.ticks = 0
        self.feed.now_ms = START_MS
        self.feed.create("free")
        self.feed.create("full", max_messages=1)
        self.feed.publish(b"in the way", topic="full")

    def put(self, name: str, topic: str, minute: int = 0) -> None:
        """A schedule for every minute, from this one on."""
        first_ms = START_MS + minute * MINUTE_MS
        self.feed.one(PutSchedule(topic, name, "* * * * *", "UTC", NewMessage(b"1"), first_ms))

    def run(self, until_ms: int) -> list[tuple[int, str, int]]:
        """Up to this moment and without it. -> what was to be fired meanwhile: the moment, the schedule's name, the
        minute of its tick."""
        asked = []
        while self.feed.now_ms < START_MS + until_ms:
            for data, _ in list(self.clockwork.commands(self.feed.now_ms)):
                command = decode(data)
                self.ticks += isinstance(command, Tick)
                if isinstance(command, Fire):
                    minute = (command.tick_ms - START_MS) // MINUTE_MS
                    asked.append((self.feed.now_ms - START_MS, self.name(command.schedule), minute))
                self.feed.one(command)
            self.feed.now_ms += STEP_MS
        return asked

    def name(self, schedule: int) -> str:
        """The schedule's name."""
        machine = self.feed.machine
        found = [each for topic in machine.topics() for each in machine.schedules(topic.name) if each.id == schedule]
        return found[0].name


@pytest.fixture
def leader() -> Iterator[Leader]:
    made = Leader()
    yield made
    made.feed.machine.close()


def test_a_tick_is_wanted_when_something_is_due(leader: Leader) -> None:
    leader.feed.publish(b"1", topic="free", delay_ms=55)
    leader.run(50)
    assert (leader.ticks, leader.feed.counts("free")) == (0, (0, 0, 1, 0))
    leader.run(1000)
    assert (leader.ticks, leader.feed.counts("free")) == (1, (1, 0, 0, 0))


def test_a_schedule_fires_at_its_time(leader: Leader) -> None:
    leader.put("s", "free", minute=1)
    assert leader.run(MINUTE_MS) == []
    [(moment_ms, name, minute)] = leader.run(2 * MINUTE_MS)
    assert (name, minute) == ("s", 1)
    assert 0 <= moment_ms - MINUTE_MS <= LOOK_EVERY_MS


def test_ticks_that_were_missed_do_not_wait_for_each_other(leader: Leader) -> None:
    leader.put("s", "free", minute=-60)
    assert [minute for _, _, minute in leader.run(1000)] == [*range(-60, 1)]
    assert leader.feed.stored("free") == 61


def test_a_tick_that_finds_no_place_is_tried_again_once_a_second(leader: Leader) -> None:
    leader.put("s", "full")
    moments_ms = [moment_ms for moment_ms, _, _ in leader.run(5500)]
    assert len(moments_ms) in (5, 6)
    assert all(1000 <= later - one <= 1000 + LOOK_EVERY_MS for one, later in pairwise(moments_ms))
    leader.feed.receive(topic="full")
    assert [minute for _, _, minute in leader.run(7000)] == [0]
    assert leader.feed.stored("full") == 1


def test_another_tick_or_another_schedule_does_not_wait_for_it(leader: Leader) -> None:
    leader.put("s", "full", minute=-2)
    assert [minute for _, _, minute in leader.run(300)] == [-2]
    leader.put("s", "full", minute=-1)
    assert [minute for _, _, minute in leader.run(600)] == [-1]
    leader.feed.one(DeleteSchedule("full", "s"))
    leader.put("s", "full", minute=-1)
    assert [minute for _, _, minute in leader.run(900)] == [-1]


def test_those_that_find_no_place_hold_up_no_others(leader: Leader) -> None:
    """They are more than are fired at once, and have waited longer than the others."""
    for i in range(2 * FIRES_MAX):
        leader.put(f"stuck {i}", "full", minute=-1)
    leader.put("s", "free")
    leader.put("t", "free", minute=1)
    asked = leader.run(MINUTE_MS)
    assert sum(moment_ms == 0 for moment_ms, _, _ in asked) == FIRES_MAX == 50
    assert [moment_ms <= 5 * STEP_MS for moment_ms, name, _ in asked if name == "s"] == [True]
    assert len(asked) <= 2 * FIRES_MAX * MINUTE_MS // 1000 + 1
    moments_ms = {name: moment_ms - MINUTE_MS for moment_ms, name, _ in leader.run(2 * MINUTE_MS) if name in "st"}
    assert moments_ms.keys() == {"s", "t"}
    assert max(moments_ms.values()) <= LOOK_EVERY_MS + 5 * STEP_MS


def test_what_was_tried_is_forgotten(leader: Leader) -> None:
    leader.put("s", "free")
    leader.put("stuck", "full")
    leader.run(100)
    assert len(leader.clockwork._tried) == 2
    leader.feed.one(DeleteSchedule("full", "stuck"))
    leader.run(1500)
    assert not leader.clockwork._tried


def test_only_so_much_is_kept_in_mind(leader: Leader, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clockwork_module.TRIED_MAX == 5000
    monkeypatch.setattr(clockwork_module, "TRIED_MAX", 3)
    for i in range(5):
        leader.put(f"s{i}", "free")
    assert [name for _, name, _ in leader.run(900)] == ["s0", "s1", "s2"]
    assert [name for _, name, _ in leader.run(1900)] == ["s3", "s4"]


def test_a_schedule_that_cannot_go_on_is_tried_again_once_a_second(
    leader: Leader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another release of the calendar may know no tick after this one. It says so, and holds up no others."""

    def no_next(cron: str, zone: str, after_ms: int) -> int:
        raise ValueError("no such zone")

    leader.put("s", "free")
    monkeypatch.setattr(clockwork_module, "next_tick_ms", no_next)
    assert leader.run(2500) == []
    assert len(caplog.records) in (2, 3)


def test_a_state_that_cannot_be_looked_at_is_looked_at_later() -> None:
    """For want of disk space, which may return: an error here would end the leader."""

    class Unreadable:
        next_due_ms, looks = 1 << 62, 0

        def due_schedules(self, *_: object) -> list[ScheduleInfo]:
            self.looks += 1
            raise StateFull("no disk space")

    machine = Unreadable()
    clockwork = Clockwork(machine)  # type: ignore[arg-type]
    for now_ms in range(0, 3 * LOOK_EVERY_MS, 10):
        assert list(clockwork.commands(now_ms)) == []
    assert machine.looks == 3
