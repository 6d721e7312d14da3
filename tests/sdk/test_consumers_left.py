"""Consumers that are left half-way, one way or another: what they had is given back, and nothing of them goes on."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator

import pytest

import rmq
from tests.sdk.looking import left, until


@pytest.fixture
def queue(url: str) -> Iterator[rmq.Client]:
    """A client, with an empty topic `t`, and no help from the garbage collector."""
    with rmq.Client(url) as found:
        found.create_topic("t")
        gc.disable()
        yield found
        gc.enable()
        found.delete_topic("t")


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("rmq-")]


# -- iterators ------------------------------------------------------------------------------------------------


def breaks(queue: rmq.Client) -> None:
    for _ in queue.consume("t", prefetch=2):
        break


def returns(queue: rmq.Client) -> rmq.Message | None:
    for message in queue.consume("t", prefetch=2):
        return message
    return None


def raises(queue: rmq.Client) -> None:
    for message in queue.consume("t", prefetch=2):
        raise LookupError(message)


def breaks_inside_with(queue: rmq.Client) -> None:
    with queue.consume("t", prefetch=2) as messages:
        for _ in messages:
            break
        assert left(queue) == (5, 0)


@pytest.mark.parametrize("leave", [breaks, returns, raises, breaks_inside_with])
def test_a_loop_that_is_left_gives_back_at_once(queue: rmq.Client, leave: Callable[[rmq.Client], object]) -> None:
    """Found by a trial: the consumer held its generator, and that the consumer, until the collector came by."""
    queue.publish_many("t", range(5))
    try:
        kept: object = leave(queue)
    except LookupError as error:
        kept = error
    assert left(queue) == (5, 0), kept
    assert threads() == []


@pytest.mark.parametrize("how", ["break", "raise", "cancel"])
def test_an_asynchronous_loop_that_is_left_gives_back_soon(queue: rmq.Client, url: str, how: str) -> None:
    queue.publish_many("t", range(5))

    async def consume(client: rmq.AsyncClient) -> None:
        async for _ in client.consume("t", prefetch=2):
            if how == "break":
                break
            if how == "raise":
                raise LookupError
            await asyncio.sleep(60)

    async def main() -> None:
        async with rmq.AsyncClient(url) as client:
            task = asyncio.create_task(consume(client))
            await until(lambda: left(queue)[1] > 0 or task.done(), "it has some")
            if how == "cancel":
                task.cancel()
            await asyncio.wait([task])
            await until(lambda: left(queue) == (5, 0), "all are given back")
            await until(lambda: len(asyncio.all_tasks()) == 1, "nothing goes on")
            assert how == "break" or task.cancelled() or task.exception()

    asyncio.run(main())
