"""A coroutine that runs without a task.

Theory: a task begins in the loop's next round, and carries a name, a context and a place among all tasks. What only
waits for futures needs none of it: it is stepped at once, and again whenever the future that it waits for is done.
Whatever asks for the current task (`asyncio.timeout`) does not work in it: `app.node.waiting` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def begun(coroutine: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
    """What comes of the coroutine, which has been stepped once already: what it sends off is off."""
    outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        try:
            result = await coroutine
        except Exception as error:
            if not outcome.done():
                outcome.set_exception(error)
        else:
            if not outcome.done():
                outcome.set_result(result)

    Stepper(run(), lambda _: None).step()
    return outcome


class Stepper:
    """One coroutine. `ended(self)` is called at its end, whatever that is; what it raises goes to who steps it: the
    first time the caller of `step`, then the loop, which logs it."""

    __slots__ = ("_coroutine", "_ended", "_is_cancelled", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, None], ended: Callable[[Stepper], None]) -> None:
        self._coroutine, self._ended = coroutine, ended
        self._waits_for: asyncio.Future[Any] | None = None
        self._is_cancelled = False

    def step(self, _: object = None) -> None:
        """Go on, until it waits for something or ends."""
        try:
            if self._is_cancelled:
                self._is_cancelled = False
                waits_for = self._coroutine.throw(asyncio.CancelledError())
            else:
                waits_for = self._coroutine.send(None)
        except StopIteration:
            self._ended(self)
        except BaseException:
            self._ended(self)
            raise
        else:
            self._waits_for = waits_for
            if waits_for is None:  # asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(self.step)
            else:
                waits_for._asyncio_future_blocking = False  # As a task would: its `await` has handed it over.
                waits_for.add_done_callback(self.step)

    def cancel(self, msg: object = None) -> bool:
        """Raise CancelledError in it: out of what it waits for, or, where that is over already, in its next step."""
        self._is_cancelled = self._waits_for is None or not self._waits_for.cancel(msg)
        return True
