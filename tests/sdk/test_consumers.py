"""Consumers: what is done is acked, what fails comes again, what takes long stays theirs, and they end cleanly."""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rmq
from rmq import errors
from tests.sdk.looking import left

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def queue(url: str) -> Iterator[rmq.Client]:
    """A client, with an empty topic `t`."""
    with rmq.Client(url) as found:
        found.create_topic("t")
        yield found
        for topic in list(found.topics()):
            found.delete_topic(topic.name)


Work = Callable[[rmq.Message], Any]
During = Callable[[Callable[[], None]], None]


class Threads:
    """Workers of rmq.Client."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, work: Work, during: During, **plan: Any) -> None:
        """Run a worker in a thread while `during` does something; it is given what stops the worker."""
        with rmq.Client(self._url) as client:
            worker = client.consume("t", **plan)(work)
            thread = threading.Thread(target=worker.run)
            thread.start()
            try:
                during(worker.stop)
            finally:
                worker.stop()
                thread.join(60)
            assert not thread.is_alive()


class Tasks:
    """Workers of rmq.AsyncClient."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, work: Work, during: During, **plan: Any) -> None:
        """The same on an event loop; the work itself runs in threads, so that it may block."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            async with rmq.AsyncClient(self._url) as client:

                async def in_thread(message: rmq.Message) -> None:
                    await loop.run_in_executor(None, work, message)

                worker = client.consume("t", **plan)(in_thread)
                running = asyncio.create_task(worker.run())
                try:
                    await loop.run_in_executor(None, during, lambda: loop.call_soon_threadsafe(worker.stop))
                finally:
                    worker.stop()
                    async with asyncio.timeout(60):
                        await running

        asyncio.run(main())


@pytest.fixture(params=[Threads, Tasks], ids=["sync", "async"])
def workers(url: str, request: pytest.FixtureRequest) -> Any:
    return request.param(url)


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


# -- the iterator ---------------------------------------------------------------------------------------------


def test_each_is_acked_when_the_next_is_asked_for(queue: rmq.Client) -> None:
    queue.publish_many("t", range(5))
    seen = []
    for message in queue.consume("t", idle_s=0.2):
        seen.append(message.body)
        assert left(queue) == (6 - len(seen), 1)
    assert (seen, left(queue)) == ([0, 1, 2, 3, 4], (0, 0))


def test_leaving_the_loop_gives_back_what_was_not_done(queue: rmq.Client) -> None:
    queue.publish_many("t", range(5))
    with queue.consume("t", prefetch=3) as messages:
        for message in messages:
            if message.body == 1:
                break
    assert left(queue) == (4, 0)
    with pytest.raises(ZeroDivisionError), queue.consume("t") as messages:
        for message in messages:
            1 / (message.body - 1)
    assert left(queue) == (4, 0)
    assert [message.deliveries for message in queue.receive("t", max=4)] == [3, 2, 2, 1]


def test_the_iterator_can_be_stopped(queue: rmq.Client) -> None:
    queue.publish_many("t", range(3))
    consumer = queue.consume("t")
    seen = []
    for message in consumer:
        seen.append(message.body)
        consumer.stop()
    assert (seen, left(queue)) == ([0], (2, 0))


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_asynchronous_iterator_does_the_same(queue: rmq.Client, url: str) -> None:
    queue.publish_many("t", range(5))
    async with rmq.AsyncClient(url) as client:
        async with client.consume("t", prefetch=3) as messages:
            async for message in messages:
                if message.body == 1:
                    break
        assert left(queue) == (4, 0)
        assert [message.body async for message in client.consume("t", idle_s=0.2)] == [1, 2, 3, 4]
        assert left(queue) == (0, 0)


# -- workers --------------------------------------------------------------------------------------------------


def test_all_is_worked_on_at_once_as_far_as_was_said(queue: rmq.Client, workers: Any) -> None:
    queue.publish_many("t", range(40))
    lock, at_work, most, done = threading.Lock(), 0, 0, []

    def work(message: rmq.Message) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.02)
        with lock:
            at_work -= 1
            done.append(message.body)

    workers.run(work, lambda _: until(lambda: left(queue)[0] == 0, "all is acked"), concurrency=4, prefetch=10)
    assert sorted(done) == list(range(40)) and 2 <= most <= 4


def test_what_fails_comes_again_after_a_delay_and_at_last_is_a_dead_letter(
    queue: rmq.Client, workers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue.create_topic("graves")
    queue.change_topic("t", max_deliveries=3, dead_letter_topic="graves")
    queue.publish("t", "bad")
    tries: list[tuple[int, float]] = []

    def work(message: rmq.Message) -> None:
        tries.append((message.deliveries, time.monotonic()))
        raise ValueError("cannot read it")

    with caplog.at_level(logging.ERROR, "rmq.consumer"):
        workers.run(work, lambda _: until(lambda: queue.topic("graves").messages == 1, "it is dead"), retry_delay_s=0.3)
    assert [number for number, _ in tries] == [1, 2, 3]
    assert all(later - sooner >= 0.25 for (_, sooner), (_, later) in itertools.pairwise(tries))
    assert "cannot read it" in caplog.text and "delivery 3" in caplog.text


def no_delay(message: rmq.Message) -> Any:
    raise RuntimeError


@pytest.mark.parametrize("delay", [no_delay, lambda _: float("nan"), lambda _: "soon", lambda _: -1])
def test_a_retry_delay_that_goes_wrong_is_the_usual_one(
    queue: rmq.Client, workers: Any, delay: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue.publish("t", 1)
    deliveries = []

    def work(message: rmq.Message) -> None:
        deliveries.append(message.deliveries)
        if message.deliveries == 1:
            raise ValueError

    workers.run(work, lambda _: until(lambda: left(queue) == (0, 0), "all done"), retry_delay_s=delay)
    assert deliveries == [1, 2]
    assert "`retry_delay_s` failed" in caplog.text


def test_a_wait_that_was_cancelled_inside_the_work_is_a_failure_of_it(url: str, queue: rmq.Client) -> None:
    queue.publish("t", 1)

    async def main() -> None:
        async with rmq.AsyncClient(url) as client:

            @client.consume("t", idle_s=2, retry_delay_s=0)
            async def work(message: rmq.Message) -> None:
                if message.deliveries == 1:
                    never = asyncio.get_running_loop().create_future()
                    never.cancel()
                    await never

            async with asyncio.timeout(60):
                await work.run()

    asyncio.run(main())
    assert left(queue) == (0, 0)


def test_work_that_ends_the_program_ends_the_worker_and_its_message_comes_again(queue: rmq.Client) -> None:
    queue.publish("t", 1)

    @queue.consume("t", retry_delay_s=0)
    def work(message: rmq.Message) -> None:
        sys.exit(3)

    with pytest.raises(SystemExit):
        work.run()
    [message] = queue.receive("t", wait_s=5)
    assert message.deliveries >= 2


def test_a_worker_whose_topic_was_not_there_can_run_when_it_is(queue: rmq.Client) -> None:
    work = queue.consume("later", idle_s=0.1)(print)
    with pytest.raises(errors.TopicNotFound):
        work.run()
    queue.create_topic("later")
    work.run()


def test_work_that_takes_longer_than_its_lease_stays_theirs(queue: rmq.Client, workers: Any) -> None:
    queue.publish_many("t", ["a", "b"])
    done: list[tuple[str, int]] = []

    def work(message: rmq.Message) -> None:
        time.sleep(8 if message.body == "a" else 0)
        done.append((message.body, message.deliveries))

    workers.run(work, lambda _: until(lambda: len(done) == 2, "both are done"), lease_s=7, prefetch=1)
    assert (done, left(queue)) == ([("a", 1), ("b", 1)], (0, 0))


def test_a_lease_that_was_lost_is_told_and_nobody_is_harmed(
    queue: rmq.Client, workers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue.publish_many("t", ["a", "b"])
    done = []

    def work(message: rmq.Message) -> None:
        if message.body == "a":
            queue.purge("t")
        time.sleep(0.6)
        done.append(message.body)

    with caplog.at_level(logging.WARNING, "rmq.consumer"):
        workers.run(work, lambda _: until(lambda: len(done) == 2, "both"), lease_s=1, concurrency=2)
    assert "may be worked on twice" in caplog.text


def test_a_stop_finishes_what_is_in_work_and_gives_back_the_rest(queue: rmq.Client, workers: Any) -> None:
    queue.publish_many("t", range(10))
    begun, told, done = threading.Event(), threading.Event(), []

    def work(message: rmq.Message) -> None:
        begun.set()
        told.wait(60)
        done.append(message.body)

    def during(stop: Callable[[], None]) -> None:
        assert begun.wait(60)
        stop()
        told.set()

    workers.run(work, during, concurrency=2, prefetch=5)
    assert done and len(done) <= 2
    assert left(queue) == (10 - len(done), 0)


def test_an_idle_worker_ends_if_it_was_told_to(queue: rmq.Client, workers: Any) -> None:
    queue.publish_many("t", range(3))
    done: list[Any] = []
    begun = time.monotonic()
    with rmq.Client(queue.urls) as client:
        client.consume("t", idle_s=0.3)(lambda message: done.append(message.body)).run()
    assert done == [0, 1, 2] and time.monotonic() - begun < 60


def test_what_will_not_pass_is_raised(queue: rmq.Client) -> None:
    with pytest.raises(errors.TopicNotFound):
        queue.consume("none")(print).run()
    with pytest.raises(errors.TopicNotFound):
        next(iter(queue.consume("none")))
    with pytest.raises(errors.SubscriptionNotFound):
        queue.consume("t", subscription="none")(print).run()


@pytest.mark.parametrize(
    "plan",
    [
        {"concurrency": 0}, {"prefetch": -1}, {"concurrency": 1001}, {"lease_s": 0.5}, {"lease_s": 43201},
        {"retry_delay_s": -1},
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(queue: rmq.Client, plan: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"from 1 to 43,200|1 or more|0 or more"):
        queue.consume("t", **plan)


async def awaits(message: rmq.Message) -> None: ...


async def yields_at_times(message: rmq.Message) -> Any:
    yield message


def yields(message: rmq.Message) -> Any:
    yield message


class Awaits:
    async def __call__(self, message: rmq.Message) -> None: ...


@pytest.mark.parametrize("work", [awaits, yields, yields_at_times, Awaits(), functools.partial(awaits)])
def test_a_function_that_would_not_do_the_work_is_refused(queue: rmq.Client, work: Any) -> None:
    with pytest.raises(TypeError, match=r"AsyncClient|`yield`"):
        queue.consume("t")(work)


def test_of_the_asynchronous_one_only_generators_are_refused(url: str) -> None:
    for work in (yields, yields_at_times):
        with pytest.raises(TypeError, match="`yield`"):
            rmq.AsyncClient(url).consume("t")(work)
    rmq.AsyncClient(url).consume("t")(Awaits())


@pytest.mark.parametrize("work", [lambda message: awaits(message), lambda message: yields(message)])
def test_what_gives_back_work_has_not_done_it(
    queue: rmq.Client, work: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Found by a trial: such messages were acked, and nothing had been done."""
    queue.publish("t", 1)
    queue.consume("t", idle_s=0.5, retry_delay_s=9.0)(work).run()
    assert queue.topic("t").messages == 1
    assert "which nobody runs" in caplog.text


