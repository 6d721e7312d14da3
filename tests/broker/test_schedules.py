"""Schedules: a message for every tick, once, whoever fires it and however often."""

from __future__ import annotations

import pytest

from app.broker.commands import DeleteSchedule, DeleteTopic, Fire, NewMessage, PutSchedule
from app.broker.results import Fired, ScheduleChanged, ScheduleCreated, ScheduleDeleted
from app.broker.schedules import SCHEDULES_MAX
from tests.broker.feed import Feed

TICK_MS = 1_700_000_040_000


def put(name: str = "s", first_ms: int = TICK_MS, topic: str = "t", **message: object) -> PutSchedule:
    return PutSchedule(topic, name, "* * * * *", "UTC", NewMessage(b"1", **message), first_ms)  # type: ignore[arg-type]


def fire(feed: Feed, tick_ms: int = TICK_MS, name: str = "s", next_ms: int | None = None) -> Fired:
    [info] = [each for each in feed.machine.schedules("t") if each.name == name]
    answer = feed.one(Fire(info.id, tick_ms, f"tick {tick_ms}", tick_ms + 60_000 if next_ms is None else next_ms))
    assert isinstance(answer, Fired)
    return answer


def test_it_publishes_its_message_with_the_tick(feed: Feed) -> None:
    assert feed.one(put(headers={"h": "1"}, group="g", binary=True)) == ScheduleCreated()
    assert feed.stored() == 0
    assert fire(feed) == Fired(True)
    [message] = feed.receive(9)
    assert (message.body, message.binary, message.group) == (b"1", True, "g")
    assert message.headers == {"h": "1", "rmq-tick": f"tick {TICK_MS}"}


def test_a_header_of_its_own_does_not_hide_the_tick(feed: Feed) -> None:
    feed.one(put(headers={"rmq-tick": "mine"}))
    fire(feed)
    assert feed.receive()[0].headers == {"rmq-tick": f"tick {TICK_MS}"}


def test_one_tick_is_fired_once(feed: Feed) -> None:
    feed.one(put())
    assert [fire(feed) for _ in range(3)] == [Fired(True), Fired(False), Fired(False)]
    assert fire(feed, TICK_MS + 60_000) == Fired(True)
    assert fire(feed, TICK_MS) == Fired(False)
    assert feed.stored() == 2


def test_no_tick_is_passed_by(feed: Feed) -> None:
    """Those that fell into a time without a majority are fired one after the other."""
    feed.one(put())
    assert fire(feed, TICK_MS + 60_000) == Fired(False)
    for i in range(3):
        assert feed.machine.due_schedules(TICK_MS + 200_000, 9)[0].next_ms == TICK_MS + i * 60_000
        assert fire(feed, TICK_MS + i * 60_000) == Fired(True)


def test_a_tick_whose_message_finds_no_place_is_tried_again(feed: Feed) -> None:
    feed.create("u", max_messages=1)
    feed.one(put(topic="u"))
    feed.publish(b"full", topic="u")
    [info] = feed.machine.schedules("u")
    command = Fire(info.id, TICK_MS, "tick", TICK_MS + 1)
    assert feed.one(command) == Fired(False)
    assert feed.machine.schedules("u") == [info]
    feed.receive(topic="u")
    assert feed.one(command) == Fired(True)


def test_which_are_due_the_most_overdue_first(feed: Feed) -> None:
    for name, first_ms in (("b", 300), ("a", 200), ("d", 100), ("c", 200)):
        feed.one(put(name, first_ms))
    due = [each.name for each in feed.machine.due_schedules(200, 9)]
    assert due == ["d", "a", "c"]
    assert [each.name for each in feed.machine.due_schedules(99, 9)] == []
    assert [each.name for each in feed.machine.due_schedules(300, 2)] == ["d", "a"]


def test_some_ticks_may_be_left_out_of_those_that_are_due(feed: Feed) -> None:
    for name in ("a", "b", "c", "d"):
        feed.one(put(name, 100))
    a, b, c, d = feed.machine.due_schedules(100, 9)
    assert feed.machine.due_schedules(100, 2, {(a.id, 100), (c.id, 100)}) == [b, d]
    assert feed.machine.due_schedules(100, 1, [(a.id, 100)]) == [b]
    assert feed.machine.due_schedules(100, 1, [(a.id, 99)]) == [a], "that was another tick"


def test_what_is_put_is_told(feed: Feed) -> None:
    feed.one(put("z"))
    feed.one(put("y", 5, headers={"h": "1"}))
    first, second = feed.machine.schedules("t")
    assert (first.name, first.cron, first.zone, first.next_ms) == ("y", "* * * * *", "UTC", 5)
    assert (first.message, second.name) == (NewMessage(b"1", headers={"h": "1"}), "z")
    assert feed.machine.schedules("no") == []


def test_one_that_is_there_is_changed(feed: Feed) -> None:
    feed.one(put())
    [before] = feed.machine.schedules("t")
    assert feed.one(put(first_ms=7, headers={"h": "2"})) == ScheduleChanged()
    [after] = feed.machine.schedules("t")
    assert (after.id, after.next_ms, after.message.headers) == (before.id, 7, {"h": "2"})
    assert fire(feed) == Fired(False)


def test_a_deleted_one_is_silent_and_another_of_its_name_is_another(feed: Feed) -> None:
    feed.one(put())
    [info] = feed.machine.schedules("t")
    assert feed.one(DeleteSchedule("t", "s")) == ScheduleDeleted()
    feed.one(put())
    assert feed.one(Fire(info.id, TICK_MS, "tick", TICK_MS + 1)) == Fired(False)
    assert feed.stored() == 0


def test_a_deleted_topic_takes_its_schedules_along(feed: Feed) -> None:
    feed.one(put())
    [info] = feed.machine.schedules("t")
    feed.one(DeleteTopic("t"))
    feed.create()
    assert feed.machine.schedules("t") == feed.machine.due_schedules(1 << 60, 9) == []
    assert feed.one(Fire(info.id, TICK_MS, "tick", TICK_MS + 1)) == Fired(False)


def test_a_message_that_the_topic_does_not_take_is_refused_at_once(feed: Feed) -> None:
    assert feed.refused(put(priority=1)) == "invalid_message"
    assert feed.refused(put(group="g", delay_ms=1)) == "invalid_message"
    assert feed.machine.schedules("t") == []


def test_there_are_at_most_a_hundred_for_a_topic(feed: Feed) -> None:
    assert SCHEDULES_MAX == 100
    for i in range(SCHEDULES_MAX):
        assert feed.one(put(f"s{i}")) == ScheduleCreated()
    assert feed.refused(put("one more")) == "too_many"
    assert feed.one(put("s0", 5)) == ScheduleChanged()
    feed.create("u")
    assert feed.one(put(topic="u")) == ScheduleCreated()


@pytest.mark.parametrize("name", ["", "a\0", "x" * 513])
def test_names_that_cannot_be(feed: Feed, name: str) -> None:
    assert feed.refused(put(name)) == "bad_command"
    assert feed.one(put("x" * 512)) == ScheduleCreated()


def test_what_is_not_there_is_refused(feed: Feed) -> None:
    assert feed.refused(put(topic="no")) == feed.refused(DeleteSchedule("no", "s")) == "topic_not_found"
    assert feed.refused(DeleteSchedule("t", "s")) == "schedule_not_found"
    assert feed.one(Fire(12345, 0, "", 1)) == Fired(False)
