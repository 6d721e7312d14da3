"""The examples for TaskIQ and FastStream with the real libraries, as their users run them, through kills of the leader
and of a worker: every task is executed, each once, but for those that a killed worker had."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import pytest
from faststream import Depends, FastStream
from pydantic import BaseModel
from taskiq import SendTaskError, SimpleRetryMiddleware
from taskiq.api import run_receiver_task

import rmq
from bench.cluster import LocalCluster
from examples.faststream_broker import RMQBroker as FastStreamBroker
from examples.taskiq_broker import RMQBroker as TaskiqBroker
from rmq.errors import KeyReused
from tests.processes.traffic import url
from tests.processes.waiting_tasks import LEASE_S, wait_for

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 90
TASKS = 500
WAITING, AT_ONCE = 50, 5
TASKIQ = ["taskiq", "worker", "examples.taskiq_app:broker", "--workers", "2"]
WAITERS = ["taskiq", "worker", "tests.processes.waiting_tasks:broker", "-w", "1", "--max-async-tasks", str(AT_ONCE)]


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as three:
        three.wait_for_leader()
        yield three


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def alone() -> Iterator[LocalCluster]:
    with LocalCluster(1) as one:
        one.wait_for_leader()
        yield one


def urls(cluster: LocalCluster) -> str:
    return ",".join(url(port, "") for port in cluster.ports)


class Program:
    """A command of `python -m`, with the children that it starts. `output` is all that they print and log."""

    def __init__(self, cluster: LocalCluster, directory: Path, *arguments: str) -> None:
        self.path = directory / f"{arguments[0]}-{time.monotonic_ns()}.log"
        with self.path.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=ROOT, stdout=output, stderr=output, start_new_session=True,
                env=os.environ | {"RMQ_URL": urls(cluster), "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def output(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def orders(self) -> Counter[int]:
        """How often it was executed, by the order's number."""
        return Counter(map(int, re.findall(r"order (\d+): one tea", self.output)))

    @property
    def begun(self) -> Counter[int]:
        """How often it was begun."""
        return Counter(map(int, re.findall(r"begun (\d+)", self.output)))

    def told(self) -> str:
        """What was executed more than once, and every line that is no news of an order."""
        often = [f"order {number}: {times} times" for number, times in self.orders.items() if times > 1]
        return "\n".join(often + [line for line in self.output.splitlines() if "one tea" not in line])

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < deadline and self.process.poll() is None, self.output
            time.sleep(0.1)

    def stop(self) -> int:
        """As users stop it. -> its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WITHIN_S)

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def kill_the_leader(cluster: LocalCluster) -> None:
    leader = cluster.wait_for_leader()
    cluster.kill(leader)
    cluster.wait_for_leader()
    cluster.start(leader)


def is_empty(queue: rmq.Client, topic: str) -> bool:
    return queue.topic(topic).messages == 0


@pytest.mark.parametrize("worker", [TASKIQ, ["examples.faststream_app"]], ids=["taskiq", "fs"])
def test_each_task_is_executed_once_through_two_leader_kills(
    cluster: LocalCluster, tmp_path: Path, worker: list[str]
) -> None:
    app = "examples.taskiq_app" if worker[0] == "taskiq" else worker[0]
    with ExitStack() as stack:
        queue = stack.enter_context(rmq.Client(urls(cluster)))
        working = stack.enter_context(Program(cluster, tmp_path, *worker))
        ordering = stack.enter_context(Program(cluster, tmp_path, app, str(TASKS)))
        for part in (1, 2):
            working.until(lambda part=part: len(working.orders) >= part * TASKS // 4)
            kill_the_leader(cluster)
        assert ordering.process.wait(WITHIN_S) == 0
        assert ordering.output == f"{TASKS} orders are on the disks of a majority\n"
        working.until(lambda: len(working.orders) == TASKS)
        working.until(lambda: is_empty(queue, "kitchen" if worker[0] == "taskiq" else "orders"))
        assert working.stop() == 0
        assert working.orders == Counter(range(TASKS)), working.told()
        assert "Traceback" not in working.output and "ERROR" not in working.output, working.output
        if app == "examples.faststream_app":
            receipts = [message.body for message in queue.receive("receipts", max=1000)]
            assert sorted(each["number"] for each in receipts) == list(range(TASKS))
            assert receipts[0]["text"] == "one tea"


async def kick(cluster: LocalCluster, path: Path) -> None:
    broker = TaskiqBroker(urls(cluster), "waiting", lease_s=LEASE_S)
    await broker.startup()
    for number in range(WAITING):
        await wait_for.kicker().with_broker(broker).kiq(str(path), number)
    await broker.shutdown()


def test_what_a_killed_taskiq_worker_had_is_executed_by_another_one(cluster: LocalCluster, tmp_path: Path) -> None:
    file = tmp_path / "now"
    asyncio.run(kick(cluster, file))
    with ExitStack() as stack:
        queue = stack.enter_context(rmq.Client(urls(cluster)))
        first = stack.enter_context(Program(cluster, tmp_path, *WAITERS))
        first.until(lambda: len(first.begun) == AT_ONCE)
        first.kill()
        file.touch()
        second = stack.enter_context(Program(cluster, tmp_path, *WAITERS))
        second.until(lambda: is_empty(queue, "waiting"))
        assert second.orders == second.begun == Counter(range(WAITING)), "also those that the first had begun"
        assert not first.orders and len(first.begun) == AT_ONCE


def test_a_taskiq_worker_that_is_told_to_stop_gives_back_the_rest(cluster: LocalCluster, tmp_path: Path) -> None:
    file = tmp_path / "now"
    asyncio.run(kick(cluster, file))
    with ExitStack() as stack:
        queue = stack.enter_context(rmq.Client(urls(cluster)))
        working = stack.enter_context(Program(cluster, tmp_path, *WAITERS))
        working.until(lambda: len(working.begun) == AT_ONCE)
        working.process.send_signal(signal.SIGTERM)
        working.until(lambda: "Stopping prefetching" in working.output)
        file.touch()
        assert working.process.wait(WITHIN_S) == 0
        [default] = queue.topic("waiting").subscriptions
        assert working.orders == working.begun and len(working.orders) == AT_ONCE
        assert (default.leased, default.delayed, default.ready) == (0, 0, WAITING - AT_ONCE)
        assert "Traceback" not in working.output, working.output


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await condition():  # noqa: ASYNC110 # It is asked of a node.
            await asyncio.sleep(0.02)


@pytest.mark.anyio
async def test_taskiq_labels_ids_and_retries(alone: LocalCluster) -> None:
    broker = TaskiqBroker(urls(alone), "t", lease_s=10, longest_s=0, priorities=True)
    broker.add_middlewares(SimpleRetryMiddleware())
    done: Counter[str] = Counter()

    @broker.task(retry_on_error=True)
    async def fail_once(name: str) -> None:
        done[name] += 1
        if done[name] == 1:
            raise ValueError("the first time")

    @broker.task(ack_type="manual")
    async def never_ack(name: str) -> None:
        done[name] += 1

    async def is_enough() -> bool:
        return done["not acked"] > 1 and done["fails"] > 1

    await broker.startup()
    try:
        for _ in range(2):
            await fail_once.kicker().with_task_id("same").with_labels(group="g").kiq("fails")
        with pytest.raises(SendTaskError) as refused:
            await fail_once.kicker().with_task_id("same").kiq("something else")
        assert isinstance(refused.value.__cause__, KeyReused)
        await never_ack.kicker().with_labels(priority=7).kiq("not acked")
        await never_ack.kicker().with_labels(delay=3600, ttl=7200).kiq("much later")
        found = [each async for each in broker.client.peek("t")]
        assert [each.state for each in found] == ["ready", "ready", "delayed"]
        assert (found[0].headers["task-id"], found[0].group, found[1].priority) == ("same", "g", 7)
        receiving = asyncio.create_task(run_receiver_task(broker))
        await until(is_enough)
        receiving.cancel()
        await asyncio.wait([receiving])
    finally:
        await broker.shutdown()
    assert list(done) == ["not acked", "fails"] and done["fails"] == 2, "by priority; the retry is stored once, too"


class Order(BaseModel):
    number: int


@pytest.mark.anyio
async def test_faststream_types_dependencies_and_results(alone: LocalCluster) -> None:
    broker = FastStreamBroker(urls(alone))
    app = FastStream(broker)  # type: ignore[arg-type]
    deliveries: Counter[int] = Counter()

    @app.after_startup
    async def order() -> None:
        await broker.client.delete_topic("lost")
        await broker.publish({"number": "no number"}, "orders", ttl_s=1)
        await broker.publish(Order(number=5), "orders")

    def half(order: Order) -> float:
        return order.number / 2

    @broker.subscriber("orders", retry_delay_s=0.1)
    @broker.publisher("lost")
    @broker.publisher("receipts")
    async def make(order: Order, half: float = Depends(half)) -> dict[str, float]:
        deliveries[order.number] += 1
        return {"half": half, "delivery": deliveries[order.number]}

    async def is_tried_again() -> bool:
        return deliveries[5] > 1

    async def is_done() -> bool:
        return (await broker.client.topic("orders")).messages == 0

    async with app:
        await until(is_tried_again)
        await broker.client.create_topic("lost")
        await until(is_done)
        [receipt] = await broker.client.receive("receipts", max=10)
        assert receipt.body == {"half": 2.5, "delivery": 1}, "the first one stands"
    assert list(deliveries) == [5]
