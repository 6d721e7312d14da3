"""The whole workload in one process: the real routes and the real queue, no Raft, over a way that loses requests.

What the clients write down must be a history that the checker finds right, with all that makes leases hard in it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from random import Random

import httpx
import pytest

from app.api.app import create_app
from app.broker.commands import Tick, encode
from chaos.checker import Report, check
from chaos.clients import agents, workers
from chaos.clients.tries import EXPECTED, Caller
from chaos.clients.workload import CREWS, Workload
from chaos.history import Op, Record, Run, read
from chaos.recorder import Recorder
from tests.api.fake_node import FakeNode, settings

LOAD_S, SILENT_S = 5.0, 1.5
URLS = ["http://node0"]


class Lossy(httpx.AsyncBaseTransport):
    """Some requests are not sent, some come late, some answers are lost; while `silent` nobody answers at all."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._rng = Random(5)
        self._late: set[asyncio.Task[httpx.Response]] = set()
        self.silent = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        dice = self._rng.random()
        if self.silent or dice < 0.02:
            raise httpx.ConnectError("refused")
        if dice < 0.04:
            raise httpx.ReadError("cut before it came")
        if dice < 0.06:
            task = asyncio.get_running_loop().create_task(self._later(request))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            raise httpx.ReadError("cut, and it comes later")
        answer = await self._inner.handle_async_request(request)
        if dice < 0.09:
            raise httpx.ReadError("cut before the answer")
        return answer

    async def _later(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self._rng.uniform(0.0, 0.5))
        return await self._inner.handle_async_request(request)

    async def settle(self) -> None:
        """Wait for those that come late."""
        await asyncio.gather(*self._late)


async def _tick(node: FakeNode) -> None:
    """What the clockwork of a leader does."""
    while True:
        if node.machine.next_due_ms <= time.time_ns() // 1_000_000:
            node.apply(encode(Tick()))
        await asyncio.sleep(0.01)


async def _go_on(seconds: float) -> None:
    """In pieces: a process that is held up loses one of them, and not all of its load."""
    for _ in range(round(100 * seconds)):
        await asyncio.sleep(0.01)


async def _load(path: Path) -> None:
    node = FakeNode()
    lossy = Lossy(httpx.ASGITransport(create_app(node, settings())))  # type: ignore[arg-type]
    ticking = asyncio.get_running_loop().create_task(_tick(node))
    with Recorder(path) as recorder:
        recorder.add(Run(scenario="calm", seed=1, seconds=LOAD_S, nodes=1, started_at="", image="", version=""))
        workload = Workload(recorder, URLS, 1, LOAD_S, transport=lossy)
        await workload.create_topics()
        workload.watch()
        workload.start()
        await _go_on(LOAD_S / 2)
        lossy.silent = True
        await asyncio.sleep(SILENT_S)
        lossy.silent = False
        await _go_on(LOAD_S / 2)
        workload.check()
        await workload.stop()
        await lossy.settle()
        assert await workload.drain(300)
        assert await workload.settle(300)
        await workload.stop_watching()
    ticking.cancel()
    node.machine.close()


def test_a_run_that_breaks_off_leaves_nobody_who_writes(tmp_path: Path) -> None:
    async def break_off() -> None:
        node = FakeNode()
        with Recorder(tmp_path / "history.jsonl") as recorder:
            way = Apart(httpx.ASGITransport(create_app(node, settings())))  # type: ignore[arg-type]
            workload = Workload(recorder, URLS, 1, LOAD_S, transport=way)
            await workload.create_topics()
            workload.watch()
            workload.start()
            await asyncio.sleep(0.2)
            await workload.abandon()
            await asyncio.gather(*way.requests)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        node.machine.close()

    asyncio.run(break_off())


class Apart(httpx.AsyncBaseTransport):
    """The server goes on with a request whose client has gone: it lives elsewhere."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.requests: set[asyncio.Task[httpx.Response]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        task = asyncio.create_task(self._inner.handle_async_request(request))
        self.requests.add(task)
        task.add_done_callback(self.requests.discard)
        return await asyncio.shield(task)


class Refusing(httpx.AsyncBaseTransport):
    """Refuses the first `times` requests of all."""

    def __init__(self, inner: httpx.AsyncBaseTransport, times: int) -> None:
        self._inner, self._times = inner, times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._times -= 1
        if self._times >= 0:
            raise httpx.ConnectError("refused")
        return await self._inner.handle_async_request(request)


def test_the_last_list_of_topics_is_asked_for_until_it_comes(tmp_path: Path) -> None:
    """One run in many ended with the sentence that no list had been read after the last topic was made."""

    async def settle() -> None:
        node = FakeNode()
        with Recorder(tmp_path / "history.jsonl") as recorder:
            way = Refusing(httpx.ASGITransport(create_app(node, settings())), 3)  # type: ignore[arg-type]
            assert await Workload(recorder, URLS, 1, LOAD_S, transport=way).settle(60)
        node.machine.close()

    asyncio.run(settle())
    lists = [record.outcome for record in read(tmp_path / "history.jsonl") if isinstance(record, Op)]
    assert lists == ["fail", "fail", "fail", "ok"]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """What the clients wrote down."""
    path = tmp_path_factory.mktemp("workload") / "history.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents, "PATIENT_S", 300.0)
        patch.setitem(Caller.__init__.__kwdefaults__, "patience_s", 300.0)
        asyncio.run(_load(path))
    return list(read(path))


@pytest.fixture(scope="module")
def report(records: list[Record]) -> Report:
    """What the checker says."""
    return check(records)


def test_it_is_found_right(report: Report) -> None:
    assert report.valid, report.anomalies
    assert all("log" in sentence for sentence in report.missing), report.missing


def test_all_took_part_and_saw_nothing_strange(records: list[Record]) -> None:
    ops = [record for record in records if isinstance(record, Op)]
    assert {op.client.rstrip("0123456789") for op in ops} >= {crew.prefix for crew in CREWS if crew.prefix != "poller"}
    assert {op.error for op in ops if op.error} <= EXPECTED
    kinds = Counter((op.kind, op.topic) for op in ops if op.outcome == "ok")
    for topic, _ in workers.TOPICS:
        assert all(kinds[kind, topic] for kind in ("receive", "ack", "count")), topic
    assert kinds["nack", workers.MORTAL]


def test_what_makes_leases_hard_happened(report: Report, records: list[Record]) -> None:
    assert all(report.checked[what] for what in ("of them handed out again", "leases that ran out", "dead letters"))
    ops = [record for record in records if isinstance(record, Op)]
    assert any(op.delay_s for op in ops if op.kind == "nack")
    assert any(op.groups for op in ops if op.kind == "publish")
    assert any(op.tries > 1 and op.outcome == "ok" and op.lease_s for op in ops if op.kind == "receive")
