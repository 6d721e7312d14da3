"""Waiting for a future at most so long, with a timer of its own or one for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.node import waiting
from app.node.waiting import Deadlines, at_most, resolver

AtMost = Callable[[float, asyncio.Future[Any]], Awaitable[Any]]


@pytest.mark.parametrize("way", [lambda: at_most, lambda: Deadlines().at_most], ids=["alone", "together"])
def test_a_future_is_waited_for_at_most_so_long(way: Callable[[], AtMost], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_S", 0.001)

    async def main() -> None:
        at_most, loop = way(), asyncio.get_running_loop()
        early, late, dropped = (loop.create_future() for _ in range(3))
        loop.call_soon(resolver(early), "there")
        assert await at_most(60, early) == "there"
        assert await at_most(0.001, late) is None
        resolver(late)("too late")
        assert late.result() is None
        waits = asyncio.ensure_future(at_most(60, dropped))
        await asyncio.sleep(0)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        resolver(dropped)("nobody waits")
        assert dropped.cancelled()

    asyncio.run(main())


def test_many_share_one_timer_which_ends_when_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_S", 0.001)

    async def main() -> None:
        loop, deadlines, timers = asyncio.get_running_loop(), Deadlines(), list[float]()
        call_later = loop.call_later

        def counted(delay_s: float, *args: Any) -> asyncio.TimerHandle:
            timers.append(delay_s)
            return call_later(delay_s, *args)

        monkeypatch.setattr(loop, "call_later", counted)
        futures = [loop.create_future() for _ in range(100)]
        found = asyncio.gather(*(deadlines.at_most(0 if n % 2 else 60, each) for n, each in enumerate(futures)))
        await asyncio.sleep(0)
        assert len(timers) == 1
        await asyncio.wait(futures[1::2])
        for each in futures[::2]:
            each.set_result("there")
        assert await found == ["there", None] * 50
        await asyncio.sleep(0.05)
        assert deadlines._timer is None and deadlines._due_s == {}
        assert await deadlines.at_most(0, loop.create_future()) is None, "and begins again"

    asyncio.run(main())
