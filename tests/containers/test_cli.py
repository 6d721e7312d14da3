"""`docker compose run --rm cli rmq …`: the command with nothing installed, beside the cluster that it talks to."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chaos.own import OwnCluster
from scripts import containers
from scripts.console import Failure
from tests.containers.stack import Stack

LOAD_S, START_S = 10, 120.0


@pytest.fixture(scope="module", autouse=True)
def command_image(image: str) -> None:
    try:
        containers.build(containers.COMMAND_IMAGE, file=containers.COMMAND_FILE)
    except Failure as failure:
        pytest.fail(str(failure))


def rmq(cluster: OwnCluster, *arguments: str) -> str:
    return cluster.compose("run", "--rm", "-T", "cli", "rmq", *arguments).strip()


def test_topics_and_messages(stack: Stack) -> None:
    assert rmq(stack, "topic", "create", "cli") == "Topic cli is there."
    assert rmq(stack, "pub", "cli", "hello") == "Message 1 of cli."
    assert rmq(stack, "sub", "cli", "--count", "1") == "hello"
    members = json.loads(rmq(stack, "cluster", "status", "--json"))["members"]
    assert [member["node"] for member in members] == [0, 1, 2]


def test_it_names_what_it_can_do(stack: Stack) -> None:
    assert "verify" in stack.compose("run", "--rm", "-T", "cli")


def test_verify_is_green_through_the_kill_of_the_leader(stack: Stack) -> None:
    with ThreadPoolExecutor(1) as aside:
        verdict = aside.submit(rmq, stack, "verify", "--seconds", str(LOAD_S), "--json")
        is_under_load(stack)
        leader = stack.leader()
        stack.docker("kill", leader)
        time.sleep(1.0)
        stack.docker("start", leader)
        said = json.loads(verdict.result())
    assert said["verdict"] == "passed" and len(said["leaders"]) > 1


def is_under_load(stack: Stack) -> None:
    """Wait until the command, whose container takes its time to start, publishes."""
    wanted = commit_index(stack) + 100
    deadline = time.monotonic() + START_S
    while commit_index(stack) < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def commit_index(stack: Stack) -> int:
    status = stack.get(0, "/status")
    return 0 if status is None else int(status["commit_index"])
