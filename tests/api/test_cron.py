"""When schedules are due, clocks that are set forward and back included."""

from __future__ import annotations

import datetime

import pytest

from app.node.cron import next_tick_ms


def ms(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def ticks(cron: str, zone: str, after: str, count: int) -> list[str]:
    """The next ticks, in UTC."""
    found, time_ms = [], ms(after)
    for _ in range(count):
        following = next_tick_ms(cron, zone, time_ms)
        assert following > time_ms
        time_ms = following
        found.append(datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC).strftime("%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("* * * * *", ["01-31 12:01", "01-31 12:02"]), ("*/5 * * * *", ["01-31 12:05", "01-31 12:10"]),
        ("0 0 * * *", ["02-01 00:00", "02-02 00:00"]), ("0 0 29 2 *", ["02-29 00:00", "02-29 00:00"]),
        ("30 8 * * mon-fri", ["02-02 08:30", "02-03 08:30"]), ("0 0 L * *", ["02-28 00:00", "03-31 00:00"]),
        ("0 12 1,15 * *", ["02-01 12:00", "02-15 12:00"]),
    ],
)  # fmt: skip
def test_ticks_in_utc(cron: str, expected: list[str]) -> None:
    assert ticks(cron, "UTC", "2026-01-31T12:00:00+00:00", 2) == expected


def test_a_tick_is_after_the_time_to_the_millisecond() -> None:
    minute = ms("2026-01-31T12:01:00+00:00")
    assert next_tick_ms("* * * * *", "UTC", minute - 1) == minute
    assert next_tick_ms("* * * * *", "UTC", minute) == minute + 60_000
    assert next_tick_ms("* * * * *", "UTC", minute + 59_999) == minute + 60_000


def test_an_hour_of_the_day_is_that_of_the_zone() -> None:
    assert ticks("0 8 * * *", "Europe/Berlin", "2026-01-31T12:00:00+00:00", 1) == ["02-01 07:00"]
    assert ticks("0 8 * * *", "Europe/Berlin", "2026-07-31T12:00:00+00:00", 1) == ["08-01 06:00"]


def test_an_hour_that_is_not_there_ticks_right_after_it() -> None:
    """At 2:00 of March 29 clocks in Berlin are set to 3:00."""
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00+00:00", 3) == [
        "03-28 01:30", "03-29 01:00", "03-30 00:30",
    ]  # fmt: skip
    assert ticks("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:31:00+00:00", 2) == ["03-29 01:00", "03-29 01:30"]


def test_an_hour_that_is_there_twice_ticks_once() -> None:
    """At 3:00 of October 25 clocks in Berlin are set to 2:00."""
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00+00:00", 3) == [
        "10-24 00:30", "10-25 00:30", "10-26 01:30",
    ]  # fmt: skip
    assert ticks("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00+00:00", 1) == ["10-26 01:30"]
    assert ticks("0 * * * *", "Europe/Berlin", "2026-10-24T23:59:00+00:00", 3) == [
        "10-25 00:00", "10-25 01:00", "10-25 02:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "cron", ["0 0 30 2 *", "0 0 31 4 *", "60 * * * *", "* * * * 8", "a b c d e", "* * * * * *", ""]
)
def test_what_is_no_expression(cron: str) -> None:
    with pytest.raises(ValueError, match="cron expression"):
        next_tick_ms(cron, "UTC", 0)


def test_what_never_comes() -> None:
    with pytest.raises(ValueError, match="50 years"):
        next_tick_ms("0 0 */30 2 SUN#2", "UTC", ms("2026-01-01T00:00:00+00:00"))


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../UTC", "localtime", "posixrules", "/etc", "a\0b"])
def test_what_is_no_zone(zone: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        next_tick_ms("* * * * *", zone, 0)
