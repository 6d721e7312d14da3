"""A reserve on the disk: what keeps consumes and acknowledgements going when the disk is full.

Two lines of defence. While less than `reserve_bytes` is free, the node refuses what makes the data grow
(507) and goes on with everything else. Should another program take the rest, a file held ready for that day,
the ballast, is given up, so that committed entries can still be applied.
"""

from __future__ import annotations

from app.storage.errors import is_no_space
from app.storage.filesystem import FileSystem

BALLAST_BYTES = 4 << 20


class Reserve:
    """`check` and `release` may run in any one thread; `short` and `room_bytes` may be read from all."""

    def __init__(self, fs: FileSystem, directory: str, reserve_bytes: int):
        self._fs, self._directory, self._reserve_bytes = fs, directory, reserve_bytes
        self._ballast = f"{directory}/ballast"
        self.short = False
        self.room_bytes = 0
        """What was free beyond the reserve at the last look."""

    def check(self) -> None:
        """Look at the free space; set the ballast up again when there is plenty."""
        free = self._fs.free_bytes(self._directory)
        self.short = free < self._reserve_bytes
        self.room_bytes = free - self._reserve_bytes
        if free > self._reserve_bytes + 2 * BALLAST_BYTES and not self._fs.exists(self._ballast):
            try:
                self._fs.allocate(self._ballast, BALLAST_BYTES).close()
            except OSError as error:
                if not is_no_space(error):
                    raise
                self.short = True

    def release(self) -> None:
        """Give the ballast's space to whoever needs it now."""
        self.short = True
        if self._fs.exists(self._ballast):
            self._fs.unlink(self._ballast)
