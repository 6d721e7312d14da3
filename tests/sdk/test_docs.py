"""The code in docs/clients.md and in the docstring of `rmq`, run as it stands against a node, piece by piece."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rmq
from bench.cluster import LocalCluster

ROOT = Path(__file__).resolve().parents[2]
PIECES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(encoding="utf-8"), re.DOTALL)
SAID = ["making {'drink'", "", "making {'cups': 9}", "", "c", "purged", "5000 done", "TopicNotFound topic_not_found"]


@pytest.mark.timeout(120)
def test_every_piece_runs_as_it_stands() -> None:
    assert len(PIECES) == len(SAID)
    with LocalCluster(1) as alone:
        alone.wait_for_leader()
        url = f"http://127.0.0.1:{alone.ports[0]}"
        known = re.compile(r"http://localhost:8001,http://localhost:8002,http://localhost:8003|http://localhost:8001")
        for code, said in zip([*PIECES, _docstring()], [*SAID, "{'drink': 'coffee'}"], strict=True):
            assert len([line for line in code.splitlines() if line.strip()]) <= 13, "short enough to be read at once"
            ran = subprocess.run(
                [sys.executable, "-c", known.sub(url, code)], capture_output=True, text=True, timeout=60, cwd=ROOT,
                env=os.environ | {"RMQ_URL": url, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            assert (ran.returncode, ran.stderr) == (0, ""), code
            assert said in ran.stdout, code


def _docstring() -> str:
    lines = (rmq.__doc__ or "").splitlines()
    code = [line[4:] for line in lines if line.startswith("    ") or not line]
    return (
        "\n".join(code)
        .replace("http://localhost:8002", "http://localhost:8001")
        .replace("http://localhost:8001,http://localhost:8001", "http://localhost:8001")
    )
