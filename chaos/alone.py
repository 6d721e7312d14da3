"""One run at a time for each name on this machine: a second one would sweep away what the first has built.

Rules of this file: the lock is the system's, on a file, so that it ends with the process that holds it, however that
ends; the file is removed on release, and one that a crash left behind holds nobody up.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path


class InUse(Exception):
    """Another process has this name. Its text is a sentence."""


class Alone:
    """Holds `name` from when it is made to `release`. Raises InUse."""

    def __init__(self, name: str) -> None:
        self._path = Path(tempfile.gettempdir()) / f"{name}.lock"
        while True:
            self._file = self._open(name)
            if self._path.exists() and os.path.samestat(os.fstat(self._file), self._path.stat()):
                return
            os.close(self._file)  # It was removed by who held it, between the opening and the locking: once more.

    def _open(self, name: str) -> int:
        busy = InUse(f"Another run uses the containers of {name}: wait for its end.")
        try:
            file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        except PermissionError:
            raise busy from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise busy from None
        return file

    def release(self) -> None:
        """Let others have it."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)
