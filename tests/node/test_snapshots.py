"""Files of snapshots: what is sent says what it should be, and what arrived otherwise is never put in force."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest

from app.broker.machine import Machine
from app.node.snapshots import SnapshotDamaged, SnapshotFiles
from app.raft import Chunk, Configuration, SnapshotMeta
from app.storage import RealFileSystem

FILE = b"the state of a queue"
META = SnapshotMeta(9, 1, Configuration(()), len(FILE), crc32(FILE))


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    return SnapshotFiles(RealFileSystem(), str(tmp_path / "snapshots"), 1024)


def stage(files: SnapshotFiles, meta: SnapshotMeta, *pieces: bytes) -> None:
    offset = 0
    for piece in pieces:
        done = offset + len(piece) == meta.size_bytes
        files.stage(Chunk(meta, offset, piece, done))
        offset += len(piece)


def test_a_copy_says_what_its_bytes_add_up_to(files: SnapshotFiles) -> None:
    machine = Machine.open(":memory:")
    copy = files.take(machine, Configuration(()))
    assert copy is not None
    assert copy.meta.checksum == crc32(Path(copy.path).read_bytes()) != 0
    files.discard(copy)
    machine.close()


def test_a_snapshot_that_arrived_as_it_was_sent_is_taken(files: SnapshotFiles) -> None:
    stage(files, META, FILE[:5], FILE[5:11], FILE[11:])
    assert Path(files.staging_path).read_bytes() == FILE


def test_a_snapshot_that_was_damaged_on_its_way_is_refused(files: SnapshotFiles) -> None:
    """Its pages would be read as the state one day, and this replica would differ from all others."""
    with pytest.raises(SnapshotDamaged):
        stage(files, META, FILE[:5], b"xxxxxx", FILE[11:])


def test_a_snapshot_that_is_begun_anew_is_counted_anew(files: SnapshotFiles) -> None:
    stage(files, META, FILE[:5], b"xxxxxx")
    stage(files, META, FILE[:11], FILE[11:])
    assert Path(files.staging_path).read_bytes() == FILE


def test_a_sender_of_an_earlier_release_says_no_checksum(files: SnapshotFiles) -> None:
    stage(files, SnapshotMeta(9, 1, Configuration(()), len(FILE)), FILE)
    assert Path(files.staging_path).read_bytes() == FILE
