"""Refused streams in the log: the first at once, then a line a minute, and never more than there is room for."""

from __future__ import annotations

import pytest

from app.transport.refusals import PAUSE_S, REMEMBERED_MAX, Refusals


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refusals(clock: Clock) -> Refusals:
    return Refusals(clock)


def test_the_first_is_told_at_once_then_a_minute_s_worth_together(
    refusals: Refusals, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(240):
        refusals.note("10.0.0.7", "another cluster")
        clock.now_s += 0.5
    assert caplog.messages == [
        "refused a stream from 10.0.0.7: another cluster",
        "refused a stream from 10.0.0.7: another cluster (119 more since the last such line)",
    ]


def test_who_comes_seldom_is_told_each_time(
    refusals: Refusals, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        refusals.note("10.0.0.7", "another cluster")
        clock.now_s += PAUSE_S
    assert caplog.messages == ["refused a stream from 10.0.0.7: another cluster"] * 3


def test_each_address_and_each_reason_has_lines_of_its_own(
    refusals: Refusals, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        for address, reason in (("10.0.0.7", "another cluster"), ("10.0.0.8", "another cluster"), ("10.0.0.7", "HTTP")):
            refusals.note(address, reason)
    assert len(caplog.messages) == 3


def test_many_addresses_take_neither_memory_nor_lines(
    refusals: Refusals, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10_000):
        refusals.note(f"10.1.{number >> 8}.{number & 255}", "HTTP")
    assert len(caplog.messages) == len(refusals._told) == REMEMBERED_MAX + 1
    clock.now_s += PAUSE_S - 1
    refusals.note("10.9.9.9", "HTTP")
    assert len(caplog.messages) == REMEMBERED_MAX + 1
    clock.now_s += 1
    caplog.clear()
    for number in range(10_000):
        refusals.note(f"10.2.{number >> 8}.{number & 255}", "HTTP")
    assert len(caplog.messages) == len(refusals._told) <= REMEMBERED_MAX + 1


def test_the_rest_is_told_together_with_its_number(
    refusals: Refusals, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(REMEMBERED_MAX):
        refusals.note(f"10.0.0.{number}", "HTTP")
    clock.now_s += 1
    for number in range(5):
        refusals.note(f"10.0.1.{number}", "HTTP")
    clock.now_s += PAUSE_S - 1
    for number in range(REMEMBERED_MAX):
        refusals.note(f"10.0.0.{number}", "HTTP")
    clock.now_s += 1
    caplog.clear()
    refusals.note("10.0.2.1", "HTTP")
    assert caplog.messages == ["refused a stream from 10.0.2.1: HTTP (4 more of others since the last such line)"]
