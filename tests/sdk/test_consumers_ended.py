"""How workers end: by a cancel, by an exit, by what nobody expected, and how they run again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rmq
from bench.cluster import LocalCluster
from rmq import errors


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalCluster(1) as alone:
        alone.wait_for_leader()
        yield f"http://127.0.0.1:{alone.ports[0]}"


@pytest.fixture
def queue(url: str) -> Iterator[rmq.Client]:
    """A client, with an empty topic `t`."""
    with rmq.Client(url) as found:
        found.create_topic("t")
        yield found
        found.delete_topic("t")


def left(queue: rmq.Client) -> tuple[int, int]:
    """Messages that are stored, and those of them that are leased."""
    topic = queue.topic("t")
    return topic.messages, topic.subscriptions[0].leased


async def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.01)


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
