"""SIGTERM and SIGINT, which end the consumers of a process cleanly.

Theory: a signal has one handler for the whole process, so all consumers share this one. It is installed only where
nobody else has one, since a program that has its own, as a server does, knows better what is to end, and when: it calls
`stop`. It is there from the first consumer to the end of the last, and then what was before is again. Handlers belong
to the main thread: consumers in other threads stop with those in the main thread, and alone they take no signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_USUAL: dict[int, Any] = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
Stop = Callable[[], object]


class _Handler:
    """What consumers have in common."""

    def __init__(self) -> None:
        self._stops: list[Stop] = []
        self._before: dict[int, Any] = {}
        self._in_main = 0

    @contextlib.contextmanager
    def calling(self, stop: Stop) -> Iterator[None]:
        """Inside, a signal calls `stop`."""
        is_main = threading.current_thread() is threading.main_thread()
        self._stops.append(stop)
        if is_main:
            self._enter()
        try:
            yield
        finally:
            if is_main:
                self._leave()
            self._stops.remove(stop)

    def _enter(self) -> None:
        self._in_main += 1
        for number in SIGNALS:
            if _is_free(number):
                self._before[number] = signal.signal(number, self._handle)

    def _leave(self) -> None:
        self._in_main -= 1
        for number in list(self._before) if self._in_main == 0 else []:
            # Else somebody has put theirs in its place, and may yet put this one back.
            if signal.getsignal(number) == self._handle:
                signal.signal(number, self._before.pop(number))

    def forget(self) -> None:
        """In a forked process there are no consumers, and signals do what they did."""
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)
        self._stops, self._before, self._in_main = [], {}, 0

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Else somebody calls this in a handler of theirs, which stays.
        is_called_by_the_signal = signal.getsignal(number) == self._handle
        before = self._before.pop(number, None)
        if is_called_by_the_signal:
            signal.signal(number, _USUAL[number] if before is None else before)
        for stop in list(self._stops):
            stop()
        if is_called_by_the_signal and not self._stops:
            signal.raise_signal(number)


_handler = _Handler()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_handler.forget)


def stop_at_signals(stop: Stop, *, wanted: bool) -> contextlib.AbstractContextManager[None]:
    """Inside, if it is wanted, SIGTERM and SIGINT call `stop`, each where nobody else has a handler for it; a second
    one does what it did before. `stop` is called between any two steps of the main thread."""
    return _handler.calling(stop) if wanted else contextlib.nullcontext()


def _is_free(number: int) -> bool:
    """Whether the signal does what it does in any Python program; asyncio's own way to cancel at SIGINT counts, too."""
    found = signal.getsignal(number)
    if number != signal.SIGINT:
        return found == signal.SIG_DFL
    owner = getattr(getattr(found, "func", None), "__self__", None)
    return found == signal.default_int_handler or isinstance(owner, asyncio.Runner)