def test_a_plain_function_does_the_work_of_an_asynchronous_worker(queue: rmq.Client, url: str) -> None:
    done: list[Any] = []

    async def run() -> None:
        async with rmq.AsyncClient(url) as client:
            await client.consume("t", idle_s=0.5)(lambda message: done.append(message.body)).run()

    queue.publish_many("t", [1, 2])
    asyncio.run(run())
    assert done == [1, 2] and left(queue) == (0, 0)


def test_a_worker_is_still_its_function(queue: rmq.Client) -> None:
    queue.publish("t", 20)

    @queue.consume("t")
    def work(message: rmq.Message) -> int:
        return message.body + 1

    assert work(queue.receive("t")[0]) == 21


PROGRAM = """
import sys, time, rmq
with rmq.Client(sys.argv[1]) as client:
    @client.consume("t", concurrency=2, prefetch=4)
    def work(message):
        print("begun", message.body, flush=True)
        time.sleep(3)
        print("done", message.body, flush=True)
    work.run()
print("bye", flush=True)
"""
ASYNC_PROGRAM = """
import asyncio, sys, rmq
async def main():
    async with rmq.AsyncClient(sys.argv[1]) as client:
        @client.consume("t", concurrency=2, prefetch=4)
        async def work(message):
            print("begun", message.body, flush=True)
            await asyncio.sleep(3)
            print("done", message.body, flush=True)
        await work.run()
    print("bye", flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("program", [PROGRAM, ASYNC_PROGRAM], ids=["sync", "async"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_worker_cleanly(queue: rmq.Client, program: str, number: signal.Signals) -> None:
    queue.publish_many("t", range(10))
    process = subprocess.Popen(
        [sys.executable, "-c", program, queue.urls[0]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("begun")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    done = out.count("done")  # not lines: two threads may print into one
    assert out.endswith("bye\n") and 1 <= done <= 2
    assert left(queue) == (10 - done, 0)
