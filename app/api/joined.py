"""What many clients ask for in one turn of the loop, each with a request of its own: one command for all of them.

Theory: most of what a single publish costs three nodes is its entry in the log and its row, not the message. Of what is
joined an entry carries many, and many share a row (`app.broker.packs`). Nobody waits for others to come: what is there
when the turn ends leaves together, be it one.

Rules of this file: nobody notices. Each has an outcome of its own, and who has gone before his part left has done
nothing. What belongs in one command, whoever calls says by the lane. Where some kind of part is to come before another
that is asked for in the same turn, it is `ahead` of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from app.api.stepper import Stepper
from app.broker.commands import MESSAGES_MAX

BYTES = 1 << 20
"""In one command, unless one part alone is larger."""
Lane = TypeVar("Lane", bound=Hashable)
Part = TypeVar("Part")
Outcome = TypeVar("Outcome")


class _Draft(Generic[Part, Outcome]):
    """A command to be."""

    def __init__(self) -> None:
        self.parts: list[tuple[Part, asyncio.Future[Outcome | Exception]]] = []
        self.size_bytes = 0


class Joined(Generic[Lane, Part, Outcome]):
    """`send` does the parts of a lane as one command. -> for each, in order, what came of it, or what its caller is to
    raise. What it raises itself all callers raise. `ahead`: what is there of these leaves before."""

    def __init__(
        self,
        send: Callable[[Lane, Sequence[Part]], Awaitable[Sequence[Outcome | Exception]]],
        ahead: Sequence[Joined[Any, Any, Any]] = (),
    ) -> None:
        self._send, self._ahead = send, ahead
        self._drafts: dict[Lane, _Draft[Part, Outcome]] = {}

    async def ask(self, lane: Lane, part: Part, size_bytes: int) -> Outcome:
        """Do this with whatever else comes to its lane in this turn of the loop."""
        loop = asyncio.get_running_loop()
        draft = self._drafts.get(lane)
        if draft is not None and (len(draft.parts) == MESSAGES_MAX or draft.size_bytes + size_bytes > BYTES):
            self._leave(lane, draft)
            draft = None
        if draft is None:
            draft = self._drafts[lane] = _Draft()
            loop.call_soon(self._leave, lane, draft)
        future: asyncio.Future[Outcome | Exception] = loop.create_future()
        draft.parts.append((part, future))
        draft.size_bytes += size_bytes
        outcome = await future
        if isinstance(outcome, Exception):
            raise outcome.with_traceback(None)  # It may be that of many, one after the other.
        return outcome

    def leave(self) -> None:
        """All that is there leaves now."""
        for lane, draft in list(self._drafts.items()):
            self._leave(lane, draft)

    def _leave(self, lane: Lane, draft: _Draft[Part, Outcome]) -> None:
        if self._drafts.get(lane) is draft:
            for each in self._ahead:
                each.leave()
            del self._drafts[lane]
            Stepper(self._do(lane, draft), lambda _: None).step()

    async def _do(self, lane: Lane, draft: _Draft[Part, Outcome]) -> None:
        asked = [(part, future) for part, future in draft.parts if not future.done()]
        if not asked:
            return
        futures = [future for _, future in asked]
        outcomes: list[tuple[asyncio.Future[Outcome | Exception], Outcome | Exception]]
        try:
            outcomes = list(zip(futures, await self._send(lane, [part for part, _ in asked]), strict=True))
        except Exception as error:
            outcomes = [(future, error) for future in futures]
        for future, outcome in outcomes:
            if not future.done():
                future.set_result(outcome)
