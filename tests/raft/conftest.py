"""The `script` fixture: a scenario whose transcript is compared with a golden file.

`pytest tests/raft --update-transcripts` writes the files anew; read the difference before you commit it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.raft.script import Script

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--walks", type=int, default=40, help="how many random walks tests/raft takes")
    parser.addoption("--update-transcripts", action="store_true", help="write the golden transcripts of tests/raft")


@pytest.fixture
def script(request: pytest.FixtureRequest) -> Iterator[Callable[..., Script]]:
    """`script(nodes=3, …)` makes the world; its transcript stands in transcripts/<name of the test>.txt."""
    made: list[Script] = []

    def make(nodes: int = 3, **options: int) -> Script:
        made.append(Script(nodes, **options))
        return made[-1]

    yield make
    if getattr(request.node, "failed", False):
        return
    assert len(made) == 1, "one script a scenario"
    name = re.sub(r"\W+", "_", request.node.name.removeprefix("test_")).strip("_")
    path = TRANSCRIPTS / f"{name}.txt"
    text = made[0].transcript()
    if request.config.getoption("--update-transcripts", default=False):
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no {path.name} yet: run pytest tests/raft --update-transcripts, and read it"
    assert text == path.read_text(encoding="utf-8"), f"the transcript is not the one in {path.name}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.failed = report.failed
        if report.failed and "script" in getattr(item, "fixturenames", ()):
            report.sections.append(("transcript so far", _transcript(item)))
    return report


def _transcript(item: pytest.Item) -> str:
    made = item.funcargs["script"].__closure__[0].cell_contents
    return "\n".join(one.transcript() for one in made)
