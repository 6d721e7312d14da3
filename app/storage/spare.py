"""Blank segments that stand ready, so that neither a disk becoming full nor the making of one stops a write.

Theory. A segment wants a file whose blocks are allocated and durable: an fdatasync into it then writes the records and
nothing else. What stands in the file does not matter, since a record is valid only in the segment and at the place
that it was written for (`format`). So files that compaction is done with become segments again, and a busy node makes
none: zeros would be a quarter of all that it writes. There is always one at least, made of zeros where none is left.

Rules of this file:
- A spare has a name of its own. It gets it only when all its blocks are durable, so whatever bears such a name can be
  used, header or not, and one that was taken keeps it until it becomes a segment.
- Anything that ends in `.tmp` is a file of zeros that a former life did not finish: it is removed at start.
- All methods may be called from any thread; `prepare` may run beside appends.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from app.storage.errors import LogFull, is_no_space
from app.storage.filesystem import File, FileSystem
from app.storage.segment import Blank

MOST_BYTES, MOST = 128 << 20, 64
"""Of spares that are kept, at least one: by the default settings what one compaction is done with."""
_NAME = "spare"
_UNFINISHED = ".tmp"


class Spares:
    """Spares of the ordinary size, the one used last at the end, and any blanks asked for."""

    def __init__(self, fs: FileSystem, directory: str, segment_bytes: int) -> None:
        self._fs = fs
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._most = max(1, min(MOST_BYTES // segment_bytes, MOST))
        self._lock = threading.Lock()
        self._spares: list[Blank] = []
        self._made = 0

    def adopt(self) -> None:
        """Take over a former life's spares that are of the right size; remove all other leftovers."""
        for name in self._fs.listdir(self._directory):
            path = f"{self._directory}/{name}"
            if name.endswith(_UNFINISHED):
                self._fs.unlink(path)
            elif name.startswith(_NAME):
                file = self._fs.open(path)
                found = Blank(file, path, file.size())
                if found.size_bytes == self._segment_bytes and len(self._spares) < self._most:
                    self._spares.append(found)
                else:
                    self._remove(found)

    def prepare(self, *, scarce: bool) -> bool:
        """Make a spare if there is none; False when the disk is full. `scarce`: let go of all others."""
        with self._lock:
            while scarce and len(self._spares) > 1:
                self._remove(self._spares.pop())
            if not self._spares:
                try:
                    made = self._allocate(self._segment_bytes)
                except LogFull:
                    return False
                self._add(made.file, made.path)
            return True

    def keep(self, file: File, path: str, size_bytes: int) -> bool:
        """Make a spare of a segment that nobody will read again; False when it is not wanted."""
        with self._lock:
            wanted = size_bytes == self._segment_bytes and len(self._spares) < self._most
            if wanted:
                self._add(file, path)
            return wanted

    def take(self, sizes: Sequence[int]) -> list[Blank]:
        """One blank for each size, all or none: `LogFull`."""
        with self._lock:
            left = list(self._spares)
            made: list[Blank] = []
            taken: list[Blank] = []
            try:
                for size in sizes:
                    if left and size == self._segment_bytes:
                        taken.append(left.pop())
                    else:
                        made.append(self._allocate(size))
                        taken.append(made[-1])
            except LogFull:
                for blank in made:
                    self._remove(blank)
                raise
            self._spares = left
            return taken

    def size_bytes(self) -> int:
        """What the spares take on disk."""
        return len(self._spares) * self._segment_bytes

    def close(self) -> None:
        """Let go of the files; they stay for the next life."""
        with self._lock:
            for spare in self._spares:
                spare.file.close()
            self._spares = []

    def _remove(self, blank: Blank) -> None:
        blank.file.close()
        self._fs.unlink(blank.path)

    def _add(self, file: File, path: str) -> None:
        name = self._new_path(_NAME)
        self._fs.rename(path, name)
        self._spares.append(Blank(file, name, self._segment_bytes))

    def _new_path(self, name: str, ending: str = "") -> str:
        """Of a file that is not there: a spare may bear the name that a former life gave it."""
        while True:
            self._made += 1
            path = f"{self._directory}/{name}{self._made}{ending}"
            if not self._fs.exists(path):
                return path

    def _allocate(self, size_bytes: int) -> Blank:
        path = self._new_path("blank", _UNFINISHED)
        try:
            return Blank(self._fs.allocate(path, size_bytes), path, size_bytes)
        except OSError as error:
            if is_no_space(error):
                raise LogFull(
                    f"no room for a log segment of {size_bytes} bytes in {self._directory}: free disk space there; "
                    "writing goes on by itself then"
                ) from error
            raise
