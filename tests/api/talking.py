"""A client of the session for tests: it says frames, and reads them as they come."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets

from tests.api.conftest import Live

Frame = dict[str, Any]


class Talk:
    """One session. `hello` is the first frame."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.hello: Frame = {}
        self._delivered: deque[Frame] = deque()
        """Deliveries that came while the answer to something was waited for."""

    async def say(self, op: str, id: int | None = None, **fields: Any) -> None:
        """Send a frame."""
        await self.socket.send(json.dumps({"op": op, "id": id, **fields}))

    async def hear(self, timeout_s: float = 30) -> Frame:
        """The next frame."""
        return self._delivered.popleft() if self._delivered else await self._come(timeout_s)

    async def answer(self, timeout_s: float = 30) -> Frame:
        """The next frame that is no delivery; those are kept for later."""
        while True:
            frame = await self._come(timeout_s)
            if frame["op"] != "deliver":
                return frame
            self._delivered.append(frame)

    async def _come(self, timeout_s: float) -> Frame:
        async with asyncio.timeout(timeout_s):
            frame: Frame = json.loads(await self.socket.recv())
        return frame

    async def ask(self, op: str, id: int, **fields: Any) -> Frame:
        """Send a frame; its answer, which is to be the next of all but deliveries."""
        await self.say(op, id, **fields)
        frame = await self.answer()
        assert frame["id"] == id, frame
        return frame

    async def publish_only(self, topic: str, *bodies: Any, **fields: Any) -> None:
        """Publish these; the confirms come among other frames."""
        for n, body in enumerate(bodies):
            await self.say("publish", n, topic=topic, body=body, **fields)

    async def publish(self, topic: str, *bodies: Any, **fields: Any) -> None:
        """Publish these, and see them confirmed."""
        await self.publish_only(topic, *bodies, **fields)
        for n in range(len(bodies)):
            frame = await self.answer()
            assert (frame["op"], frame["id"]) == ("published", n), frame

    async def consume(self, topic: str, credit: int, id: int = 100, **fields: Any) -> None:
        """Become a consumer."""
        assert await self.ask("consume", id, topic=topic, credit=credit, **fields) == {
            "op": "consuming", "id": id, "credit": credit,
        }  # fmt: skip

    async def delivered(self, count: int, id: int = 100) -> list[Frame]:
        """So many messages, in however many frames."""
        messages: list[Frame] = []
        while len(messages) < count:
            frame = await self.hear()
            assert (frame["op"], frame["id"]) == ("deliver", id), frame
            messages += frame["messages"]
        assert len(messages) == count
        return messages

    async def is_quiet(self, for_s: float = 0.15) -> bool:
        """Whether nothing comes for a while."""
        try:
            await self.hear(for_s)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def talk(url: str, **options: Any) -> AsyncIterator[Talk]:
    """A session with the node at this URL, `http://…`."""
    address = url.replace("http", "ws", 1) + "/v1/session"
    async with websockets.connect(address, max_size=2 << 20, **options) as socket:
        found = Talk(socket)
        found.hello = await found.hear()
        yield found


@pytest.fixture
async def topic(live: Live, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A topic of the test's own."""
    name = request.node.name.replace("[", ".").replace("]", "")[:100].translate({ord(c): "_" for c in " \"'{}:,/"})
    async with httpx.AsyncClient(base_url=live.url) as client:
        answer = await client.put(f"/v1/topics/{name}", json={})
        assert answer.status_code == 201, answer.text
        yield name
        await client.delete(f"/v1/topics/{name}")


@pytest.fixture
async def session(live: Live) -> AsyncIterator[Talk]:
    """A session."""
    async with talk(live.url) as found:
        yield found


async def bodies(live: Live, topic: str) -> list[Any]:
    """What a receive would take, in order."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        answer = await client.get(f"/v1/topics/{topic}/messages", params={"limit": 1000})
    return [item["body"] for item in answer.json()["items"]]
