"""What GitHub runs is what people type: each `make` target of the workflow exists, and the report is kept."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_every_command_is_one_of_the_repository() -> None:
    commands = [step["run"] for step in STEPS if "run" in step]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = [command.split()[1] for command in commands if command.startswith("make ")]
    assert "chaos" in made and set(made) <= targets
    assert ".ci/run" in commands and (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_report_of_the_chaos_runs_is_kept() -> None:
    (kept,) = (step for step in STEPS if "upload-artifact" in step.get("uses", ""))
    assert (kept["if"], kept["with"]["path"]) == ("always()", "chaos/report")
