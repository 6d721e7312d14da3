"""A loop that was late catches up a little, a process that was paused does not."""

from __future__ import annotations

from collections.abc import Callable

from app.node.ticker import Ticker


class FakeLoop:
    """A loop whose clock the test moves. One timer at a time, as a ticker has."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeLoop:
        self._due = (self.now_s + delay_s, callback)
        return self

    def cancel(self) -> None:
        self._due = None

    def advance_ms(self, ms: float) -> None:
        """Let time pass in one leap, then run what is due."""
        self.now_s += ms / 1000
        if self._due is not None and self._due[0] <= self.now_s:
            callback, self._due = self._due[1], None
            callback()


def ticker(most_ticks: int) -> tuple[FakeLoop, list[int], Ticker]:
    loop, reported = FakeLoop(), []
    made = Ticker(10, most_ticks, reported.append)
    made.start(loop)  # type: ignore[arg-type]
    return loop, reported, made


def test_ticks_come_in_time() -> None:
    loop, reported, _ = ticker(5)
    for _ in range(50):
        loop.advance_ms(10.5)
    assert sum(reported) == 52, "525 ms are 52 ticks: nothing is lost to rounding"
    assert max(reported) <= 2


def test_a_late_loop_catches_up() -> None:
    loop, reported, _ = ticker(5)
    loop.advance_ms(42)
    assert reported == [4]


def test_a_paused_process_does_not() -> None:
    loop, reported, _ = ticker(5)
    loop.advance_ms(60_000)
    for _ in range(10):
        loop.advance_ms(11)
    assert reported[0] == 5
    assert sum(reported[1:]) <= 11, "what was slept through is forgotten, not caught up in portions"


def test_a_stopped_ticker_is_silent() -> None:
    loop, reported, made = ticker(5)
    loop.advance_ms(12)
    made.stop()
    loop.advance_ms(1000)
    assert reported == [1]
