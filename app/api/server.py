"""uvicorn, as a node wants it: fast parts, our limits, no signal handlers, an end that comes.

Rules of this file: signals belong to the composition root. To stop, it sets `node.stopping` first (long polls
end), then `server.should_exit`; requests in flight have `shutdown_timeout_s` from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import uvicorn

from app.api.app import Api
from app.api.short_way import protocol
from app.api.websocket_protocol import WebSocketProtocol

if TYPE_CHECKING:
    from app.config import Settings

GOODBYE_S, GLANCE_S = 1.0, 0.005
KEEP_ALIVE_S = 75
"""Longer than what common clients and proxies keep (60 s), so that they close first and lose no request."""


class Server(uvicorn.Server):
    """uvicorn without its grip on signals, and without its own way to end the process."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`. Raises OSError where the address cannot be bound; uvicorn would exit."""
        bound = sockets or await listen(self.config.host, self.config.port, self.config.backlog)
        await super().serve(bound)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nobody more, let sessions say goodbye, then as ever: that would cut them off at once."""
        for server in self.servers:
            server.close()
        for _ in range(round(GOODBYE_S / GLANCE_S)):
            if not any(isinstance(each, WebSocketProtocol) for each in self.server_state.connections):
                break
            await asyncio.sleep(GLANCE_S)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to whoever runs the process."""
        yield


async def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listening sockets, one for each address that the host's name stands for. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address[:2]) for family, _, _, _, address in found):
            sockets.append(socket.create_server(address, family=family, backlog=backlog))
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def build_server(app: Api, settings: Settings) -> Server:
    """A server for the application on `settings.me.client_bind`; `await server.serve()` runs it.

    Of the settings request_timeout_s, body_limit_bytes and shutdown_timeout_s are read, too.
    """
    bind = settings.me.client_bind
    config = uvicorn.Config(
        app,
        host=bind.host,
        port=bind.port,
        loop="uvloop",
        http=protocol(settings.request_timeout_s, settings.body_limit_bytes, app.hot_paths),
        ws=WebSocketProtocol,
        ws_max_size=settings.body_limit_bytes,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_timeout_s) - 1),
    )
    return Server(config)
