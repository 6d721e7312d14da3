"""Two runs of one name: the second is refused, until the first has ended, in whatever way."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

from chaos.alone import Alone, InUse

ROOT = Path(__file__).resolve().parents[2]
HOLD = "import sys; from chaos.alone import Alone; held = Alone(sys.argv[1]); print('held', flush=True); input()"


@pytest.fixture
def name() -> str:
    return f"rmqtest-{uuid.uuid4().hex}"


def test_a_name_is_had_once_at_a_time_and_leaves_no_file(name: str) -> None:
    first = Alone(name)
    with pytest.raises(InUse, match=f"uses the containers of {name}"):
        Alone(name)
    Alone(f"{name}-other").release()
    first.release()
    Alone(name).release()
    assert not list(Path(tempfile.gettempdir()).glob(f"{name}*"))


def test_who_was_killed_holds_nobody_up(name: str) -> None:
    command = [sys.executable, "-c", HOLD, name]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(InUse):
            Alone(name)
        process.kill()
        process.wait()
    Alone(name).release()


def test_a_file_of_another_user_says_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(InUse):
        Alone(name)
