"""A client in a process that was forked: it has connections of its own, and those of the parent stay whole."""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Callable

import pytest

import rmq
from rmq import errors


def in_a_child(do: Callable[[], None]) -> Callable[[], int]:
    """Begin it in a child; what comes back waits for its end, and is its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            do()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_parent_and_children_get_their_own_answers(url: str) -> None:
    """Found by a trial: they read from the same connections, and got each other's answers."""
    with rmq.Client(url) as client:
        client.create_topic("t")

        def publish() -> None:
            for n in range(150):
                body = f"{os.getpid()} {n}"
                place = client.publish("t", body)
                found = next(iter(client.peek("t", start=place.sequence)))
                assert (found.sequence, found.body) == (place.sequence, body)

        ends = [in_a_child(publish) for _ in range(2)]
        publish()
        assert [end() for end in ends] == [0, 0]
        assert client.topic("t").messages == 450


def test_closed_is_closed_on_both_sides_of_a_fork_and_each_closes_its_own(url: str) -> None:
    client = rmq.Client(url)
    client.topics()

    def close() -> None:
        client.close()
        refused()

    def refused() -> None:
        with pytest.raises(errors.ClientClosed, match="was closed"):
            client.cluster()

    assert in_a_child(close)() == 0
    assert client.cluster().leader == 0
    client.close()
    assert in_a_child(refused)() == 0


def test_an_asynchronous_client_says_that_it_is_the_parents(url: str) -> None:
    client = rmq.AsyncClient(url)

    def use() -> None:
        with pytest.raises(errors.ClientClosed, match="another process"):
            asyncio.run(client.topic("t"))

    assert in_a_child(use)() == 0
    asyncio.run(client.close())


def test_a_session_stays_with_its_process(url: str) -> None:
    with rmq.Client(url) as client:
        client.create_topic("sessions")
        with client.session() as session:
            session.publish("sessions", 1).result(20)

            def use() -> None:
                for call in (lambda: session.publish("sessions", 2), session.flush, lambda: next(session.consume("t"))):
                    with pytest.raises(errors.ClientClosed, match="another process"):
                        call()
                session.close()

            assert in_a_child(use)() == 0
            session.publish("sessions", 3).result(20)
            assert [message.body for message in client.receive("sessions", max=9)] == [1, 3]


def test_signals_in_a_child_do_what_they_did(url: str) -> None:
    usual = signal.getsignal(signal.SIGTERM)
    with rmq.Client(url) as client:
        client.create_topic("signals")
        with client.consume("signals", idle_s=0.1):
            assert signal.getsignal(signal.SIGTERM) != usual

            def look() -> None:
                assert signal.getsignal(signal.SIGTERM) == usual

            assert in_a_child(look)() == 0
            assert signal.getsignal(signal.SIGTERM) != usual
    assert signal.getsignal(signal.SIGTERM) == usual
