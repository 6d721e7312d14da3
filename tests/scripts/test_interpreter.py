"""Which Python the environment is made of: the one that runs `make`, unless another build of it is clearly faster."""

from __future__ import annotations

import os
import platform
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


def says(version: str, work_s: float, abi: str = "abi", path: str = "$0") -> str:
    return f"echo Hello; echo rmq-probe {version} {abi} {work_s} {path}"


def test_this_one_can_make_environments() -> None:
    found = interpreter.probe(sys.executable)
    assert found is not None and found.is_new_enough and found.version == platform.python_version()
    assert 0 < found.work_s < 10 and Path(found.path).samefile(sys.executable)


@pytest.mark.parametrize(
    ("said", "is_taken"),
    [
        (says("3.11.2", 0.0080), True),
        (says("3.11.2", 0.0095), False),  # not clearly faster
        (says("3.11.2", 0.0010, "pypy"), False),  # takes other packages
        (says("3.11.2", 0.0010, path="/no/such/python"), False),
        ("exit 1", False),  # lacks something, or is no Python
        ("exit 0", False),
        ("echo Python 3.11.2", False),
        ("echo rmq-probe", False),
    ],
)
def test_another_build_is_taken_where_it_is_clearly_faster(
    build: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str, is_taken: bool
) -> None:
    first = build("own", "python3", says("3.11.7", 0.0100))
    running(monkeypatch, first)
    other = build("system", "python3.11", said)
    assert interpreter.choose() == (other if is_taken else first)
    told = f"{other} (3.11.2) is 1.2 times as fast as {first} (3.11.7), and taken; PYTHON={first} decides otherwise"
    assert (told in capsys.readouterr().out) == is_taken


def test_one_that_was_faster_only_once_is_not_taken(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("own", "python3", says("3.11.7", 0.0100))
    once = f'if [ -e "$0.again" ]; then {says("3.11.2", 0.0100)}; else : > "$0.again"; {says("3.11.2", 0.0010)}; fi'
    build("system", "python3", once)
    running(monkeypatch, first)
    assert interpreter.choose() == first


@pytest.mark.parametrize(("slow_turns", "is_taken"), [("[12]", True), ("[1-4]", False)])
def test_a_machine_that_is_busy_now_and_then_does_not_decide(
    build: Build, monkeypatch: pytest.MonkeyPatch, slow_turns: str, is_taken: bool
) -> None:
    """The first look at it, and so many turns, are slow."""
    first = build("own", "python3", says("3.11.7", 0.0100))
    count = 'n=$(cat "$0.n" 2>&- || echo 0); echo $((n + 1)) > "$0.n"'
    busy = f"case $n in 0|{slow_turns}) {says('3.11.2', 0.0200)};; *) {says('3.11.2', 0.0080)};; esac"
    monkeypatch.setenv("PATH", "/bin")
    other = build("system", "python3", f"{count}; {busy}")
    running(monkeypatch, first)
    assert (interpreter.choose() == other) == is_taken


def test_each_file_is_asked_once_and_for_a_while(
    build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(interpreter, "TIMEOUT_S", 0.5)
    first = build("own", "python3", says("3.11.7", 0.0100))
    running(monkeypatch, first)
    hung = build("hung", "python3", f"echo asked >> {tmp_path}/asked; exec /bin/sleep 60")
    (tmp_path / "hung" / "python3.11").symlink_to(hung)
    assert interpreter.choose() == first
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_the_one_that_is_named_is_taken(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("own", "python3", says("3.11.7", 0.0100))
    build("system", "python3", says("3.11.2", 0.0010))
    running(monkeypatch, first)
    monkeypatch.setenv("PYTHON", first)
    assert interpreter.choose() == first


def test_one_that_is_too_old_gives_way_but_not_where_it_is_named(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    old = build("old", "python3", says("3.9.18", 0.0010, "abi-39"))
    new = build("new", "python3.12", says("3.12.1", 0.0100))
    running(monkeypatch, old)
    assert interpreter.choose() == new
    monkeypatch.setenv("PYTHON", old)
    with pytest.raises(Failure, match=r"needs Python 3\.11 or newer.*name another with PYTHON"):
        interpreter.choose()


def test_without_any_it_says_what_to_do(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, build("old", "python3", says("3.9.18", 0.0010)))
    with pytest.raises(Failure, match=r"needs Python 3\.11 or newer.*python3-venv.*none was found"):
        interpreter.choose()
