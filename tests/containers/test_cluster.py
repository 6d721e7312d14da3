"""The promise of the first five minutes, in real containers: any node serves, whichever node dies.

Each test leaves three running nodes. A publish with an unknown outcome is published again under another text,
so that every text that counts was acknowledged exactly once.
"""

from __future__ import annotations

import threading
import time
import uuid

import httpx
import pytest

from tests.containers.stack import Stack

NODES = {"RMQ_CLASSIC_TIMEOUT_MS": "8000"}
"""A machine that is held up for a moment is to answer all the same."""
ANSWERED_AGAIN_S = 1.0
STOPPED_S = 5.0


@pytest.fixture
def topic() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


def test_create_on_one_publish_on_another_consume_on_the_third(stack: Stack, topic: str) -> None:
    assert stack.create(0, topic).json() == {"success": True}
    for text in ("one", "", "one", "zwei ✓"):
        assert stack.publish(1, topic, text).json() == {"success": True}
    assert stack.drain(2, topic) == ["one", "", "one", "zwei ✓"]
    assert stack.create(2, topic).json() == {"success": False}


@pytest.mark.parametrize("round_", range(3))
def test_the_leader_is_killed_and_a_second_later_it_goes_on(stack: Stack, topic: str, round_: int) -> None:
    leader = stack.leader()
    others = [node for node in range(stack.size) if node != leader]
    assert stack.create(leader, topic).json() == {"success": True}
    assert stack.publish(leader, topic, "before").json() == {"success": True}
    stack.docker("kill", leader)
    killed = time.monotonic()
    attempts = [f"after {attempt}" for attempt in range(1000)]
    acknowledged = next(text for text in attempts if is_acknowledged(stack, others[round_ % 2], topic, text))
    took_s = time.monotonic() - killed
    stack.docker("start", leader)
    stack.wait_ready([leader])
    taken = stack.drain(leader, topic)
    assert taken[0] == "before" and taken[-1] == acknowledged
    assert took_s < ANSWERED_AGAIN_S, f"the first publish after the kill was acknowledged after {took_s:.2f} s"


def test_all_are_killed_at_once_while_a_client_writes_and_nothing_acknowledged_is_lost(
    stack: Stack, topic: str
) -> None:
    assert stack.create(0, topic).json() == {"success": True}
    acknowledged: list[str] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            if is_acknowledged(stack, number % stack.size, topic, str(number)):
                acknowledged.append(str(number))

    writer = threading.Thread(target=write)
    writer.start()
    while len(acknowledged) <= 20:
        time.sleep(0.05)
    stack.docker("kill", *range(stack.size))
    stop.set()
    writer.join()
    stack.docker("start", *range(stack.size))
    stack.wait_ready()
    taken = stack.drain(1, topic)
    assert [text for text in taken if text in set(acknowledged)] == acknowledged
    assert sorted(set(taken), key=int) == taken, "each once and in the order of publishing"


def test_told_to_stop_it_hands_over_and_exits_with_zero_in_time(stack: Stack, topic: str) -> None:
    leader = stack.leader()
    others = [node for node in range(stack.size) if node != leader]
    assert stack.create(leader, topic).json() == {"success": True}
    began = time.monotonic()
    stopping = threading.Thread(target=stack.docker, args=("stop", leader))
    stopping.start()
    refused = 0
    while stopping.is_alive():
        refused += not is_acknowledged(stack, others[0], topic, "meanwhile")
    stopping.join()
    stopped_s = time.monotonic() - began
    state = stack.inspect(leader)["State"]
    stack.docker("start", leader)
    stack.wait_ready([leader])
    assert state["ExitCode"] == 0 and not state["OOMKilled"], state
    assert stopped_s < STOPPED_S


def test_all_told_to_stop_keep_what_they_have(stack: Stack, topic: str) -> None:
    assert stack.create(0, topic).json() == {"success": True}
    texts = [str(number) for number in range(50)]
    assert all(is_acknowledged(stack, 1, topic, text) for text in texts)
    stack.compose("stop")
    assert [stack.inspect(node)["State"]["ExitCode"] for node in range(stack.size)] == [0] * stack.size
    stack.compose("start")
    stack.wait_ready()
    assert stack.drain(2, topic) == texts


def test_five_nodes_outlive_two(five: Stack, topic: str) -> None:
    assert five.create(4, topic).json() == {"success": True}
    first = five.leader()
    five.docker("kill", first)
    second = five.leader([node for node in range(5) if node != first])
    five.docker("kill", second)
    left = [node for node in range(5) if node not in (first, second)]
    deadline = time.monotonic() + 60
    while not is_acknowledged(five, left[0], topic, "still here"):
        assert time.monotonic() < deadline
    assert five.drain(left[1], topic)[-1] == "still here"


def is_acknowledged(stack: Stack, node: int, topic: str, text: str) -> bool:
    try:
        answer = stack.publish(node, topic, text)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.json() == {"success": True}
