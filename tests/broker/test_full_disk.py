"""No disk space: nothing is changed, nothing is damaged, and the same items go through once there is room."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.broker import Item, Machine, StateFull, files, upkeep, writer
from app.broker.commands import CreateTopic, DeleteTopic, NewMessage, Publish
from app.broker.handlers import apply_one
from app.broker.results import Published, TopicDeleted
from app.broker.schema import PAGE_BYTES
from app.broker.state import State
from tests.broker.feed import Feed

LARGE = Publish("t", [NewMessage(b"x" * 12_000)] * 50, "key", b"f")


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
    limited.fill(1200, size_bytes=1000)
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
    assert os.path.getsize(path) <= before + PAGE_BYTES
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


def test_applying_needs_no_disk_before_the_commit(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the cache is: else any statement could find the disk full, a query's as well."""
    monkeypatch.setattr(files, "CACHE_KIB", 100)
    feed = Feed(Machine.open(str(small_disk / "state.db")))
    feed.create()
    feed.machine.checkpoint()
    ballast = fill_up(small_disk, leave_bytes=0)
    applied = 0
    with pytest.raises(StateFull):
        while applied < 100:
            messages = [NewMessage(b"x" * 3000, dedup_id=f"{applied}-{n}") for n in range(100)]
            feed.one(Publish("t", messages))
            applied += 1
            assert feed.machine.topic("t").messages == 100 * applied
    assert applied >= 5, "the bound is 2 MiB, and these are half of that"
    assert feed.machine.audit() == feed.machine.state_hash()[1]
    ballast.unlink()
    feed.machine.close()


LOOKS = {
    "topic": lambda feed: feed.machine.topic("t"),
    "topics": lambda feed: feed.machine.topics(),
    "peek": lambda feed: feed.machine.peek("t", "default", 0, 10, {}),
    "counts": lambda feed: feed.machine.counts(),
    "state_hash": lambda feed: feed.machine.state_hash(),
    "audit": lambda feed: feed.machine.audit(),
    "image": lambda feed: Machine.deserialize(feed.machine.serialize()).state_hash(),
    "apply": lambda feed: (feed.publish(b"next"), feed.machine.audit()),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_transaction_that_is_undone_behind_our_back_is_done_again_first(feed: Feed, look: Callable) -> None:
    """SQLite ends it where any statement finds the disk full, a query's as well."""
    feed.fill(30)
    expected = Machine.deserialize(feed.machine.serialize())
    for machine in (expected, feed.machine):
        Feed(machine).publish(b"uncommitted", b"and", b"more")
    feed.machine._connection.execute("ROLLBACK")
    assert look(feed) == look(Feed(expected))
    assert feed.machine.state_hash() == expected.state_hash()


def half_done(state: State, item: Item) -> bytes | None:
    apply_one(state, item)
    raise OSError(errno.ENOSPC, "simulated")


def test_where_it_cannot_be_done_again_nothing_is_said_until_it_can(
    stored: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable_index = stored.machine.checkpoint()
    stored.fill(30)
    before = stored.machine.state_hash()
    with monkeypatch.context() as patch:
        patch.setattr(writer, "apply_one", half_done)
        stored.machine._connection.execute("ROLLBACK")
        for _ in range(2):
            for look in (*LOOKS.values(), lambda feed: feed.machine.snapshot("never")):
                with pytest.raises(StateFull):
                    look(stored)
            assert stored.machine.checkpoint() == durable_index
    assert stored.machine.state_hash() == before
    assert stored.machine.audit() == before[1]
    stored.publish(b"goes on")
    assert stored.machine.checkpoint() == before[0] + 1


def test_a_checkpoint_on_a_full_disk_makes_room_in_the_write_ahead_log(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed is durable and copied into the database, so the next commit begins the log anew."""
    monkeypatch.setattr(upkeep, "WAL_BACKFILL_BYTES", 0)
    monkeypatch.setattr(upkeep, "QUICK_S", 60.0)
    feed = Feed(Machine.open(str(small_disk / "state.db")))
    feed.create()
    feed.fill(500)
    feed.machine.checkpoint()
    feed.receive(450)
    feed.machine.checkpoint()
    for _ in range(30):
        feed.fill(20)
        feed.receive(20)
        committed = feed.machine.applied_index
        feed.machine.serialize()  # Commits.
    feed.publish(b"uncommitted")
    fill_up(small_disk, leave_bytes=0)
    promised = [feed.machine.checkpoint() for _ in range(3)]
    assert promised[0] == committed, "what was committed"
    assert promised[-1] == feed.machine.applied_index, "there is room again"
    assert not feed.machine.checkpoint_due
    feed.machine.close()


def test_a_state_that_cannot_be_read_anew_is_not_used_half_done(stored: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    stored.machine.checkpoint()
    before = stored.machine.state_hash()
    items = stored.items(Publish("t", [NewMessage(b"1")]))
    def no_state(*_: object) -> State:
        raise OSError(errno.ENOSPC, "simulated")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "apply_one", half_done)
        patch.setattr(writer, "State", no_state)
        for _ in range(2):
            with pytest.raises(StateFull):
                stored.machine.apply(items)
            with pytest.raises(StateFull):
                stored.machine.topic("t")
    assert stored.machine.state_hash() == before
    assert stored.machine.apply(items)
    assert stored.machine.audit() == stored.machine.state_hash()[1]


def test_a_close_lets_go_of_the_files_whatever_was_left_half_way(
    stored: Feed, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.fill(30)
    stored.machine.checkpoint()
    stored.fill(30)
    kept = stored.machine._writer.state
    kept.sql.execute("SELECT * FROM pack, message_group, topic")
    with monkeypatch.context() as patch:
        patch.setattr(writer.Writer, "_commit", no_room)
        stored.machine.close()
    stored.machine = Machine.open(path)
    assert stored.machine.topic("t").messages == 30
    stored.publish(b"goes on")


def no_room(_: writer.Writer) -> None:
    raise OSError(errno.ENOSPC, "simulated")
