"""Where everything that is seen is written down, by the one clock that all records share.

Rules of this file: a record is written the moment it is complete, so that a run that dies leaves what it saw; used
from one event loop alone, hence no locks. Besides the file it keeps only what the runner looks at while it goes on:
the last status of each node, and how many operations were acknowledged so far.
"""

from __future__ import annotations

import time
from pathlib import Path

from chaos import history
from chaos.figures import changes
from chaos.history import Op, Record, Status


class Recorder:
    """A context that appends to `path`. `statuses`: the newest of each node. `acknowledged`: as the figures count."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._began = time.monotonic()
        self.statuses: dict[int, Status] = {}
        self.acknowledged = 0

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def now(self) -> float:
        """Seconds since the run's start."""
        return round(time.monotonic() - self._began, 6)

    def add(self, record: Record) -> None:
        """Write one record."""
        history.write(self._file, record)
        if isinstance(record, Op):
            self.acknowledged += changes(record)
        elif isinstance(record, Status):
            self.statuses[record.node] = record

    def leader(self) -> Status | None:
        """The newest status of the node that leads in the highest term; None when none of the newest says Leader."""
        leading = [status for status in self.statuses.values() if status.role == "Leader"]
        return max(leading, key=lambda status: status.term, default=None)
