"""Becoming a snapshot: wholly or not at all, wherever it is interrupted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.broker import Machine, SnapshotAbandoned, StateDamaged, files, upkeep
from app.broker.errors import StateUnopened
from tests.broker.feed import Feed


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def ahead(tmp_path: Path) -> Iterator[Callable[[], tuple[str, tuple[int, str]]]]:
    """Makes a snapshot of another machine that is further on. -> (its path, its state hash)."""
    machine = Machine.open(str(tmp_path / "other.db"))
    feed = Feed(machine)
    feed.create()
    feed.create("u")
    feed.fill(700, size_bytes=1000)
    for _ in range(20):
        feed.publish(b"x", topic="u")

    def make() -> tuple[str, tuple[int, str]]:
        path = str(tmp_path / "incoming")
        machine.snapshot(path)
        return path, machine.state_hash()

    yield make
    machine.close()


def test_the_state_is_the_snapshots(stored: Feed, path: str, ahead: Callable) -> None:
    stored.fill(10)
    snapshot, expected = ahead()
    stored.machine.install(snapshot)
    assert stored.machine.state_hash() == expected
    assert stored.machine.audit() == expected[1]
    assert not os.path.exists(snapshot)
    assert stored.machine.checkpoint() == expected[0]
    stored.publish(b"goes on", topic="u")
    stored.machine.close()
    with closing(Machine.open(path)) as machine:
        assert machine.applied_index == expected[0] + 1


def test_a_snapshot_may_pass_between_file_and_memory(stored: Feed, tmp_path: Path) -> None:
    stored.fill(20)
    memory = Machine.open(":memory:")
    stored.machine.snapshot(str(tmp_path / "one"))
    memory.install(str(tmp_path / "one"))
    assert memory.state_hash() == stored.machine.state_hash()
    Feed(memory).fill(20)
    memory.snapshot(str(tmp_path / "two"))
    stored.machine.install(str(tmp_path / "two"))
    assert memory.state_hash() == stored.machine.state_hash()


def test_whoever_watches_is_woken(feed: Feed, ahead: Callable) -> None:
    heard: list[str] = []
    feed.machine.watch("u", heard.append)
    snapshot, _ = ahead()
    feed.machine.install(snapshot)
    assert heard == ["u"]


def test_a_crash_anywhere_leaves_the_old_state_or_the_new(
    path: str, ahead: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for step in range(100):
        for name in os.listdir(os.path.dirname(path)):
            if name.startswith("state.db"):
                Path(os.path.dirname(path), name).unlink(missing_ok=True)  # A thread of the install removes waste, too.
        feed = Feed(Machine.open(path))
        feed.create()
        feed.fill(30)
        feed.machine.checkpoint()
        feed.fill(30)
        feed.machine.serialize()  # Commits.
        old = feed.machine.state_hash()
        snapshot, new = ahead()
        with monkeypatch.context() as patch:
            crash_at(patch, step)
            try:
                feed.machine.install(snapshot)
                crashed = False
            except Crash:
                crashed = True
        if not crashed:
            feed.machine.close()
        # The crashed machine's connection stays as a dead process would leave it; nothing closes its files neatly.
        with closing(Machine.open(path)) as machine:
            assert machine.state_hash() in (old, new)
            assert machine.audit() == machine.state_hash()[1]
            outcomes.append("new" if machine.state_hash() == new else "old")
            Feed(machine).publish(b"goes on")
        if not crashed:
            break
    assert "".join(word[0] for word in outcomes).startswith("oo")
    assert outcomes == sorted(outcomes, reverse=True), "once decided it stays decided"
    assert outcomes.count("new") >= 6 and not crashed


def crash_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let the file operation number `step`, counted from 0, be the one that is not done any more."""
    done = 0

    def counting(real: Callable) -> Callable:
        def operation(*arguments: object) -> object:
            nonlocal done
            if done >= step:
                raise Crash
            done += 1
            return real(*arguments)

        return operation

    for name in ("rename", "fsync"):
        patch.setattr(files.os, name, counting(getattr(os, name)))


def test_names_are_durable_before_anything_builds_on_them(
    stored: Feed, path: str, ahead: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.fill(10)
    snapshot, _ = ahead()
    done: list[str] = []
    rename, fsync = os.rename, os.fsync

    def recording_rename(source: str, target: str) -> None:
        rename(source, target)
        done.append(f"{os.path.basename(source)} -> {os.path.basename(target)}")

    def recording_fsync(descriptor: int) -> None:
        done.append("sync " + os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(files.os, "rename", recording_rename)
    monkeypatch.setattr(files.os, "fsync", recording_fsync)
    stored.machine.install(snapshot)
    directory = "sync " + os.path.basename(os.path.dirname(path))
    assert done == [
        "sync incoming",
        "incoming -> state.db.install",
        directory,
        "state.db -> state.db.waste",
        "state.db-wal -> state.db.waste-wal",
        directory,
        "state.db.install -> state.db",
        directory,
    ]


def test_what_the_old_state_left_is_removed(stored: Feed, path: str, ahead: Callable) -> None:
    stored.fill(10)
    stored.machine.install(ahead()[0])
    deadline = time.monotonic() + 120
    while any("waste" in name for name in os.listdir(os.path.dirname(path))):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("spoil", ["cut short", "nonsense", "empty", "another program's"])
def test_a_snapshot_that_is_none_changes_nothing(stored: Feed, ahead: Callable, spoil: str) -> None:
    stored.fill(10)
    before = stored.machine.state_hash()
    snapshot, _ = ahead()
    content = Path(snapshot).read_bytes()
    spoilt = {
        "cut short": content[: len(content) // 2],
        "nonsense": b"?" * len(content),
        "empty": b"",
        "another program's": content[:68] + b"abcd" + content[72:],
    }[spoil]
    Path(snapshot).write_bytes(spoilt)
    with pytest.raises(StateDamaged):
        stored.machine.install(snapshot)
    assert stored.machine.state_hash() == before
    stored.publish(b"goes on")


def test_the_way_leads_forward_only(stored: Feed, tmp_path: Path) -> None:
    stored.machine.snapshot(str(tmp_path / "old"))
    stored.fill(10)
    with pytest.raises(AssertionError):
        stored.machine.install(str(tmp_path / "old"))


def test_an_install_ends_a_snapshot_under_way(
    stored: Feed, ahead: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, expected = ahead()
    stored.fill(1000)
    monkeypatch.setattr(upkeep, "COPY_PAGES", 1)
    monkeypatch.setattr(upkeep, "COPY_PAUSE_S", 1.0)
    outcome: list[BaseException] = []

    def copy() -> None:
        try:
            stored.machine.snapshot(str(tmp_path / "copy"))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=copy)
    thread.start()
    while not (tmp_path / "copy.partial").exists():
        assert thread.is_alive()
        time.sleep(0.001)
    stored.machine.install(snapshot)
    thread.join()
    assert [type(error) for error in outcome] == [SnapshotAbandoned]
    assert stored.machine.state_hash() == expected
    monkeypatch.undo()
    assert stored.machine.snapshot(str(tmp_path / "copy"))[0] == expected[0]


def test_a_database_that_cannot_be_opened_is_told_so_and_not_taken_for_damaged(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StateUnopened, match="a file that this user may write to"):
        Machine.open(str(tmp_path / "state.db"))
