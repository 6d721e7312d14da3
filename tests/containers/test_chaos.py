"""The chaos harness from end to end: the command line that CI types, on a real cluster, in half a minute."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.history import Op, read

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chaos", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.mark.timeout(200)
def test_leader_kills_pass_and_leave_a_report(image: str) -> None:
    done = run("--scenario", "kill-leader", "--seconds", "30", "--seed", "5", "--image", image, timeout_s=180)
    assert done.returncode == 0, done.stdout + done.stderr
    report = Path(done.stdout.split()[-1])
    verdict = json.loads((report.parent / "verdict.json").read_text())
    (scenario,) = verdict["scenarios"]
    assert (verdict["overall"], scenario["verdict"], scenario["seed"]) == ("passed", "passed", 5)
    assert len(scenario["figures"]["rounds"]) >= 2
    for name in scenario["files"]:
        assert (report.parent / name).stat().st_size > 0
    assert "kill-leader passed" in report.read_text()
    history = report.parent / "kill-leader" / "history.jsonl"
    assert sum(isinstance(record, Op) and record.outcome == "ok" for record in read(history)) > 5000
    again = run("--check", str(history.parent))
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "kill-leader, seed 5: passed")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scenario", "kill-everything"], "LIST=1"),
        (["--scenario", "split", "--nodes", "3"], "NODES=5"),
        (["--seconds", "1"], "at least 20"),
        (["--planted", "nothing"], "early-ack"),
        (["--check", "/nonexistent"], "/nonexistent"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_names_every_scenario() -> None:
    done = run("--list")
    assert done.returncode == 0
    assert "kill-leader" in done.stdout and "PLANTED=early-ack" in done.stdout
