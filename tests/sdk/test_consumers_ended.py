"""How workers end: by a cancel, by an exit, by what nobody expected, and how they run again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import rmq
from rmq import errors
from rmq.aio_connections import AsyncConnections
from tests.sdk.looking import left, until


@pytest.fixture
def queue(url: str) -> Iterator[rmq.Client]:
    """A client, with an empty topic `t`."""
    with rmq.Client(url) as found:
        found.create_topic("t")
        yield found
        found.delete_topic("t")


# -- a client that cannot be used any more --------------------------------------------------------------------


def test_a_closed_client_says_so(url: str) -> None:
    client = rmq.Client(url)
    client.close()
    with pytest.raises(errors.ClientClosed, match="was closed") as caught:
        client.topic("t")
    assert (caught.value.code, caught.value.outcome) == ("client_closed", "not_committed")

    async def use() -> None:
        closed = rmq.AsyncClient(url)
        await closed.close()
        await closed.topic("t")

    with pytest.raises(errors.ClientClosed, match="was closed"):
        asyncio.run(use())


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_worker_ends_with_its_client(queue: rmq.Client, url: str, is_busy: bool) -> None:
    client, begun, told, caught = rmq.Client(url), threading.Event(), threading.Event(), []

    def work(message: rmq.Message) -> None:
        begun.set()
        told.wait(20)

    def run() -> None:
        try:
            client.consume("t")(work).run()
        except errors.ClientClosed as error:
            caught.append(error)

    if is_busy:
        queue.publish("t", 1)
    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(1) is is_busy
    client.close()
    told.set()
    thread.join(20)
    assert not thread.is_alive() and len(caught) == 1


@pytest.mark.parametrize("is_busy", [True, False])
def test_an_asynchronous_worker_ends_with_its_client(queue: rmq.Client, url: str, is_busy: bool) -> None:
    async def main() -> None:
        client, begun, told = rmq.AsyncClient(url), asyncio.Event(), asyncio.Event()

        async def work(message: rmq.Message) -> None:
            begun.set()
            await told.wait()

        if is_busy:
            queue.publish("t", 1)
        running = asyncio.create_task(client.consume("t")(work).run())
        await (begun.wait() if is_busy else asyncio.sleep(0.5))
        await client.close()
        told.set()
        with pytest.raises(errors.ClientClosed):
            async with asyncio.timeout(20):
                await running
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


class Unforeseen(Exception):
    pass


def unforeseen(*_: Any, **__: Any) -> Any:
    raise Unforeseen


@pytest.mark.parametrize("method", ["receive", "ack", "extend"])
def test_what_nobody_expected_ends_a_worker_and_is_raised(queue: rmq.Client, method: str) -> None:
    queue.publish_many("t", range(3))
    worker = queue.consume("t", lease_s=1, concurrency=2)(lambda _: time.sleep(1))
    setattr(queue, method, unforeseen)
    try:
        with pytest.raises(Unforeseen):
            worker.run()
    finally:
        delattr(queue, method)
    assert left(queue)[1] == 0 or method == "ack"


@pytest.mark.parametrize("method", ["receive", "ack", "extend"])
def test_what_nobody_expected_ends_an_asynchronous_worker(queue: rmq.Client, url: str, method: str) -> None:
    queue.publish_many("t", range(3))

    async def main() -> None:
        async with rmq.AsyncClient(url) as client:
            worker = client.consume("t", lease_s=1, concurrency=2)(lambda _: asyncio.sleep(1))
            setattr(client, method, unforeseen)
            with pytest.raises(Unforeseen):
                async with asyncio.timeout(20):
                    await worker.run()
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert left(queue)[1] == 0 or method == "ack"


# -- cancels and exits ----------------------------------------------------------------------------------------


class Slow:
    """Work of an asynchronous worker that takes until it is told."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.done: list[int] = []
        self.told = asyncio.Event()

    async def __call__(self, message: rmq.Message) -> None:
        self.begun.append(message.body)
        await self.told.wait()
        self.done.append(message.body)


