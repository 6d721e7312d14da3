"""The process that cleans up after a harness that was killed: it insists, and says what stood in its way."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chaos import reaper

COUNTING = """
import pathlib, sys
tries = pathlib.Path(sys.argv[1])
tries.write_text(tries.read_text() + "x")
print("not yet")
sys.exit(int(sys.argv[2]) if len(tries.read_text()) >= 3 else 1)
"""


def attempt(tmp_path: Path, code_of_the_third: int) -> tuple[int, int, str | None]:
    """The last exit code, how many tries, what the log says."""
    tries, log = tmp_path / "tries", tmp_path / "log"
    tries.write_text("")
    code = reaper.insist([sys.executable, "-c", COUNTING, str(tries), str(code_of_the_third)], log, pause_s=0.0)
    return code, len(tries.read_text()), log.read_text() if log.exists() else None


@pytest.mark.parametrize("code", [0, 2])
def test_it_tries_again_until_it_is_done_or_nothing_can_be_done(tmp_path: Path, code: int) -> None:
    assert attempt(tmp_path, code) == (code, 3, None)


def test_it_gives_up_in_the_end_and_leaves_what_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaper, "TRIES", 5)
    assert attempt(tmp_path, 1) == (1, 5, "not yet\n" * 5)
