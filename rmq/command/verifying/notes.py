"""What is written down, and what the live line and the result say of it.

Counted as `chaos.figures` counts: an acknowledged operation is one that was answered and changed something. The longest
time without an acknowledgement is that between two acknowledged publishes, of whichever clients.
"""

from __future__ import annotations

from pathlib import Path

from chaos.history import Op, Record, Status
from chaos.recorder import Recorder


class Notes(Recorder):
    """A history that grows. `doing`: the part of the run. `leaders`: who said that it leads, by term. `publishes`:
    acknowledged ones. `began_s`: when the load did; `load_s`, `load_acknowledged`: of the load alone, once it is over.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.doing = "load"
        self.leaders: dict[int, int] = {}
        self.publishes = 0
        self.began_s = self.load_s = 0.0
        self.load_acknowledged = 0
        self._last_s: float | None = None
        self._longest_s = 0.0

    def add(self, record: Record) -> None:
        """Write one record."""
        super().add(record)
        if isinstance(record, Status) and record.role == "Leader":
            self.leaders[record.term] = record.node
        elif isinstance(record, Op) and record.kind == "publish" and record.outcome == "ok":
            self.publishes += 1
            if self._last_s is not None:
                self._longest_s = max(self._longest_s, record.end - self._last_s)
            self._last_s = record.end

    def begin_load(self) -> None:
        """Clients use the cluster from now on."""
        self.began_s = self.now()
        self.doing = "load"

    def end_load(self) -> None:
        """No operation is begun any more."""
        self.load_s = self.now() - self.began_s
        self.load_acknowledged = self.acknowledged
        self.doing = "finish"

    def pause_s(self) -> float:
        """How long the last acknowledged publish is ago, or was when the load ended; 0 before the first, for until then
        clients connect."""
        until_s = self.now() if self.doing == "load" else self.began_s + self.load_s
        return 0.0 if self._last_s is None else max(0.0, until_s - self._last_s)

    def longest_s(self) -> float:
        """The longest time without one, the present included."""
        return max(self._longest_s, self.pause_s())
