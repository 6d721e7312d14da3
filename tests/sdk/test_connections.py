"""How requests travel: through a proxy, to a node that hangs or hangs up, from many threads or tasks."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

import rmq
from rmq import errors
from tests.api.conftest import Live
from tests.sdk.faces import FACES

STORED = b'{"messages":[{"id":"1","sequence":1,"duplicate":false}]}'


class Stub(http.server.BaseHTTPRequestHandler):
    """Stores all. `seen`: path and headers of each request. `hangs`: before it answers; `hangs_up`: after it."""

    seen: ClassVar[list[tuple[str, dict[str, str]]]]
    hangs: ClassVar[threading.Event]
    hangs_up = False
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.rfile.read(int(self.headers["content-length"]))
        if self.hangs.is_set():
            time.sleep(1)
        with contextlib.suppress(OSError):  # Who has given up does not listen any more.
            self.send_response(201)
            self.send_header("content-length", str(len(STORED)))
            self.end_headers()
            self.wfile.write(STORED)
        self.close_connection = self.hangs_up

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stub() -> Iterator[type[Stub]]:
    kind = type("Stub", (Stub,), {"seen": [], "hangs": threading.Event()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    kind.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield kind
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("face", FACES)
def test_a_proxy_of_the_environment_is_used_but_for_those_without(
    face: Any, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", stub.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    queue = face("http://node.invalid:8001")
    assert queue("publish", "t", 1).sequence == 1
    queue.close()
    direct = face(stub.url)
    direct("publish", "t", 1)
    direct.close()
    paths = [path for path, _ in stub.seen]
    assert paths == ["http://node.invalid:8001/v1/topics/t/messages", "/v1/topics/t/messages"]


@pytest.mark.parametrize("face", FACES)
def test_headers_of_the_program_come_with_each_request(face: Any, stub: Any) -> None:
    queue = face(stub.url, headers={"authorization": "secret", "user-agent": "mine"})
    queue("publish", "a b", 1, key="one")
    queue("publish_many", "t", ["x" * (1 << 20)])
    queue.close()
    (path, first), (_, second) = stub.seen
    assert path == "/v1/topics/a%20b/messages"
    assert (first["authorization"], first["user-agent"], first["idempotency-key"]) == ("secret", "mine", "one")
    assert second["authorization"] == "secret" and int(second["content-length"]) > 1 << 20


@pytest.mark.parametrize("face", FACES)
def test_a_node_that_hangs_or_hangs_up_costs_a_try_and_no_more(face: Any, stub: Any) -> None:
    stub.hangs_up = True
    queue = face(stub.url, retry=rmq.Retry(total_s=0.4, attempt_s=0.2))
    for _ in range(3):
        assert queue("publish", "t", 1).sequence == 1
    stub.hangs.set()
    began = time.monotonic()
    with pytest.raises(errors.OutcomeUnknown, match="took too long"):
        queue("publish", "t", 1)
    assert time.monotonic() - began < 3
    stub.hangs.clear()
    assert queue("publish", "t", 1).sequence == 1
    queue.close()


@pytest.mark.parametrize("verify", [True, False, ssl.create_default_context()], ids=["yes", "no", "context"])
@pytest.mark.parametrize("face", FACES)
def test_who_does_not_speak_tls_is_told_apart(face: Any, stub: Any, verify: Any) -> None:
    queue = face(stub.url.replace("http:", "https:"), verify=verify, retry=rmq.Retry(total_s=0))
    with pytest.raises(errors.NotRMQ, match="write http://"):
        queue("publish", "t", 1)
    queue.close()


@contextmanager
def answering(*answers: bytes, reads: bool = True) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers the n-th request of all connections with the n-th of these, and then hangs up unless more
    are to come. -> its port, and the requests."""
    seen: list[bytes] = []
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve() -> None:
            left = list(answers)
            while not over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(5)
                        while reads and (data := connection.recv(1 << 20)):
                            seen.append(data)
                            answer = left.pop(0) if left else b""
                            connection.sendall(answer)
                            if not answer.endswith(STORED):
                                break
                        over.wait(0 if reads else 5)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], seen
        finally:
            over.set()
            thread.join()


OK = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(STORED) + STORED
ONCE = rmq.Retry(total_s=0, attempt_s=1)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(("call", "how"), [("delete_topic", b"DELETE"), ("topic", b"GET"), ("publish", b"POST")])
def test_nothing_is_sent_twice_by_itself(face: Any, call: str, how: bytes) -> None:
    """A node that dies with a request in hand may have done it: who says it again must not forget that."""
    with answering(OK, b"") as (port, seen):
        queue = face(f"http://127.0.0.1:{port}", retry=ONCE)
        queue("publish", "t", 1)
        with pytest.raises(errors.Error) as found:
            queue(call, "t", *([1] if call == "publish" else []))
        queue.close()
    assert [data.split()[0] for data in seen] == [b"POST", how]
    assert found.value.outcome == ("not_committed" if call == "topic" else "unknown")


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("cut", [b"HTT", b"HTTP/1.1 2", b"HTTP/1.1 201 Created\r\n", OK[:60], OK[:-1]])
def test_an_answer_that_is_cut_off_is_asked_for_again(face: Any, cut: bytes) -> None:
    with answering(cut, OK) as (port, seen):
        queue = face(f"http://127.0.0.1:{port}", retry=rmq.Retry(total_s=5))
        assert queue("publish", "t", 1).sequence == 1
        queue.close()
    assert len(seen) == 2


