"""`rmq pub --lines` that is stopped half-way: what it says is stored is what is stored."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app.node.errors import DiskFull, NodeError, OutcomeUnknown
from rmq import Client
from rmq.command.many import ranges
from tests.api.conftest import Live
from tests.sdk.terminal import ROOT, piped

LINES = 20_000
FULL = DiskFull("the leader's disk is full: free some space there, or consume; nothing was stored")


@pytest.fixture
def live() -> Iterator[Live]:
    with Live() as served:
        with Client(url(served)) as client:
            client.create_topic("t")
        yield served


def url(live: Live) -> str:
    return f"http://127.0.0.1:{live.port}"


def fail(live: Live, error: NodeError, frames: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the frames that publish these come to an error; the others are stored."""
    submit, count = live.node.submit, 0

    async def some(command: bytes, **options: Any) -> bytes:
        nonlocal count
        count += 1
        if count in frames:
            raise error
        return await submit(command, **options)

    monkeypatch.setattr(live.node, "submit", some)


def publish(live: Live, *more: str, lines: int = LINES) -> tuple[int, str, str]:
    given = "".join(f"{number}\n" for number in range(1, lines + 1))
    return piped("pub", "t", "--lines", *more, given=given, RMQ_URL=url(live))


def stored(live: Live) -> list[int]:
    with Client(url(live)) as client:
        return [int(str(each.body)) for each in client.peek("t")]


def numbers(found: list[list[int]]) -> set[int]:
    return {number for first, last in found for number in range(first, last + 1)}


def test_a_disk_that_fills_half_way_leaves_no_doubt_of_what_is_stored(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(live, FULL, {5}, monkeypatch)
    code, out, err = publish(live, "--json")
    there, said = stored(live), json.loads(out)
    assert code == 6 and 0 < len(there) < LINES
    assert (said["stored"], said["unknown"]) == (len(there), [])
    assert numbers(said["not_stored"]) == set(range(1, said["sent"] + 1)) - set(there)
    first = said["not_stored"][0][0]
    assert err.startswith(f"rmq: {len(there):,} of {said['sent']:,} lines are stored in t for certain; not ")
    assert f"{first:,}" in err and f"Nothing after line {said['sent']:,} was sent." in err
    assert err.count("\n") == 1 and "nothing was stored" not in err and err.count("free") + err.count("Free") <= 1


def test_what_nobody_knows_is_said_to_be_unknown(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(live, OutcomeUnknown("the leader was lost"), {3}, monkeypatch)
    code, out, err = publish(live, "--json")
    there, said = stored(live), json.loads(out)
    assert code == 5 and said["stored"] == len(there) > 0
    assert numbers(said["unknown"]) == set(range(1, said["sent"] + 1)) - set(there)
    assert "; not known of " in err and "dedup-id" in err and err.count("\n") == 1


def test_where_nothing_is_stored_it_did_not_happen(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(live, FULL, set(range(1, 9)), monkeypatch)
    code, out, err = publish(live, lines=20)
    assert (code, out, stored(live)) == (4, "", [])
    assert "nothing was stored" in err and "Free space" not in err and err.count("\n") == 1


def test_a_line_that_cannot_be_sent_does_not_leave_the_ones_before_in_doubt(live: Live) -> None:
    done = piped("pub", "t", "--lines", "--form", "json", given="1\n2\n{\n4\n", RMQ_URL=url(live))
    assert (done.code, stored(live)) == (6, [1, 2])
    assert done.err.startswith("rmq: 2 of 2 lines are stored in t for certain. Nothing after line 2 was sent. ")
    assert "no JSON" in done.err and done.err.count("\n") == 1
    first = piped("pub", "t", "--lines", "--form", "json", given="{\n4\n", RMQ_URL=url(live))
    assert first.code == 2 and first.err.startswith("rmq: The body is no JSON")


def test_who_is_stopped_says_what_is_stored(live: Live) -> None:
    words = [sys.executable, "-m", "rmq", "pub", "t", "--lines", "--url", url(live)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdin is not None
    process.stdin.write("1\n2\n")
    process.stdin.flush()
    while stored(live) != [1, 2]:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.startswith("rmq: 2 of 2 lines are stored in t for certain.")


def test_numbers_are_told_as_ranges() -> None:
    assert ranges([5, 1, 2, 3, 7, 8]) == [(1, 3), (5, 5), (7, 8)] and ranges([]) == []
