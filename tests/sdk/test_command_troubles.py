"""`rmq` where something around it fails: still one sentence, and an exit code that says what is known."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from app.broker.commands import Ack
from app.node.errors import OutcomeUnknown
from bench.cluster import LocalCluster
from rmq import Client
from rmq.command import subscribing
from rmq.command.main import run
from tests.api.conftest import Live
from tests.sdk.terminal import ROOT, piped


@pytest.fixture
def live() -> Iterator[Live]:
    with Live() as served:
        yield served


@pytest.fixture
def url(live: Live, monkeypatch: pytest.MonkeyPatch) -> str:
    found = f"http://127.0.0.1:{live.port}"
    monkeypatch.setenv("RMQ_URL", found)
    with Client(found) as client:
        client.create_topic("t")
        client.publish_many("t", ["a", "b", "c"])
    return found


def test_acks_that_nobody_answers_may_or_may_not_count(
    live: Live, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subscribing, "FLUSH_S", 0.2)
    live.node.holds = Ack
    code = run(["sub", "t", "--count", "3"])
    said = capsys.readouterr()
    assert (code, said.out) == (5, "a\nb\nc\n")
    assert said.err.startswith("rmq: ") and said.err.count("\n") == 1 and "come again" in said.err
    live.node.holds = None


def test_who_has_no_key_is_not_told_to_use_it_again(live: Live, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    live.node.fail = OutcomeUnknown("the leader was lost")
    assert run(["pub", "t", "x", "--timeout", "0"]) == 5
    said = capsys.readouterr().err
    assert "rmq peek" in said and "same key" not in said and said.count("\n") == 1


def test_a_session_that_cannot_go_on_says_why_and_once() -> None:
    with LocalCluster(1) as alone:
        url = f"http://127.0.0.1:{alone.ports[0]}"
        with Client(url) as client:
            client.create_topic("t")
            client.publish("t", "a")
        words = [sys.executable, "-m", "rmq", "sub", "t", "--timeout", "0", "--url", url]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as process:
            assert process.stdout is not None and process.stdout.readline() == "a\n"
            with Client(url) as client:
                # Killed before the ack was said, there is nothing in doubt, and the exit code is another one.
                deadline = time.monotonic() + 20
                while client.topic("t").messages:
                    assert time.monotonic() < deadline, "it is never acked"
            alone.kill(0)
            _, err = process.communicate(timeout=30)
    assert process.returncode == 5 and err.count("\n") == 1
    assert err.startswith(f"rmq: The session is over: {url} ")
    assert "could not be reached" in err or "the connection ended" in err


@pytest.mark.parametrize(
    ("words", "where", "code", "says"),
    [
        ("topic ls", ">/dev/full", 4, "rmq: What comes out cannot be written (No space left on device): "),
        ("topic ls --json", ">/dev/full", 4, "rmq: What comes out cannot be written (No space left on device): "),
        ("sub t --count 1", ">/dev/full", 4, "rmq: What comes out cannot be written (No space left on device): "),
        ("sub t --count 1", ">&-", 2, "rmq: Standard output is closed: "),
        ("pub t", "<&-", 2, "rmq: Standard input is closed: "),
        ("topic show nosuch", "2>&-", 2, ""),
    ],
)
def test_what_cannot_be_read_or_written_is_a_sentence(
    live: Live, url: str, words: str, where: str, code: int, says: str
) -> None:
    line = f"{sys.executable} -m rmq {words} {where}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code and done.stderr.startswith(says) and done.stderr.count("\n") == bool(says)
    with Client(url) as client:
        assert client.topic("t").messages == 3, "what was not written is not acked, what was not read is not sent"


def test_what_a_terminal_has_no_letters_for_is_written_all_the_same(live: Live, url: str) -> None:
    with Client(url) as client:
        client.purge("t")
        client.publish("t", "é → x")
    assert piped("sub", "t", "--count", "1", PYTHONIOENCODING="ascii").out == "\\xe9 \\u2192 x\n"
