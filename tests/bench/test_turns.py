"""Two sides in turns: who goes first, what is done, and what is printed of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bench import turns
from bench.turns import LOADS, Side, in_turns


def side(name: str, port: int) -> Side:
    cluster: Any = SimpleNamespace(ports=[0, port], wait_for_leader=lambda: 1)
    return Side(name, cluster, f"topic-{name}")


def test_each_load_is_done_by_both_in_turns_and_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[tuple[int, int]] = []
    seconds = iter([1.0, 2.0] * len(LOADS) + [4.0, 1.0] * len(LOADS))

    async def share(port: int, clients: int, times: int, work: object) -> float:
        done.append((port, clients * times))
        return next(seconds)

    monkeypatch.setattr(turns, "share", share)
    asyncio.run(in_turns(side("old", 71), side("new", 72), 2))
    asked = [load.clients * load.messages // load.batch for load in LOADS]
    assert [ask for _, ask in done] == [ask for ask in asked * 2 for _ in range(2)]
    assert [port for port, _ in done] == [71, 72] * len(LOADS) + [72, 71] * len(LOADS)
    printed = capsys.readouterr().out.splitlines()
    assert "| messages/s, medians | old | new | old / new | of each pair |" in printed
    # 10,000 messages in 1 and 1 s against 2 and 4 s.
    assert "| publish one by one, 64 clients | 10,000 | 3,750 | 2.67 | 2.00 to 4.00 |" in printed
    assert len(printed) >= 3 + len(LOADS)
