"""What the file of a new segment holds: zeros, or what it held when it was another segment."""

from __future__ import annotations

import pytest

from app.raft.types import Entry, HardState
from app.storage.format import HEADER_BYTES, Header, encode_entries
from tests.sim.disk import SimFile, SimFileSystem
from tests.storage.helpers import IDENTITY, entries


@pytest.fixture(params=["of zeros", "used before"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use it where a test shall run with both."""
    real = SimFileSystem.allocate

    def used(fs: SimFileSystem, path: str, size: int) -> SimFile:
        file = real(fs, path, size)
        file._inode.data[:] = old_segment(size)
        return file

    if request.param == "used before":
        monkeypatch.setattr(SimFileSystem, "allocate", used)


def old_segment(size: int) -> bytes:
    """A file of this size, full of records of another segment, at the places where the tests' own will stand."""
    header = Header(IDENTITY, 1000, size, 0, 0, HardState(1, 1), 0, reset=False)
    parts = [header.encode()]
    old = [Entry(one.index, one.term, one.kind, b"\xee" * len(one.data)) for one in entries(1, size // 64)]
    encode_entries(header.seed(), HEADER_BYTES, HEADER_BYTES, IDENTITY.group, old, parts)
    return b"".join(parts)[:size]
