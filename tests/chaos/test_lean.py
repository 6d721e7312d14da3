"""The clients' transport: connections are kept, nothing is sent twice, what breaks is told as httpx tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from chaos.clients.lean import LeanTransport

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nrmq-code: x\r\n\r\n{}"
CLOSING = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"


class Server:
    """Answers each request with the bytes that `answer` names; None: it hangs up; empty: it says nothing."""

    def __init__(self, answer: Callable[[int], bytes | None]) -> None:
        self.answer, self.connections, self.requests = answer, 0, list[bytes]()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                self.requests.append(head + await reader.readexactly(length))
                answer = self.answer(len(self.requests))
                if answer is None:
                    return
                for byte in range(0, len(answer), 7):
                    writer.write(answer[byte : byte + 7])
                    await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def talking(answer: Callable[[int], bytes | None]) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient(timeout=None, trust_env=False, transport=LeanTransport()) as http:
        yield server, http
    listening.close()


def test_a_connection_is_kept_and_requests_arrive_whole() -> None:
    async def main() -> None:
        async with talking(lambda number: CHUNKED if number == 2 else OK) as (server, http):
            for _ in range(3):
                answer = await http.request("PUT", f"{server.url}/message", json={"topic": "é"}, headers={"key": "k"})
                assert (answer.status_code, answer.json()) == (200, {})
            assert answer.headers["rmq-code"] == "x"
            assert server.connections == 1
            assert server.requests[0].startswith(b"PUT /message HTTP/1.1\r\n") and b"key: k\r\n" in server.requests[0]
            assert server.requests[0].endswith('\r\n\r\n{"topic":"é"}'.encode())

    asyncio.run(main())


def test_requests_at_once_have_a_connection_each() -> None:
    async def main() -> None:
        async with talking(lambda number: OK) as (server, http):
            for _ in range(2):
                await asyncio.gather(*(http.get(server.url) for _ in range(4)))
            assert server.connections == 4

    asyncio.run(main())


def test_a_connection_that_the_server_closes_is_not_used_again() -> None:
    async def main() -> None:
        async with talking(lambda number: CLOSING) as (server, http):
            for _ in range(2):
                assert (await http.get(server.url)).status_code == 200
            assert server.connections == 2

    asyncio.run(main())


@pytest.mark.parametrize("answer", [None, b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"])
def test_who_hangs_up_or_talks_nonsense_leaves_it_unknown_and_is_not_asked_twice(answer: bytes | None) -> None:
    async def main() -> None:
        async with talking(lambda number: answer if number == 2 else OK) as (server, http):
            await http.get(server.url)
            with pytest.raises(httpx.RemoteProtocolError):
                await http.put(server.url)
            assert len(server.requests) == 2
            assert (await http.get(server.url)).status_code == 200
            assert server.connections == 2

    asyncio.run(main())


def test_a_request_that_was_given_up_leaves_no_connection_to_be_used_again() -> None:
    async def main() -> None:
        async with talking(lambda number: b"" if number == 1 else OK) as (server, http):
            asking = asyncio.create_task(http.get(server.url))
            while not server.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert (await http.get(server.url)).json() == {}
            assert server.connections == 2

    asyncio.run(main())


def test_nobody_there_is_said_to_be_so() -> None:
    async def main() -> None:
        async with httpx.AsyncClient(transport=LeanTransport()) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get("http://127.0.0.1:1")

    asyncio.run(main())
