"""Consumers at long polls, for tests: who looks when, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from app.api.calls import Call
from app.api.polls import LongPolls
from app.broker import commands, results
from app.broker.commands import NewMessage, Publish
from tests.api.fake_node import FakeNode


class Consumer:
    """One poller on a topic; `hang_up` is the client's."""

    def __init__(
        self, node: FakeNode, polls: LongPolls, wait_s: float = 60, most: int = 1, subscription: str = "default",
        lease_ms: int | None = None, again: bool = False,
    ) -> None:  # fmt: skip
        self._node = node
        self._asked = commands.Receive("t", subscription, most, lease_ms is None, lease_ms)
        self._gone = asyncio.Event()
        self.takes = 0
        self.looked = asyncio.Event()
        self.given_back: list[bytes] = []
        call = Call({"headers": []}, self._receive, ())
        place = ("t", subscription)
        self.task = asyncio.ensure_future(
            polls.receive(call, place, wait_s, self._take, self._give_back, wanted=most, again=again)
        )

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _take(self) -> results.Received:
        self.takes += 1
        found = results.decode(await self._node.submit(commands.encode(self._asked), timeout_s=1))
        assert isinstance(found, results.Received)
        self.looked.set()
        return found

    async def _give_back(self, received: results.Received) -> None:
        self.given_back = [message.body for message in received.messages]

    def hang_up(self) -> None:
        self._gone.set()

    async def bodies(self) -> list[bytes]:
        return [message.body for message in (await self.task).messages]


def publish(node: FakeNode, *bodies: bytes) -> None:
    node.apply(commands.encode(Publish("t", [NewMessage(body) for body in bodies])))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def have_looked(consumers: Iterable[Consumer]) -> None:
    """Those that were not alone when they came look after a while."""
    async with asyncio.timeout(15):
        for consumer in consumers:
            await consumer.looked.wait()
    await settle()


def hold_up(node: FakeNode, before: Callable[[], object] = lambda: None) -> tuple[asyncio.Event, asyncio.Event]:
    """The next take is done at once, after `before`, and answered later. -> set when it is done, and to be set."""
    done, release = asyncio.Event(), asyncio.Event()

    async def submit(command: bytes, **options: Any) -> bytes:
        del node.submit  # type: ignore[misc]
        before()
        found = await FakeNode.submit(node, command, **options)
        done.set()
        await release.wait()
        return found

    node.submit = submit  # type: ignore[method-assign]
    return done, release
