"""The blank segment that always stands ready, so that a disk becoming full never stops a write at once.

Rules of this file:
- The spare has a fixed name. It takes that name only when its zeros are durable, so whatever bears it can be used.
- Anything that ends in `.tmp` is a blank from a former life that never became a segment: it is removed at start.
- All methods may be called from any thread; `prepare` may run beside appends. So a spare that is taken loses its name
  at once: the next one, made before the append has given the first its own, would else replace it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from app.storage.errors import LogFull, is_no_space
from app.storage.filesystem import FileSystem
from app.storage.segment import Blank

_NAME = "spare"
_UNFINISHED = ".tmp"


class Spares:
    """At most one spare of the ordinary size, and any blanks asked for."""

    def __init__(self, fs: FileSystem, directory: str, segment_bytes: int) -> None:
        self._fs = fs
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._path = f"{directory}/{_NAME}"
        self._lock = threading.Lock()
        self._spare: Blank | None = None
        self._made = 0

    def adopt(self) -> None:
        """Take over a former life's spare when it is of the right size; remove all other leftovers."""
        for name in self._fs.listdir(self._directory):
            path = f"{self._directory}/{name}"
            if name.endswith(_UNFINISHED):
                self._fs.unlink(path)
            elif name == _NAME:
                file = self._fs.open(path)
                if file.size() == self._segment_bytes:
                    self._spare = Blank(file, path, self._segment_bytes)
                else:
                    file.close()
                    self._fs.unlink(path)

    def prepare(self) -> bool:
        """Make the spare if there is none; False when the disk is full."""
        with self._lock:
            if self._spare is None:
                try:
                    made = self._allocate(self._segment_bytes)
                except LogFull:
                    return False
                self._fs.rename(made.path, self._path)
                self._spare = Blank(made.file, self._path, made.size_bytes)
            return True

    def take(self, sizes: Sequence[int]) -> list[Blank]:
        """One blank for each size, all or none: `LogFull`."""
        with self._lock:
            spare = self._spare
            taken: list[Blank] = []
            try:
                for size in sizes:
                    if spare is not None and size == spare.size_bytes:
                        taken.append(spare)
                        spare = None
                    else:
                        taken.append(self._allocate(size))
            except LogFull:
                for blank in taken:
                    if blank is not self._spare:
                        blank.file.close()
                        self._fs.unlink(blank.path)
                raise
            if spare is self._spare:
                return taken
            self._spare = None
            return [self._unnamed(blank) if blank.path == self._path else blank for blank in taken]

    def size_bytes(self) -> int:
        """What the spare takes on disk."""
        spare = self._spare
        return 0 if spare is None else spare.size_bytes

    def close(self) -> None:
        """Let go of the file; it stays for the next life."""
        with self._lock:
            if self._spare is not None:
                self._spare.file.close()
                self._spare = None

    def _unnamed(self, spare: Blank) -> Blank:
        path = self._unfinished()
        self._fs.rename(spare.path, path)
        return Blank(spare.file, path, spare.size_bytes)

    def _unfinished(self) -> str:
        self._made += 1
        return f"{self._directory}/{self._made}{_UNFINISHED}"

    def _allocate(self, size_bytes: int) -> Blank:
        path = self._unfinished()
        try:
            return Blank(self._fs.allocate(path, size_bytes), path, size_bytes)
        except OSError as error:
            if is_no_space(error):
                raise LogFull(
                    f"no room for a log segment of {size_bytes} bytes in {self._directory}: free disk space there; "
                    "writing goes on by itself then"
                ) from error
            raise
