"""Looks at the cluster: all nodes that were named are asked at once, and what they say becomes one picture.

Theory. A node that answers, answers soon; one that is stopped, or cut off, does not. So each has a short time of its
own, and a look does not wait for those that are late: it shows what each one said last, and the next look has what they
say meanwhile. A node that did not answer in its time has said nothing.

Rules of this file: no node is asked but those that were named, since what a cluster calls its nodes need not be what
they are called here; of the others the named ones tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic

from rmq import errors
from rmq.aio import AsyncClient
from rmq.command import exits
from rmq.command.picture import Picture, merged, of_answers, of_silence
from rmq.policy import Retry
from rmq.topics import Cluster, Member

ANSWER_S = 1.0
ONCE = Retry(total_s=0.0, attempt_s=ANSWER_S, connect_s=ANSWER_S)


class Looker:
    """Looks again and again; a context."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._clients = [AsyncClient(url, retry=ONCE) for url in urls]
        self._asked: dict[AsyncClient, asyncio.Task[Cluster | errors.Error]] = {}
        self._said: dict[AsyncClient, Cluster | errors.Error] = {}
        self._heard_at: dict[int, float] = {}
        """When a node last answered, somebody."""
        self._looked_at: float | None = None
        """When the first look was over."""
        self._known: Sequence[Member] = ()

    async def __aenter__(self) -> Looker:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        for client in self._clients:
            await client.close()

    async def look(self, patience_s: float | None = None) -> Picture:
        """Ask whoever is not being asked, and wait so long at most; the first look waits for all. Raises Error where
        what is there was never a node."""
        for client in self._clients:
            if client not in self._asked:
                self._asked[client] = asyncio.create_task(self._ask(client))
        await asyncio.wait(self._asked.values(), timeout=None if self._looked_at is None else patience_s)
        for client in self._clients:
            if self._asked[client].done():
                self._said[client] = self._asked.pop(client).result()
        found = self._picture()
        self._looked_at = self._looked_at or monotonic()
        return found

    async def _ask(self, client: AsyncClient) -> Cluster | errors.Error:
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await client.cluster()
        except TimeoutError:
            return errors.CannotConnect(f"{client.urls[0]} gave no answer within {ANSWER_S:g} s.", code="no_answer")
        except errors.Error as error:
            return error
        self._heard_at |= dict.fromkeys((each.node for each in found.members if each.reachable), monotonic())
        return found

    def _picture(self) -> Picture:
        answers = [each for each in self._said.values() if isinstance(each, Cluster)]
        if answers:
            self._known = merged(answers).members
            return of_answers(answers, self._silent_s())
        refused = [each for each in self._said.values() if isinstance(each, errors.Error)]
        foreign = [each for each in refused if not isinstance(each, errors.Unavailable)]
        if foreign and not self._known:
            raise foreign[0]
        return of_silence(self._known, self._silent_s(), exits.sentence(refused[0]))

    def _silent_s(self) -> dict[int, float]:
        """How long nobody has heard of each, since the first look at most."""
        now = monotonic()
        since = {each.node: self._heard_at.get(each.node, self._looked_at) for each in self._known}
        return {node: round(now - at, 1) for node, at in since.items() if at is not None}
