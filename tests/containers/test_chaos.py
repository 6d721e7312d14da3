"""The chaos harness from end to end: what it refuses, how it ends, and what it leaves behind."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chaos import clean, engine
from chaos.own import PROJECT
from chaos.reaper import log_of
from tests.containers.harness import ROOT, chaos, run, topics
from tests.containers.stack import Stack, command

THREE = f"{PROJECT}3"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scenario", "kill-everything"], "LIST=1"),
        (["--scenario", "split", "--nodes", "3"], "NODES=5"),
        (["--seconds", "1"], "at least 20"),
        (["--planted", "nothing"], "early-ack"),
        (["--check", "/nonexistent"], "/nonexistent"),
        (["--attach", "no-such-project"], "no-such-project"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(image: str, arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_names_every_scenario() -> None:
    done = run("--list")
    assert done.returncode == 0
    assert "kill-leader" in done.stdout and "PLANTED=early-ack" in done.stdout


# -- what is left behind ------------------------------------------------------------------------------------


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The harness in the background, with the usual answer to Ctrl-C, which who started the tests may have put off."""
    with subprocess.Popen(
        chaos(*arguments), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def eventually(look: Callable[[], Any], within_s: float = 150.0, shown: Callable[[], Any] | None = None) -> None:
    deadline = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < deadline, f"it never came to that: {shown() if shown else ''}"
        time.sleep(0.2)


def left(project: str) -> list[str]:
    """Names of what there is of a run's cluster."""
    names: list[str] = []
    for kind in (["ps", "-a", "--format={{.Names}}"], ["network", "ls", "--format={{.Name}}"], ["volume", "ls", "-q"]):
        for label in (engine.PROJECT, engine.ADDED):
            names += command("docker", *kind, "--filter", f"label={label}={project}").split()
    return names


def is_up() -> bool:
    return sum(name.startswith(THREE) and "node" in name for name in left(THREE)) >= 6


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_harness_nothing_is_left(image: str, blow: signal.Signals) -> None:
    with running("--scenario", "pause-follower", "--seconds", "60", "--image", image) as process:
        eventually(is_up)
        time.sleep(2.0)
        process.send_signal(blow)
        process.wait(60)
        assert process.returncode == (1 if blow == signal.SIGINT else -blow)
        if blow == signal.SIGINT:
            assert process.stderr is not None and "Traceback" not in process.stderr.read()
            assert left(THREE) == []
    eventually(lambda: left(THREE) == [] and not list(clean.TEMPORARY.glob(f"{THREE}-*")))


def test_clean_removes_what_is_left_and_nothing_else(image: str) -> None:
    labels = {engine.ADDED: THREE}
    engine.client().networks.create(f"{THREE}_forgotten", internal=True, labels=labels)
    other = engine.client().networks.create("rmqtest_other", internal=True)
    try:
        assert clean.main([]) == 0
        assert left(THREE) == []
        assert [each.name for each in engine.client().networks.list(names=["rmqtest_other"])] == ["rmqtest_other"]
    finally:
        other.remove()


# -- somebody's cluster -------------------------------------------------------------------------------------


def test_a_cluster_with_topics_of_others_is_not_touched(stack: Stack) -> None:
    assert stack.create(stack.leader(), "orders").status_code == 200
    done = run("--attach", stack.name, "--scenario", "kill-leader")
    assert (done.returncode, "orders" in done.stderr, "--beside-other-topics" in done.stderr) == (2, True, True)
    assert topics(stack) == ["orders"]


@pytest.mark.timeout(400)
def test_somebodys_cluster_is_mended_after_a_harness_that_was_killed(stack: Stack) -> None:
    stack.create(stack.leader(), "orders")  # where no test before did
    with running("--attach", stack.name, "--beside-other-topics", "--scenario", "isolate-leader") as process:
        eventually(lambda: any(str(stack.peers.name) not in stack.networks(node) for node in stack.nodes))
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def condition() -> tuple[list[bool], list[bool], list[str], str]:
        ready = [stack.get(node, "/readyz") is not None for node in stack.nodes]
        home = [str(stack.peers.name) in stack.networks(node) for node in stack.nodes]
        log = log_of(stack.name)
        return ready, home, topics(stack), log.read_text() if log.exists() else "no log"

    whole = ([True] * stack.size, [True] * stack.size, ["orders"], "no log")
    eventually(lambda: condition() == whole, shown=condition)


@pytest.mark.parametrize(("name", "says"), [("wiped-disk", "its own"), ("split", "more nodes")])
def test_what_is_not_for_somebodys_cluster_is_refused(stack: Stack, name: str, says: str) -> None:
    done = run("--attach", stack.name, "--beside-other-topics", "--scenario", name)
    assert done.returncode == 2 and says in done.stderr, done.stderr
