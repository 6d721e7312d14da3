"""How far a measurement is: a bar that is redrawn on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time

WIDTH, REPEAT_S = 24, 15.0


class Progress:
    """`steps` in all; `step` says that the next one begins."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done = steps, -1
        self._live = sys.stderr.isatty()
        self._said = 0.0

    def step(self, text: str) -> None:
        """The next step, in words."""
        self._done += 1
        self.note(text)

    def note(self, text: str) -> None:
        """What goes on within this step."""
        now = time.monotonic()
        if self._live:
            print(f"\r\033[K{bar(self._done, self._steps)} {text}"[:110], end="", file=sys.stderr, flush=True)
        elif now - self._said >= REPEAT_S:
            self._said = now
            print(f"{self._done} of {self._steps}: {text}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the bar away."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def bar(done: int, steps: int) -> str:
    """`███░░░ 3 of 6`."""
    full = WIDTH * done // max(1, steps)
    return f"{'█' * full}{'░' * (WIDTH - full)} {done} of {steps}"
