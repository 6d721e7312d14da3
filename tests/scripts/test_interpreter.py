"""Which Python the environment is made of: the one that runs `make`, unless another build of it is clearly faster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import interpreter
from scripts.console import Failure

Build = Callable[[str, str, str], str]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Puts a Python on the path, in a directory of its own, that says what it is told to say."""
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.setenv("PATH", "")

    def made(directory: str, name: str, says: str) -> str:
        path = tmp_path / directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{says}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{path.parent}".strip(":"))
        return str(path)

    return made


def running(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(sys, "executable", path)


def test_this_one_can_make_environments() -> None:
    found = interpreter.probe(sys.executable)
    assert found is not None and found.version == sys.version_info[:2]
    assert 0 < found.work_s < 10 and Path(found.path).samefile(sys.executable)


@pytest.mark.parametrize(
    ("says", "is_taken"),
    [
        ("echo 3 11 0.0080 $0", True),
        ("echo 3 11 0.0095 $0", False),  # not clearly faster
        ("echo 3 12 0.0010 $0", False),  # another version
        ("exit 1", False),  # no `venv`, or no Python
    ],
)
def test_another_build_is_taken_where_it_is_clearly_faster(
    build: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], says: str, is_taken: bool
) -> None:
    first = build("own", "python3", "echo 3 11 0.0100 $0")
    running(monkeypatch, first)
    other = build("system", "python3.11", says)
    assert interpreter.choose() == (other if is_taken else first)
    assert (f"{other}, 1.2 times as fast as {first}" in capsys.readouterr().out) == is_taken


def test_the_one_that_is_named_is_taken(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("own", "python3", "echo 3 11 0.0100 $0")
    build("system", "python3", "echo 3 11 0.0010 $0")
    running(monkeypatch, first)
    monkeypatch.setenv("PYTHON", first)
    assert interpreter.choose() == first


def test_one_that_is_too_old_gives_way_but_not_where_it_is_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    old = build("old", "python3", "echo 3 9 0.0010 $0")
    new = build("new", "python3.12", "echo 3 12 0.0100 $0")
    running(monkeypatch, old)
    assert interpreter.choose() == new
    monkeypatch.setenv("PYTHON", old)
    with pytest.raises(Failure, match=r"needs Python 3\.11 or newer.*name another with PYTHON"):
        interpreter.choose()


def test_without_any_it_says_what_to_do(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, build("old", "python3", "echo 3 9 0.0010 $0"))
    with pytest.raises(Failure, match=r"needs Python 3\.11 or newer.*python3-venv.*none was found"):
        interpreter.choose()
