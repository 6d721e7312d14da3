"""A reserve on the disk: what keeps consumes and acknowledgements going when the disk is full.

Three lines of defence. While little more than `reserve_bytes` is free, what need not be kept is given back: log that
the state stands for, room in the state's own files. While less is free, the node refuses what makes the data grow (507)
and goes on with everything else. Should another program take the rest, a file held ready for that day, the ballast, is
given up, so that committed entries can still be applied.

What is free is not all there is to give away: what was committed since the database took it in will take as much again
there, and until it has, no file of the state can give anything back (`owed_bytes`). Without that even consuming filled
a disk to its end, since each commit is a write.
"""

from __future__ import annotations

from collections.abc import Callable

from app.storage.errors import is_no_space
from app.storage.filesystem import FileSystem

BALLAST_BYTES = 4 << 20
SCARCE_BYTES = 128 << 20
"""Beyond the reserve: below that it is time to give back what need not be kept."""


class Reserve:
    """`check` and `release` may run in any one thread; the attributes may be read from all. `owed_bytes`: what the
    state's files are yet to take of what is free."""

    def __init__(self, fs: FileSystem, directory: str, reserve_bytes: int, owed_bytes: Callable[[], int]):
        self._fs, self._directory, self._reserve_bytes = fs, directory, reserve_bytes
        self._owed_bytes = owed_bytes
        self._ballast = f"{directory}/ballast"
        self.short = self.scarce = False
        self.free_bytes: int | None = None
        """At the last look."""
        self.room_bytes = 0
        """What was free beyond the reserve, and owed to nobody, at the last look."""

    def check(self) -> None:
        """Look at the free space; set the ballast up again when there is plenty."""
        free = self.free_bytes = self._fs.free_bytes(self._directory)
        self.room_bytes = free - self._reserve_bytes - self._owed_bytes()
        self.short = self.room_bytes < 0
        self.scarce = self.room_bytes < SCARCE_BYTES
        if free > self._reserve_bytes + 2 * BALLAST_BYTES and not self._fs.exists(self._ballast):
            try:
                self._fs.allocate(self._ballast, BALLAST_BYTES).close()
            except OSError as error:
                if not is_no_space(error):
                    raise
                self.short = self.scarce = True

    def release(self) -> None:
        """Give the ballast's space to whoever needs it now."""
        self.short = self.scarce = True
        if self._fs.exists(self._ballast):
            self._fs.unlink(self._ballast)
