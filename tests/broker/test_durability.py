"""Checkpoints, copies and the file itself: what survives what, and that the writer goes on meanwhile."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.broker import (
    Item,
    Machine,
    SnapshotAbandoned,
    StateDamaged,
    StateInUse,
    files,
    schema,
    state,
    upkeep,
    writer,
)
from app.broker.commands import DeleteTopic, NewMessage, Publish, Receive, encode
from app.broker.results import Refused
from app.broker.state import decode_numbers
from tests.broker.feed import Feed

ROOT = Path(__file__).resolve().parents[2]


def in_thread(work, while_running) -> list:
    """Run `work` in a thread, and `while_running` here again and again until it is done."""
    results: list = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        while_running()
    thread.join()
    return results


def test_a_reopened_machine_is_where_it_was(stored: Feed, path: str) -> None:
    stored.publish(b"1", b"2", key="k")
    stored.machine.apply([Item(stored.machine.applied_index + 1, 5, 0, None, b"voters")])
    before = stored.machine.state_hash()
    stored.machine.close()
    stored.machine = Machine.open(path)
    assert stored.machine.state_hash() == before
    assert (stored.machine.applied_term, stored.machine.configuration) == (5, b"voters")


def test_a_killed_process_is_back_where_it_last_committed(path: str) -> None:
    script = """
import os, signal, sys
from app.broker import Machine
from tests.broker.feed import Feed
feed = Feed(Machine.open(sys.argv[1]))
feed.create()
for _ in range(2500):
    feed.publish(b"1")
    print(*feed.machine.state_hash())
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script, path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    hashes = dict(line.split() for line in done.stdout.splitlines())
    with closing(Machine.open(path)) as machine:
        index, state_hash = machine.state_hash()
        assert 2501 - writer.ENTRIES < index < 2501
        assert state_hash == hashes[str(index)] == machine.audit()


def committed_index(path: str) -> int:
    """Up to which entry the files know the state."""
    with closing(files.connect(path)) as other:
        return decode_numbers(other.execute("SELECT numbers FROM hot WHERE id = 0").fetchall()[0][0]).applied_index


