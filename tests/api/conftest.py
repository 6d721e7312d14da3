"""A fake node behind the real application: in process (`client`), and behind the real server (`live`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import uvloop

from app.api.app import create_app
from app.api.polls import LongPolls
from app.api.server import Server, build_server
from app.broker import commands
from app.broker.commands import CreateTopic
from app.config import Endpoint, NodeAddress
from tests.api.fake_node import FakeNode, settings


class Live:
    """A served fake node; a context. `run` executes a coroutine function on its event loop, from any thread."""

    def __init__(self, **changes: Any) -> None:
        anywhere = Endpoint("127.0.0.1", 0)
        self.settings = settings(node=0, nodes=(NodeAddress(anywhere, "", anywhere, anywhere),), **changes)
        self.node: FakeNode
        self.server: Server
        self.port = 0
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()), name="live")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.node = FakeNode()
        self.server = build_server(create_app(self.node, self.settings), self.settings)  # type: ignore[arg-type]
        await self.server.serve()
        self.node.machine.close()

    def __enter__(self) -> Live:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the port answers."""
        self._thread.start()
        while not getattr(getattr(self, "server", None), "started", False):
            assert self._thread.is_alive()
            threading.Event().wait(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        """As the composition root does it."""
        self._loop.call_soon_threadsafe(self.node.stopping.set)
        self.server.should_exit = True
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()

    def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """The result of `await function()` on the server's loop."""

        async def call() -> Any:
            return await function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
async def polls(node: FakeNode) -> LongPolls:
    """Long polls at the node, which has a topic "t" then."""
    node.apply(commands.encode(CreateTopic("t")))
    return LongPolls(node.machine, node.stopping)


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    """One for all tests; they use topics of their own."""
    with Live() as served:
        yield served


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """A fresh node."""
    fake = FakeNode()
    yield fake
    fake.machine.close()


@pytest.fixture
async def client(node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
    """Straight into the application."""
    transport = httpx.ASGITransport(create_app(node, settings()))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as found:
        yield found


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests of this folder run on asyncio."""
    return "asyncio"
