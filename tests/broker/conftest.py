"""A machine in memory, a machine in a file, each with a feed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.broker import Machine, writer
from tests.broker.feed import Feed


@pytest.fixture
def feed() -> Iterator[Feed]:
    """In memory, the topic "t" in it."""
    machine = Machine.open(":memory:")
    feed = Feed(machine)
    feed.create()
    yield feed
    assert machine.state_hash()[1] == machine.audit()
    machine.close()


@pytest.fixture
def commit_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each apply is committed at once."""
    monkeypatch.setattr(writer, "ENTRIES", 1)
    monkeypatch.setattr(writer, "TOPIC_ENTRIES", 0)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state.db")


@pytest.fixture
def stored(path: str) -> Iterator[Feed]:
    """In a file, the topic "t" in it."""
    feed = Feed(Machine.open(path))
    feed.create()
    yield feed
    feed.machine.close()
