"""A loop that was late catches up a little, a process that was paused does not."""

from __future__ import annotations

import asyncio
import time

from app.node.ticker import Ticker


def ticks_after(stall_s: float, most_ticks: int) -> list[int]:
    """The ticks reported by a loop that is blocked once for `stall_s`."""

    async def scenario() -> list[int]:
        reported: list[int] = []
        ticker = Ticker(10, most_ticks, reported.append)
        ticker.start()
        await asyncio.sleep(0.05)
        reported.clear()
        time.sleep(stall_s)  # noqa: ASYNC251 - the stall is the point
        await asyncio.sleep(0.0)
        await asyncio.sleep(0.001)
        ticker.stop()
        return reported

    return asyncio.run(scenario())


def test_a_late_loop_catches_up() -> None:
    assert 3 <= ticks_after(0.035, 100)[0] < 100


def test_a_paused_process_does_not() -> None:
    reported = ticks_after(0.3, 5)
    assert reported[0] == 5
    assert sum(reported) <= 6, "what was slept through is forgotten, not caught up in portions"


def test_time_is_not_lost_to_rounding() -> None:
    async def scenario() -> int:
        total = 0

        def count(ticks: int) -> None:
            nonlocal total
            total += ticks

        ticker = Ticker(10, 1000, count)
        started = time.monotonic()
        ticker.start()
        await asyncio.sleep(0.5)
        ticker.stop()
        return total - int((time.monotonic() - started) * 100)

    assert abs(asyncio.run(scenario())) <= 2