@pytest.mark.parametrize("cancels", [1, 2, 3])
def test_a_cancel_finishes_what_is_in_work_and_a_second_one_does_not(
    queue: rmq.Client, url: str, cancels: int
) -> None:
    queue.publish_many("t", range(20))

    async def main() -> None:
        async with rmq.AsyncClient(url) as client:
            work = Slow()
            running = asyncio.create_task(client.consume("t", concurrency=2, prefetch=8)(work).run())
            await until(lambda: left(queue)[1] == 10 and len(work.begun) == 2, "all are in hand")
            for _ in range(cancels):
                running.cancel()
                await asyncio.sleep(0.2)
            if cancels == 1:
                await until(lambda: left(queue)[1] == 2, "the others are given back, without waiting")
                work.told.set()
            await asyncio.wait([running], timeout=20)
            assert running.cancelled()
            assert (work.begun, sorted(work.done)) == ([0, 1], [0, 1] if cancels == 1 else [])
            assert left(queue) == (20 - len(work.done), 0)
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_where_the_loop_ends_all_is_given_back(queue: rmq.Client, url: str) -> None:
    queue.publish_many("t", range(20))
    running: list[asyncio.Task[None]] = []

    async def run() -> None:
        async with rmq.AsyncClient(url) as client:
            await client.consume("t", concurrency=2, prefetch=8)(Slow()).run()

    async def main() -> None:
        running.append(asyncio.create_task(run()))
        await until(lambda: left(queue)[1] == 10, "all are in hand")

    asyncio.run(main())
    assert running[0].cancelled()
    assert left(queue)[0] == 20
    assert queue.topic("t").subscriptions[0].leased == 0


def test_asynchronous_work_that_ends_the_program_has_its_messages_given_back(queue: rmq.Client, url: str) -> None:
    queue.publish_many("t", range(5))

    async def main() -> None:
        async with rmq.AsyncClient(url) as client:

            @client.consume("t", concurrency=2, prefetch=2, retry_delay_s=0)
            async def work(message: rmq.Message) -> None:
                await asyncio.sleep(0.1)
                sys.exit(4)

            await work.run()

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert caught.value.code == 4
    assert left(queue) == (5, 0)


@pytest.mark.parametrize("waits", [True, False])
def test_work_that_cancels_its_own_task_has_failed(queue: rmq.Client, url: str, waits: bool) -> None:
    queue.publish_many("t", range(3))
    deliveries: list[tuple[int, int]] = []

    async def main() -> None:
        async with rmq.AsyncClient(url) as client:

            @client.consume("t", retry_delay_s=0, idle_s=1)
            async def work(message: rmq.Message) -> None:
                deliveries.append((message.body, message.deliveries))
                if message.deliveries == 1:
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()
                    if waits:
                        await asyncio.sleep(60)

            async with asyncio.timeout(20):
                await work.run()

    asyncio.run(main())
    assert sorted(deliveries) == [(body, n) for body in range(3) for n in (1, 2)]
    assert left(queue) == (0, 0)


# -- once more ------------------------------------------------------------------------------------------------


def test_a_worker_that_was_stopped_can_run_again(queue: rmq.Client) -> None:
    seen: list[int] = []

    @queue.consume("t", idle_s=5)
    def work(message: rmq.Message) -> None:
        seen.append(message.body)
        work.stop()

    for n in range(3):
        queue.publish("t", n)
        work.run()
        work.stop()
    assert seen == [0, 1, 2]


def test_an_asynchronous_worker_that_was_stopped_can_run_again_on_any_loop(queue: rmq.Client, url: str) -> None:
    seen: list[int] = []
    client = rmq.AsyncClient(url)

    @client.consume("t", idle_s=5)
    async def work(message: rmq.Message) -> None:
        seen.append(message.body)
        work.stop()

    async def run(first: int) -> None:
        for n in range(first, first + 3):
            queue.publish("t", n)
            await work.run()
            work.stop()
        await client._connections.close()
        client._connections = AsyncConnections(None, True)

    for first in (0, 3):
        asyncio.run(run(first))
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_stop_before_the_first_run_is_one_for_it(queue: rmq.Client, url: str) -> None:
    """Whoever starts it in a thread or a task, and thinks better of it, may be quicker."""
    worker = queue.consume("t")(print)
    worker.stop()
    worker.run()

    async def main() -> None:
        async with rmq.AsyncClient(url) as client:
            worker = client.consume("t")(print)
            running = asyncio.create_task(worker.run())
            worker.stop()
            async with asyncio.timeout(20):
                await running

    asyncio.run(main())


def test_a_handler_of_the_programs_own_that_raises_ends_a_worker_cleanly(queue: rmq.Client) -> None:
    queue.publish_many("t", range(8))
    done = []

    @queue.consume("t", concurrency=2, prefetch=4)
    def work(message: rmq.Message) -> None:
        done.append(message.body)
        time.sleep(0.3)

    before = signal.signal(signal.SIGUSR1, lambda *_: sys.exit(3))
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        timer.start()
        with pytest.raises(SystemExit, match="3"):
            work.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
    ended = len(done)
    assert left(queue) == (8 - ended, 0), "what was done is acked, the rest is given back"
    time.sleep(0.5)
    assert len(done) == ended < 8
