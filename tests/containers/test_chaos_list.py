"""Chaos runs that count, with the machine for themselves: what CI runs each time, and one on somebody's cluster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from chaos.history import Op, read
from tests.containers.harness import run, topics
from tests.containers.stack import Stack

SHORT_LIST = ("kill-leader", "pause-leader", "isolate-leader", "mute-leader", "rolling-restart")


@pytest.fixture(scope="module")
def short(image: str) -> subprocess.CompletedProcess[str]:
    """What CI runs each time: 20 s of each of these."""
    listed = ",".join(SHORT_LIST)
    return run("--scenario", listed, "--seconds", "20", "--seed", "5", "--image", image, timeout_s=500)


@pytest.fixture(scope="module")
def report(short: subprocess.CompletedProcess[str]) -> Path:
    """The folder of its report."""
    assert short.returncode in (0, 1), short.stderr
    return Path(short.stdout.split()[-1]).parent


@pytest.mark.timeout(520)
@pytest.mark.parametrize("name", SHORT_LIST)
def test_the_short_list_passes(name: str, report: Path) -> None:
    verdict = json.loads((report / "verdict.json").read_text())
    (scenario,) = (each for each in verdict["scenarios"] if each["scenario"] == name)
    assert (scenario["verdict"], scenario["reasons"], scenario["seed"]) == ("passed", [], 5)
    assert scenario["figures"]["rounds"]
    for file in scenario["files"]:
        assert (report / file).stat().st_size > 0


def test_a_green_list_ends_with_0_and_leaves_a_report(short: subprocess.CompletedProcess[str], report: Path) -> None:
    assert short.returncode == 0, short.stdout + short.stderr
    assert json.loads((report / "verdict.json").read_text())["overall"] == "passed"
    assert all(name in (report / "report.html").read_text() for name in SHORT_LIST)
    history = report / "kill-leader" / "history.jsonl"
    assert sum(isinstance(record, Op) and record.outcome == "ok" for record in read(history)) > 5000
    again = run("--check", str(history.parent))
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "kill-leader, seed 5: passed")


@pytest.mark.timeout(200)
def test_somebodys_cluster_is_broken_mended_and_given_back(stack: Stack) -> None:
    assert stack.create(stack.leader(), "orders").status_code == 200
    assert stack.publish(stack.leader(), "orders", "kept").status_code == 200
    before = [stack.inspect(node)["Id"] for node in stack.nodes]
    done = run(
        "--attach", stack.name, "--beside-other-topics", "--scenario", "kill-leader", "--seconds", "20", timeout_s=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [stack.inspect(node)["Id"] for node in stack.nodes] == before
    assert topics(stack) == ["orders"]
    assert stack.drain(0, "orders") == ["kept"]
