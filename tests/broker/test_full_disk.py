"""No disk space: nothing is changed, nothing is damaged, and the same items go through once there is room."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.broker import Machine, StateFull, upkeep
from app.broker.commands import CreateTopic, DeleteTopic, NewMessage, Publish
from app.broker.results import Published, TopicDeleted
from tests.broker.feed import Feed

LARGE = Publish("t", [NewMessage(b"x" * 3000)] * 50, "key", b"f")


def limit_pages(feed: Feed, pages: int) -> None:
    """Let the database hold that many pages more than now."""
    connection = feed.machine._connection
    now = connection.execute("PRAGMA page_count").fetchall()[0][0]
    connection.execute(f"PRAGMA max_page_count = {now + pages}").fetchall()


@pytest.fixture(params=["memory", "file"])
def limited(request: pytest.FixtureRequest) -> Feed:
    return request.getfixturevalue("feed" if request.param == "memory" else "stored")


def test_nothing_changes_and_a_retry_goes_through(limited: Feed) -> None:
    limited.publish(b"first")
    before = limited.machine.state_hash()
    limit_pages(limited, 10)
    items = limited.items(Publish("t", [NewMessage(b"small")]), CreateTopic("u"), LARGE, DeleteTopic("t"))
    for _ in range(3):
        with pytest.raises(StateFull):
            limited.machine.apply(items)
        assert limited.machine.state_hash() == before
        assert limited.machine.audit() == before[1]
        assert limited.machine.topic("u") is None
        assert limited.machine.topic("t").messages == 1
    limit_pages(limited, 1000)
    answers = limited.machine.apply(items)
    assert len(answers) == 4
    assert limited.machine.applied_index == items[-1].index
    assert limited.machine.audit() == limited.machine.state_hash()[1]


def test_what_needs_no_room_goes_on(limited: Feed) -> None:
    limited.fill(300, size_bytes=1000)
    limit_pages(limited, 0)
    with pytest.raises(StateFull):
        limited.all(LARGE)
    while limited.receive(10):
        pass
    assert isinstance(limited.one(LARGE), Published), "the pages that became free are used again"


def test_watchers_hear_nothing_of_what_did_not_happen(feed: Feed) -> None:
    heard: list[str] = []
    feed.machine.watch("t", heard.append)
    limit_pages(feed, 10)
    with pytest.raises(StateFull):
        feed.all(LARGE)
    assert heard == []
    assert feed.one(DeleteTopic("t")) == TopicDeleted()
    assert heard == ["t"], "that it went is news for whoever waits"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 4 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)], capture_output=True, text=True, check=False
    ) if os.geteuid() == 0 else None  # fmt: skip
    if mounted is None or mounted.returncode:
        pytest.skip("mounting a small file system needs more rights than this process has")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill_up(directory: Path, leave_bytes: int) -> Path:
    """Another program takes all but so much of the disk."""
    ballast = directory / "ballast"
    left = os.statvfs(directory)
    size = left.f_bavail * left.f_frsize - leave_bytes
    with open(ballast, "wb") as file, contextlib.suppress(OSError):
        file.write(b"x" * size)
    return ballast


def test_a_disk_that_is_really_full(small_disk: Path, commit_each: None) -> None:
    path = str(small_disk / "state.db")
    feed = Feed(Machine.open(path))
    feed.create()
    feed.fill(20)
    assert feed.machine.checkpoint() == feed.machine.applied_index
    ballast = fill_up(small_disk, leave_bytes=60_000)
    before = feed.machine.state_hash()
    for _ in range(3):
        with pytest.raises(StateFull):
            feed.all(LARGE)
        assert feed.machine.state_hash() == before
        assert feed.machine.audit() == before[1]
    with pytest.raises(StateFull):
        feed.machine.snapshot(str(small_disk / "copy"))
    assert sorted(os.listdir(small_disk)) == ["ballast", "state.db", "state.db-wal"]
    ballast.unlink()
    assert isinstance(feed.one(LARGE), Published)
    hash_after = feed.machine.state_hash()
    feed.machine.close()
    with closing(Machine.open(path)) as machine:
        assert machine.state_hash() == hash_after
        assert machine.audit() == hash_after[1]
        assert machine._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_checkpoint_needs_no_room_and_a_backfill_waits_for_it(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "WAL_BACKFILL_BYTES", 0)
    path = str(small_disk / "state.db")
    feed = Feed(Machine.open(path))
    feed.create()
    feed.machine.checkpoint()
    feed.fill(500, size_bytes=1500)
    feed.machine.serialize()  # Commits.
    before = os.path.getsize(path)
    ballast = fill_up(small_disk, leave_bytes=0)
    assert feed.machine.checkpoint() == feed.machine.applied_index
    assert os.path.getsize(path) <= before + 4096
    ballast.unlink()
    feed.machine.checkpoint()
    assert os.path.getsize(path) > before + 500_000
    assert feed.machine.audit() == feed.machine.state_hash()[1]
    feed.machine.close()


def test_what_cannot_be_committed_is_still_applied_and_promised_to_nobody(small_disk: Path) -> None:
    path = str(small_disk / "state.db")
    feed = Feed(Machine.open(path))
    feed.create()
    durable_index = feed.machine.checkpoint()
    heard: list[str] = []
    feed.machine.watch("t", heard.append)
    feed.fill(40, size_bytes=5000)
    before = feed.machine.state_hash()
    ballast = fill_up(small_disk, leave_bytes=0)
    for _ in range(3):
        assert feed.machine.checkpoint() == durable_index < before[0]
        with pytest.raises(StateFull):
            feed.machine.snapshot(str(small_disk / "copy"))
        assert feed.machine.state_hash() == before
        assert feed.machine.audit() == before[1]
        assert feed.machine.topic("t").messages == 40
    feed.publish(b"goes on")
    before = feed.machine.state_hash()
    assert heard == ["t", "t"], "what is applied again is no news"
    ballast.unlink()
    assert feed.machine.checkpoint() == before[0]
    feed.machine.close()
    with closing(Machine.open(path)) as machine:
        assert machine.state_hash() == before
        assert machine.audit() == before[1]


def test_a_close_without_room_leaves_what_was_committed(small_disk: Path) -> None:
    path = str(small_disk / "state.db")
    feed = Feed(Machine.open(path))
    feed.create()
    feed.machine.checkpoint()
    before = feed.machine.state_hash()
    feed.fill(40, size_bytes=5000)
    ballast = fill_up(small_disk, leave_bytes=0)
    feed.machine.close()
    ballast.unlink()
    with closing(Machine.open(path)) as machine:
        assert machine.state_hash() == before
        assert machine.audit() == before[1]