def test_much_that_changed_is_committed_sooner(path: str, stored: Feed) -> None:
    """What an error makes the machine do again, and a start, stays small, and so does SQLite's cache."""
    before = committed_index(path)
    for _ in range(3):
        stored.publish(b"x" * (writer.CHANGED_BYTES // 4))
    assert committed_index(path) == before < stored.machine.applied_index
    stored.publish(b"x" * (writer.CHANGED_BYTES // 4))
    assert committed_index(path) == stored.machine.applied_index
    stored.publish(b"")
    assert committed_index(path) == stored.machine.applied_index - 1


def topics_in_turn(stored: Feed, count: int, messages: int = 0) -> Iterator[str]:
    """Makes so many topics, each with so many messages of 500 B, puts all of it into the files. -> their names, again
    and again."""
    names = [f"t{number}" for number in range(count)]
    for name in names:
        stored.create(name)
        for _ in range(messages):
            stored.publish(b"x" * 500, topic=name)
    stored.machine.checkpoint()
    return itertools.cycle(names)


@pytest.mark.parametrize(
    ("topics", "entries"), [(1, 8), (2, 8), (4, 12), (5, 14), (6, 6), (9, 6)], ids=lambda count: str(count)
)
def test_where_many_topics_change_a_commit_waits_for_several_entries_of_each(
    stored: Feed, path: str, monkeypatch: pytest.MonkeyPatch, topics: int, entries: int
) -> None:
    """But not where the same topic hardly comes again."""
    turns = topics_in_turn(stored, topics)
    for bound, value in (("ENTRIES", 8), ("TOPIC_ENTRIES", 3), ("TOPICS", 6), ("MOST_ENTRIES", 14)):
        monkeypatch.setattr(writer, bound, value)
    before = stored.machine.applied_index
    for _ in range(entries - 1):
        stored.publish(b"", topic=next(turns))
    assert committed_index(path) == before
    stored.publish(b"", topic=next(turns))
    assert committed_index(path) == before + entries


@pytest.mark.parametrize(("topics", "entries"), [(1, 3), (2, 6), (5, 12)])
def test_where_many_topics_change_a_commit_waits_for_some_bytes_of_each(
    stored: Feed, path: str, monkeypatch: pytest.MonkeyPatch, topics: int, entries: int
) -> None:
    turns = topics_in_turn(stored, topics)
    monkeypatch.setattr(writer, "CHANGED_BYTES", 3000)
    monkeypatch.setattr(writer, "TOPIC_BYTES", 3000)
    monkeypatch.setattr(writer, "MOST_BYTES", 12_000)
    before = stored.machine.applied_index
    for _ in range(entries - 1):
        stored.publish(b"x" * 500, topic=next(turns))
    assert committed_index(path) == before
    stored.publish(b"x" * 500, topic=next(turns))
    assert committed_index(path) == before + entries, "each counts for its own size and ROW_BYTES"


@pytest.mark.parametrize("topics", [1, 5])
def test_rows_that_go_make_a_transaction_long_in_however_many_topics(
    stored: Feed, path: str, monkeypatch: pytest.MonkeyPatch, topics: int
) -> None:
    """They lie anywhere. A review found a transaction of 338 MB of pages, where messages of 2,000 topics were over."""
    turns = topics_in_turn(stored, topics, messages=3)
    monkeypatch.setattr(writer, "CHANGED_BYTES", 3000)
    monkeypatch.setattr(writer, "TOPIC_BYTES", 1 << 20)
    before = stored.machine.applied_index
    for _ in range(2):
        assert stored.receive(topic=next(turns))
    assert committed_index(path) == before
    assert stored.receive(topic=next(turns))
    assert committed_index(path) == before + 3


def test_commands_that_change_nothing_are_not_kept_without_end(
    stored: Feed, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "KEPT_BYTES", 3000)
    stored.create("full", max_messages=1, overflow="reject")
    stored.publish(b"", topic="full")
    stored.machine.checkpoint()
    before = stored.machine.applied_index
    refused = Publish("full", [NewMessage(b"x" * 1000)])
    for _ in range(2):
        assert isinstance(stored.one(refused), Refused)
    assert committed_index(path) == before
    stored.one(refused)
    assert committed_index(path) == before + 3


def test_what_may_lie_anywhere_stays_in_memory_until_the_commit() -> None:
    pages = 4 * writer.CHANGED_BYTES // state.ROW_BYTES
    assert pages * schema.PAGE_BYTES <= files.SPILL_KIB << 10


def synced_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the names of the files and directories that are synced from now on by Python."""
    synced: list[str] = []

    def recording(real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
            real(descriptor)

        return sync

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, recording(getattr(os, name)))
    return synced


def test_a_checkpoint_syncs_the_write_ahead_log_and_its_name(
    stored: Feed, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.fill(10)
    synced = synced_by(monkeypatch)
    assert stored.machine.checkpoint() == stored.machine.applied_index
    assert synced == ["state.db-wal", os.path.basename(os.path.dirname(path))]


def test_a_checkpoint_after_a_clean_start_has_nothing_to_do(stored: Feed, path: str) -> None:
    stored.fill(10)
    stored.machine.close()
    stored.machine = Machine.open(path)
    assert stored.machine.checkpoint() == stored.machine.applied_index


def test_a_checkpoint_beside_a_writer_promises_no_more_than_is_in_the_files(
    stored: Feed, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "WAL_BACKFILL_BYTES", 0)
    stored.fill(500, size_bytes=1000)
    real, seen = os.fdatasync, []

    def copy_then_write(descriptor: int) -> None:
        real(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("-wal"):
            for suffix in ("", "-wal"):
                shutil.copy(path + suffix, tmp_path / f"copy{suffix}")
            seen.append(stored.machine.applied_index)
            stored.fill(5)

    monkeypatch.setattr(os, "fdatasync", copy_then_write)
    promised = stored.machine.checkpoint()
    assert promised == seen[0] < stored.machine.applied_index
    with closing(Machine.open(str(tmp_path / "copy"))) as machine:
        assert machine.applied_index == promised
        assert machine.audit() == machine.state_hash()[1]


def test_readers_and_snapshots_do_not_delay_a_checkpoint(
    stored: Feed, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.fill(500)
    monkeypatch.setattr(upkeep, "COPY_PAGES", 1)
    monkeypatch.setattr(upkeep, "COPY_PAUSE_S", 1.0)
    promised: list[bool] = []

    def write_and_checkpoint() -> None:
        stored.publish(b"")
        promised.append(stored.machine.checkpoint() == stored.machine.applied_index)
        if len(promised) > 2:
            monkeypatch.setattr(upkeep, "COPY_PAUSE_S", 0.0)

    with closing(files.connect(path)) as reader:
        reader.execute("BEGIN").fetchall()
        reader.execute("SELECT * FROM hot").fetchall()
        write_and_checkpoint()
        in_thread(lambda: stored.machine.snapshot(str(tmp_path / "copy")), write_and_checkpoint)
    assert len(promised) > 2 and all(promised)


def rounds(path: str) -> int:
    """How often the write-ahead log began anew, by its header."""
    with open(path + "-wal", "rb") as file:
        return int.from_bytes(file.read(16)[12:], "big")


def test_a_long_write_ahead_log_starts_anew_under_a_steady_writer(
    stored: Feed, commit_each: None, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "WAL_BACKFILL_BYTES", 0)
    monkeypatch.setattr(upkeep, "QUICK_S", 60)
    stored.fill(10)
    before = rounds(path)
    for _ in range(8):
        in_thread(stored.machine.checkpoint, lambda: stored.publish(b"x" * 1000))
        stored.publish(b"next")
    assert rounds(path) >= before + 8


def test_a_short_one_is_left_alone_and_so_is_the_writer_on_a_slow_disk(
    stored: Feed, commit_each: None, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.fill(10)
    before = rounds(path)
    stored.machine.checkpoint()
    stored.publish(b"next")
    assert rounds(path) == before
    monkeypatch.setattr(upkeep, "WAL_BACKFILL_BYTES", 0)
    monkeypatch.setattr(upkeep, "QUICK_S", 0)
    held_off = 0

    class Gate:
        def __enter__(self) -> None:
            nonlocal held_off
            held_off += 1

        def __exit__(self, *_: object) -> None:
            pass

    upkeep.backfill(path, stored.machine._descriptor, Gate(), scarce=False)
    assert held_off == 0
    monkeypatch.setattr(upkeep, "WAL_BYTES_MAX", 0)
    stored.publish(b"more")
    upkeep.backfill(path, stored.machine._descriptor, Gate(), scarce=False)
    assert held_off == 1, "beyond this length there is no more waiting for a better day"


def test_the_used_part_of_a_write_ahead_log_is_measured_by_its_salts(
    stored: Feed, commit_each: None, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used() -> int:
        with open(path + "-wal", "rb") as file:
            return upkeep.wal_bytes_used(file.fileno())

    stored.fill(1000)
    long = used()
    assert long == os.path.getsize(path + "-wal") - upkeep.WAL_HEADER_BYTES
    monkeypatch.setattr(upkeep, "WAL_BACKFILL_BYTES", 0)
    stored.machine.checkpoint()
    stored.publish(b"")
    assert 0 < used() <= 8 * upkeep.FRAME_BYTES < long
    stored.machine.checkpoint()
    stored.machine.close()
    Path(path + "-wal").write_bytes(b"")
    assert used() == 0


def test_many_small_commits_ask_for_a_checkpoint_long_before_the_log_would(
    stored: Feed, commit_each: None, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chaos, disk-full seed 101: a node filled its own disk, since it waited for 128 MiB of its log."""
    monkeypatch.setattr(upkeep, "WAL_BACKFILL_BYTES", 4 << 20)
    monkeypatch.setattr(upkeep, "WAL_KEPT_BYTES", 4 << 20)
    monkeypatch.setattr(upkeep, "QUICK_S", 60.0)
    published, checkpoints, longest = 0, 0, 0
    while checkpoints < 3:
        stored.publish(b"small")
        published += 1
        longest = max(longest, os.path.getsize(path + "-wal"))
        if stored.machine.checkpoint_due:
            stored.machine.checkpoint()
            checkpoints += 1
            assert not stored.machine.checkpoint_due
        assert published < 2000
    assert published > 3 * 20, "it does not ask all the time"
    assert longest < 3 << 21


def test_a_write_ahead_log_that_grew_is_cut_piece_by_piece(
    stored: Feed, commit_each: None, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "WAL_BACKFILL_BYTES", 0)
    monkeypatch.setattr(upkeep, "WAL_KEPT_BYTES", 1 << 20)
    monkeypatch.setattr(upkeep, "WAL_CUT_BYTES", 1 << 20)
    stored.fill(1000, size_bytes=4000)
    sizes = [os.path.getsize(path + "-wal")]
    while sizes[-1] > 1 << 20:
        assert stored.machine.checkpoint() == stored.machine.applied_index
        stored.publish(b"")
        sizes.append(os.path.getsize(path + "-wal"))
        assert sizes[-2] - (1 << 20) <= sizes[-1] <= sizes[-2]
        assert len(sizes) < 20
    assert sizes[0] > 4 << 20
    assert stored.machine.audit() == stored.machine.state_hash()[1]


def test_a_drained_queue_becomes_small_again(
    stored: Feed, commit_each: None, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "FREE_PAGES_KEPT", 25)
    monkeypatch.setattr(upkeep, "WAL_BACKFILL_BYTES", 0)
    stored.publish(b"first")
    stored.fill(2000, size_bytes=2000)
    stored.machine.checkpoint()
    full_bytes = os.path.getsize(path)
    while stored.receive(500):
        pass
    for _ in range(200):
        stored.receive()
    stored.machine.checkpoint()
    assert full_bytes > 4_000_000
    assert os.path.getsize(path) < 1_000_000
    assert stored.machine.audit() == stored.machine.state_hash()[1]


def test_a_snapshot_is_one_state_while_the_writer_goes_on(
    stored: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.fill(3000, size_bytes=1000)
    monkeypatch.setattr(upkeep, "COPY_PAUSE_S", 1.0)
    stored.machine.apply([Item(stored.machine.applied_index + 1, 3, 0, None, b"voters")])
    hashes = dict([stored.machine.state_hash()])

    def write() -> None:
        stored.all(Publish("t", [NewMessage(b"x" * 1000)] * 3), Receive("t", max=2))
        hashes.update([stored.machine.state_hash()])
        if len(hashes) > 3:
            monkeypatch.setattr(upkeep, "COPY_PAUSE_S", 0.0)

    target = str(tmp_path / "copy")
    [meta] = in_thread(lambda: stored.machine.snapshot(target), write)
    assert len(hashes) > 2, "nothing was written meanwhile"
    with closing(Machine.open(target)) as copy:
        assert meta == (copy.applied_index, 3, b"voters")
        assert copy.state_hash() == (meta[0], hashes[meta[0]])
        assert copy.audit() == copy.state_hash()[1]
    assert os.listdir(tmp_path).count("copy.partial") == 0


def test_closing_ends_a_snapshot_under_way(stored: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "COPY_PAGES", 1)
    monkeypatch.setattr(upkeep, "COPY_PAUSE_S", 2.0)
    stored.fill(2000)
    target = tmp_path / "copy"
    begun = time.monotonic()

    def close_it() -> None:
        time.sleep(0.05)
        stored.machine.close()

    [outcome] = in_thread(lambda: stored.machine.snapshot(str(target)), close_it)
    assert isinstance(outcome, SnapshotAbandoned)
    assert time.monotonic() - begun < 60, "to its end it takes minutes"
    assert sorted(os.listdir(tmp_path)) == ["state.db"]
    with pytest.raises(SnapshotAbandoned):
        stored.machine.snapshot(str(target))
    assert stored.machine.checkpoint() <= stored.machine.applied_index


def test_two_processes_do_not_share_a_state(stored: Feed, path: str) -> None:
    script = "import sys; from app.broker import Machine; Machine.open(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", script, path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert StateInUse.__name__ in done.stderr
    stored.publish(b"1")


def test_what_is_no_state_is_refused_with_advice(path: str) -> None:
    Path(path).write_bytes(b"not a database at all, but long enough to look at" * 100)
    with pytest.raises(StateDamaged, match="start it again empty"):
        Machine.open(path)


def test_another_programs_database_is_left_alone(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StateDamaged, match="not the state database of a broker"):
        Machine.open(path)


def test_a_later_format_is_refused(path: str) -> None:
    Machine.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StateDamaged, match="format is 99"):
        Machine.open(path)


@pytest.mark.parametrize("statement", ["", "PRAGMA journal_mode = WAL"])
def test_a_creation_cut_short_is_begun_again(path: str, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    with closing(Machine.open(path)) as machine:
        assert machine.applied_index == 0


def test_a_gap_or_an_older_term_is_a_bug_of_the_caller(feed: Feed) -> None:
    index = feed.machine.applied_index
    before = feed.machine.state_hash()
    good = Item(index + 1, 1, 0, encode(DeleteTopic("t")))
    for bad in ([Item(index, 1, 0)], [Item(index + 2, 1, 0)], [good, good], [good, Item(index + 2, 0, 0)]):
        with pytest.raises(AssertionError):
            feed.machine.apply(bad)
        assert feed.machine.state_hash() == before
        assert feed.machine.topic("t") is not None
    assert feed.machine.apply([]) == []


def test_what_is_deleted_is_not_written_once_more(stored: Feed, commit_each: None, path: str) -> None:
    """Debian's SQLite fills it with zeros, if nobody says otherwise: that was all of it again, and now is half, the
    pages that SQLite has to look into."""
    stored.fill(1000, size_bytes=4000)
    before = os.path.getsize(path + "-wal")
    assert len(stored.receive(1000)) == 1000
    assert os.path.getsize(path + "-wal") - before < 0.75 * 1000 * 4000


def test_on_a_scarce_disk_files_become_small_though_nobody_commits(stored: Feed) -> None:
    """Found by a review: a queue that was drained and then left alone kept its disk full."""
    stored.create()
    for _ in range(60):
        stored.publish(*[b"x" * 10_000] * 100)
    while stored.receive(1000):
        pass
    machine, path = stored.machine, stored.machine.path
    machine.checkpoint()
    assert machine.has_free_pages or machine.owed_bytes
    large = machine.size_bytes
    assert large == os.path.getsize(path) + os.path.getsize(path + "-wal")
    for _ in range(20):
        machine.checkpoint(scarce=True)
    assert os.path.getsize(path + "-wal") == 0 and machine.owed_bytes == 0
    assert os.path.getsize(path) <= 4 * upkeep.FREE_PAGES_KEPT * upkeep.PAGE_BYTES < large
    assert not machine.has_free_pages
    stored.publish(b"it goes on")
    assert [message.body for message in stored.receive(10)] == [b"it goes on"]
