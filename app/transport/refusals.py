"""What the log says of refused streams: who was refused first and why, at once; then how many more, once a minute.

Somebody who is refused comes again: a peer with another cluster file does so twice a second for as long as it runs. So
an address and a reason make one line a minute. Only so many of them are remembered; while all of those are of this
minute, whatever else comes makes one line together. So neither memory nor lines grow with the number of strangers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("rmq.peers")

PAUSE_S = 60.0
"""Between two lines of one address and reason."""
REMEMBERED_MAX = 64
_REST = "", ""
"""Stands for all that find no place."""


class Refusals:
    """Told of every refused stream."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._told = {_REST: (float("-inf"), 0)}
        """By address and reason: when the log told of it, and how often it happened since. The oldest line is first."""

    def note(self, address: str, reason: str) -> None:
        """A stream from this address was refused."""
        now_s, key = self._now_s(), (address, reason)
        if key not in self._told and not self._find_place(now_s):
            key = _REST
        told_s, left_out = self._told.get(key, (float("-inf"), 0))
        if now_s < told_s + PAUSE_S:
            self._told[key] = told_s, left_out + 1
            return
        self._told.pop(key, None)
        self._told[key] = now_s, 0
        more = f" ({left_out} more{' of others' if key == _REST else ''} since the last such line)" if left_out else ""
        log.warning("refused a stream from %s: %s%s", address, reason, more)

    def _find_place(self, now_s: float) -> bool:
        """Whether another address and reason can be remembered; that of the oldest line makes room."""
        if len(self._told) <= REMEMBERED_MAX:
            return True
        oldest = next(key for key in self._told if key != _REST)
        if now_s < self._told[oldest][0] + PAUSE_S:
            return False
        del self._told[oldest]
        return True
