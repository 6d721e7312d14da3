"""The simulated disk is itself held to its word: what is synced stays, what is not may go, in any order."""

from __future__ import annotations

import errno
from random import Random

import pytest

from tests.sim.disk import SimCrash, SimFileSystem


def test_synced_bytes_and_names_survive_any_crash() -> None:
    for seed in range(50):
        fs = SimFileSystem()
        file = fs.open("/d/a", create=True)
        file.pwrite(b"x" * 2000, 0)
        file.datasync()
        fs.sync_dir("/d")
        file.pwrite(b"y" * 100, 5000)
        fs.crash(Random(seed))
        assert fs.open("/d/a").pread(2000, 0) == b"x" * 2000


def test_unsynced_sectors_are_lost_kept_and_torn_each_on_its_own() -> None:
    seen = set()
    for seed in range(300):
        fs = SimFileSystem()
        file = fs.allocate("/d/a", 2048)
        fs.sync_dir("/d")
        file.pwrite(b"x" * 1024, 0)
        fs.crash(Random(seed))
        found = fs.open("/d/a").pread(2048, 0)
        assert found[1024:] == bytes(1024)
        seen.add(tuple(len(found[at : at + 512].rstrip(b"\0")) for at in (0, 512)))
    assert {(0, 0), (0, 512), (512, 0), (512, 512)} <= seen
    assert any(0 < first < 512 for first, _ in seen)


def test_names_that_were_not_synced_may_go_either_way() -> None:
    seen = set()
    for seed in range(100):
        fs = SimFileSystem()
        fs.allocate("/d/old", 1)
        fs.allocate("/d/gone", 1)
        fs.sync_dir("/d")
        fs.rename("/d/old", "/d/new")
        fs.unlink("/d/gone")
        assert fs.image().keys() == {"/d/new"}
        fs.crash(Random(seed))
        seen.add(tuple(fs.image()))
    assert seen == {("/d/gone", "/d/old"), ("/d/old",), ("/d/gone", "/d/new"), ("/d/new",)}


def test_a_failed_sync_leaves_bytes_that_only_a_new_write_saves() -> None:
    lost = False
    for rewrite in (False, True):
        for seed in range(30):
            fs = SimFileSystem()
            file = fs.allocate("/d/a", 512)
            fs.sync_dir("/d")
            file.pwrite(b"x" * 512, 0)
            fs.fail_next("datasync")
            with pytest.raises(OSError):
                file.datasync()
            assert file.pread(512, 0) == b"x" * 512
            if rewrite:
                file.pwrite(b"x" * 512, 0)
            file.datasync()
            fs.crash(Random(seed))
            kept = fs.open("/d/a").pread(512, 0) == b"x" * 512
            assert kept or not rewrite
            lost = lost or not kept
    assert lost


def test_a_full_disk_takes_no_more_but_lets_written_places_be_written_again() -> None:
    fs = SimFileSystem(capacity_bytes=1000)
    file = fs.allocate("/d/a", 900)
    with pytest.raises(OSError) as caught:
        fs.allocate("/d/b", 200)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError):
        file.pwrite(b"x" * 200, 850)
    file.pwrite(b"x" * 900, 0)
    fs.unlink("/d/a")
    fs.allocate("/d/b", 1000)
    assert fs.free_bytes("/d") == 0


def test_operations_are_counted_and_crash_on_demand() -> None:
    fs = SimFileSystem()
    file = fs.allocate("/d/a", 512)
    file.pwrite(b"x", 0)
    file.datasync()
    fs.sync_dir("/d")
    assert fs.operations == 4
    fs.crash_at = 6
    file.pwrite(b"x", 0)
    with pytest.raises(SimCrash):
        file.datasync()
    fs.crash(Random(1))
    with pytest.raises(OSError):
        file.pread(1, 0)
    assert fs.open("/d/a").size() == 512


def test_the_same_seed_gives_the_same_disk() -> None:
    images = []
    for _ in range(2):
        fs = SimFileSystem()
        for name in "abc":
            fs.allocate(f"/d/{name}", 4096).pwrite(bytes([ord(name)]) * 3000, 17)
        fs.crash(Random(5))
        images.append(fs.image())
    assert images[0] == images[1]
