"""Signals and consumers: they take those that nobody else handles, all stop, and all is as it was at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rmq
from bench.cluster import LocalCluster
from rmq.stopping import stop_at_signals

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalCluster(1) as alone:
        alone.wait_for_leader()
        url = f"http://127.0.0.1:{alone.ports[0]}"
        with rmq.Client(url) as client:
            client.create_topic("t")
        yield url


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


def own(number: int, frame: object) -> None: ...


@pytest.fixture(params=[False, True], ids=["nobody's", "the program's"])
def before(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """The handlers that a program has, by itself or because it has set its own."""
    found = handlers()
    if request.param:
        signal.signal(signal.SIGTERM, own)
        signal.signal(signal.SIGINT, own)
    yield handlers()
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), found, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("signals", [True, False])
def test_only_what_nobody_handles_is_taken_and_all_is_put_back(url: str, before: list[Any], signals: bool) -> None:
    is_taken = signals and own not in before
    with rmq.Client(url) as client:
        worker = client.consume("t", idle_s=0.1)(print)
        assert worker.run(signals=signals) is None and handlers() == before
        with client.consume("t", signals=signals):
            assert (handlers() != before) is is_taken
        assert handlers() == before
        client.publish("t", 1)
        seen: list[Any] = []
        client.consume("t", idle_s=0.1, signals=signals)(lambda _: seen.append(handlers())).run()
        assert (seen[0] != before) is is_taken and handlers() == before


@pytest.mark.parametrize("is_the_loops", [True, False])
def test_what_an_asynchronous_program_handles_stays_with_it(url: str, is_the_loops: bool) -> None:
    called = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if is_the_loops:
            loop.add_signal_handler(signal.SIGTERM, called.append, "loop")
        else:
            signal.signal(signal.SIGTERM, lambda *_: called.append("signal"))
        found = handlers()
        try:
            async with rmq.AsyncClient(url) as client:
                await client.consume("t", idle_s=0.1)(print).run()
                assert handlers() == found
                running = asyncio.create_task(client.consume("t", idle_s=0.5)(print).run())
                await asyncio.sleep(0.1)
                signal.raise_signal(signal.SIGTERM)
                await running
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    asyncio.run(main())
    assert called == ["loop" if is_the_loops else "signal"]


PAIR = """
import asyncio, sys, rmq
async def main():
    async with rmq.AsyncClient(sys.argv[1]) as client:
        workers = [client.consume("t")(print) for _ in range(2)]
        running = asyncio.gather(*(worker.run() for worker in workers))
        await asyncio.sleep(0.5)
        print("runs", flush=True)
        await running
    print("bye")
asyncio.run(main())
"""
THREADS = """
import sys, threading, rmq
with rmq.Client(sys.argv[1]) as client:
    threading.Timer(0.5, print, ["runs"], {"flush": True}).start()
    other = threading.Thread(target=client.consume("t")(print).run)
    other.start()
    client.consume("t")(print).run()
    other.join()
print("bye")
"""
SERVER = """
import asyncio, contextlib, os, signal, sys, fastapi, rmq, uvicorn
@contextlib.asynccontextmanager
async def lifespan(app):
    async with rmq.AsyncClient(sys.argv[1]) as client:
        worker = client.consume("t")(print)
        running = asyncio.create_task(worker.run())
        asyncio.get_running_loop().call_later(0.5, lambda: print("runs", flush=True))
        yield
        worker.stop()
        await running
    print("bye", flush=True)
uvicorn.run(fastapi.FastAPI(lifespan=lifespan), port=0, log_level="error")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("program", [PAIR, THREADS, SERVER], ids=["two tasks", "two threads", "beside a server"])
def test_a_signal_ends_all_of_a_program(url: str, program: str, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", program, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "runs\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert out == "bye\n", err
    # uvicorn raises the signal again when it has ended, to be ended by it.
    assert process.returncode in ((0, -number, 1, 130) if program is SERVER else (0,)), err


def test_a_handler_that_calls_ours_stays_and_so_do_all_after_it(url: str) -> None:
    """As libraries do that wrap what they find."""
    stops: list[int] = []
    usual = signal.getsignal(signal.SIGTERM)
    try:
        with stop_at_signals(lambda: stops.append(1), wanted=True):
            ours: Any = signal.getsignal(signal.SIGTERM)

            def theirs(number: int, frame: Any) -> None:
                ours(number, frame)

            signal.signal(signal.SIGTERM, theirs)
            for count in (1, 2):
                signal.raise_signal(signal.SIGTERM)
                assert (len(stops), signal.getsignal(signal.SIGTERM)) == (count, theirs)
        signal.raise_signal(signal.SIGTERM)
        assert len(stops) == 2
    finally:
        signal.signal(signal.SIGTERM, usual)