@pytest.mark.parametrize("face", FACES)
def test_what_comes_before_an_answer_is_none_and_is_not_taken_for_the_next_one(face: Any) -> None:
    early = b"HTTP/1.1 102 Processing\r\n\r\n"
    with answering(early + OK.replace(b'"1"', b'"7"'), OK, OK) as (port, _):
        queue = face(f"http://127.0.0.1:{port}", retry=rmq.Retry(total_s=5))
        found = [queue("publish", "t", 1).id for _ in range(2)]
        queue.close()
    assert found in (["1", "1"], ["7", "1"])


@pytest.mark.parametrize("face", FACES)
def test_a_proxy_that_hangs_up_leaves_it_open(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"") as (port, seen):
        monkeypatch.setenv("http_proxy", f"user:pass%21@127.0.0.1:{port}")
        queue = face("http://node.invalid:8001", retry=ONCE)
        with pytest.raises(errors.OutcomeUnknown):
            queue("publish", "t", 1)
        queue.close()
    assert b"proxy-authorization: basic dxnlcjpwyxnziq==" in seen[0].lower()
    monkeypatch.setenv("no_proxy", f"127.0.0.1:{port}")
    queue = face(f"http://127.0.0.1:{port}", retry=ONCE)
    with pytest.raises(errors.CannotConnect):
        queue("publish", "t", 1)
    queue.close()


@pytest.mark.parametrize("face", FACES)
def test_what_nobody_takes_is_not_written_for_ever(face: Any) -> None:
    with answering(reads=False) as (port, _):
        queue = face(f"http://127.0.0.1:{port}", retry=rmq.Retry(total_s=0, attempt_s=0.3, connect_s=0.3))
        began = time.monotonic()
        with pytest.raises(errors.OutcomeUnknown, match="took too long"):
            queue("publish", "t", "x" * (16 << 20))
        assert time.monotonic() - began < 4
    # What it still had to write goes with the server's end, which the loop has to hear of.
    with pytest.raises(errors.CannotConnect):
        queue("topic", "t")
    queue.close()


@pytest.mark.parametrize("face", FACES)
def test_a_user_may_stand_in_the_url_and_times_may_be_none(face: Any, stub: Any) -> None:
    queue = face(stub.url.replace("//", "//me:a%20b@"), retry=rmq.Retry(total_s=0, attempt_s=float("inf")))
    assert queue("publish", "t", 1).sequence == 1
    queue.close()
    queue = face(stub.url.replace("//", "//me:x@"), headers={"Authorization": "mine"})
    queue("publish", "t", 1)
    queue.close()
    assert [headers["authorization"] for _, headers in stub.seen] == ["Basic bWU6YSBi", "mine"]
    stub.hangs.set()
    queue = face(stub.url, retry=rmq.Retry(total_s=0, attempt_s=0))
    with pytest.raises(errors.OutcomeUnknown, match="took too long"):
        queue("publish", "t", 1)
    queue.close()


def test_many_at_once_each_get_their_own_answer() -> None:
    with Live() as live, rmq.Client(live.url) as client:
        client.create_topic("t")
        found: list[int] = []

        def publish(first: int) -> None:
            for n in range(first, first + 5):
                found.append(client.publish("t", n).sequence)

        threads = [threading.Thread(target=publish, args=(5 * n,)) for n in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        async def tasks() -> list[int]:
            async with rmq.AsyncClient(live.url) as other:
                return [place.sequence for place in await asyncio.gather(*(other.publish("t", n) for n in range(200)))]

        found += asyncio.run(tasks())
        assert sorted(found) == list(range(1, 401))


def test_a_client_of_another_event_loop_says_so(stub: Any) -> None:
    with asyncio.Runner() as first, asyncio.Runner() as second:
        client = rmq.AsyncClient(stub.url)
        assert first.run(client.publish("t", 1)).sequence == 1
        with pytest.raises(errors.ClientClosed, match="another event loop"):
            second.run(client.publish("t", 1))
        assert first.run(client.publish("t", 1)).sequence == 1
        first.run(client.close())
        with pytest.raises(errors.ClientClosed, match="was closed"):
            first.run(client.publish("t", 1))


def test_a_client_that_nobody_closes_makes_no_noise(stub: Any) -> None:
    """In a process of its own, whose event loop ends before it, and in one that lets the client go."""
    script = f"""
import asyncio, gc, rmq
kept = rmq.AsyncClient({stub.url!r})
async def main():
    await kept.publish("t", 1)
    await rmq.AsyncClient({stub.url!r}).publish("t", 1)
    gc.collect()
    await asyncio.sleep(0.1)
asyncio.run(main())
rmq.Client({stub.url!r}).publish("t", 1)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr, len(stub.seen)) == (0, "", 3)
