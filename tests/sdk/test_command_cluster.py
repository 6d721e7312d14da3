"""`rmq cluster status` and `watch` while nodes stop, and what several answers come to."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from bench.cluster import LocalCluster
from rmq.command import cluster as command
from rmq.command.main import run
from rmq.command.picture import Picture, of_answers
from rmq.topics import Cluster, Member
from tests.sdk.terminal import ROOT, Terminal


@pytest.fixture(scope="module")
def three() -> Iterator[LocalCluster]:
    with LocalCluster(3) as cluster:
        yield cluster


@pytest.fixture
def signalled(three: LocalCluster) -> Iterator[Callable[[int, int], None]]:
    """Send a signal to a node; in the end all go on."""

    def send(node: int, number: int) -> None:
        process = three.processes[node]
        assert process is not None
        os.kill(process.pid, number)

    yield send
    for node in range(3):
        send(node, signal.SIGCONT)
    three.wait_for_leader()


@pytest.fixture
def urls(three: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> str:
    found = ",".join(f"http://127.0.0.1:{port}" for port in three.ports)
    monkeypatch.setenv("RMQ_URL", found)
    return found


class Watch:
    """`rmq cluster watch --json`, read as it writes."""

    def __init__(self, urls: str) -> None:
        words = [sys.executable, "-m", "rmq", "cluster", "watch", "--json", "--every", "0.2", "--url", urls]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        self._lines = self._process.stdout

    def until(self, is_so: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """The lines up to the one of which it is so."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + 30
        while not (found and is_so(found[-1])):
            assert time.monotonic() < deadline, found[-1:]
            found.append(json.loads(self._lines.readline()))
        return found

    def end(self) -> int:
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(10)
        self._lines.close()
        return code


def answering(line: dict[str, Any]) -> list[int]:
    return [each["node"] for each in line["members"] if each["reachable"]]


def usual_gap_s(lines: list[dict[str, Any]]) -> float:
    """The time between two lines, mostly: this machine may be busy now and then."""
    times = [datetime.fromisoformat(line["at"]).timestamp() for line in lines]
    return statistics.median(after - before for before, after in itertools.pairwise(times))


def test_a_watch_sees_at_once_who_stops_and_goes_on_when_nobody_answers(
    urls: str, signalled: Callable[[int, int], None]
) -> None:
    watch = Watch(urls)
    assert watch.until(lambda line: len(answering(line)) == 3)[-1]["error"] is None
    signalled(0, signal.SIGSTOP)
    began = time.monotonic()
    lines = watch.until(lambda line: answering(line) == [1, 2])
    assert time.monotonic() - began < 5, "it is seen within the time for an answer"
    lines += watch.until(lambda line: (line["members"][0]["silent_s"] or 0) > 2)
    assert usual_gap_s(lines) < 0.9, "a node that is stopped delays nothing"
    for node in (1, 2):
        signalled(node, signal.SIGSTOP)
    lines = watch.until(lambda line: line["error"] is not None)
    lines += watch.until(lambda line: all((each["silent_s"] or 0) > 1 for each in line["members"]))
    assert usual_gap_s(lines) < 0.9
    last = lines[-1]
    assert (last["node"], last["leader"], last["term"], answering(last)) == (None, None, None, [])
    assert [each["node"] for each in last["members"]] == [0, 1, 2] and "gave no answer" in last["error"]
    for node in range(3):
        signalled(node, signal.SIGCONT)
    watch.until(lambda line: len(answering(line)) == 3 and line["leader"] is not None)
    assert watch.end() == 130


@pytest.mark.parametrize(("columns", "says"), [(80, "No answer from node 0 for 2 s, "), (140, "no answer for 2 s")])
def test_a_person_sees_for_how_long_nobody_answers(
    urls: str, signalled: Callable[[int, int], None], columns: int, says: str
) -> None:
    terminal = Terminal("cluster", "watch", columns=columns, RMQ_URL=urls)
    terminal.wait_for("Ctrl-C ends")
    for node in range(3):
        signalled(node, signal.SIGSTOP)
    terminal.wait_for(says)
    assert "No node answers." in terminal.screen
    terminal.type("\x03")
    assert terminal.end() == 130


def test_a_status_does_not_wait_for_a_node_that_is_stopped(
    urls: str, signalled: Callable[[int, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    signalled(0, signal.SIGSTOP)
    began = time.monotonic()
    assert run(["cluster", "status", "--json"]) == 0
    assert time.monotonic() - began < 5
    found = json.loads(capsys.readouterr().out)
    assert answering(found) == [1, 2]
    for member in found["members"][1:]:
        assert len(member["state_hash"]) == 32 and member["state_hash_index"] > 0 and not member["state_differs"]


def test_without_a_cluster_a_status_ends_and_a_watch_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ["--url", "http://127.0.0.1:1", "--timeout", "0"]
    assert run(["cluster", "status", *nowhere]) == 4
    assert "rmq context ls" in capsys.readouterr().err
    assert run(["cluster", "watch", "--json", "--count", "2", "--every", "0.1", *nowhere]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["node"], line["members"]) for line in lines] == [(None, [])] * 2
    assert all("could not be reached" in line["error"] and line["at"].endswith("Z") for line in lines)


# -- what several answers come to -----------------------------------------------------------------------------


def answer(node: int, *members: Member, term: int = 3, leader: int | None = 0) -> Cluster:
    return Cluster(node, leader, term, members)


def member(node: int, *, hash: str = "a", index: int = 7, reachable: bool = True, **more: Any) -> Member:
    said: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Member))
    said |= {"node": node, "url": f"http://n{node}", "peer": f"n{node}:1", "reachable": reachable}
    if reachable:
        said |= {"role": "Follower", "term": 3, "state_hash": hash, "state_hash_index": index, "ready": True}
    return Member(**said | more)


def differing(*answers: Cluster) -> list[int]:
    return [each.node for each in of_answers(answers, {}).members if each.state_differs]


def test_a_member_that_answers_only_for_itself_is_shown_as_it_says() -> None:
    majority = answer(1, member(0, reachable=False), member(1), member(2), term=4, leader=1)
    alone = answer(0, member(0, term=3), member(1, reachable=False), member(2, reachable=False), term=3)
    found = of_answers([alone, majority], {0: 5.0, 2: 5.0})
    assert (found.node, found.leader, found.term) == (1, 1, 4)
    assert [(each.reachable, each.term, each.silent_s) for each in found.members] == [(True, 3, None)] * 3


def test_replicas_that_differ_at_the_same_entry_are_told() -> None:
    assert differing(answer(0, member(0), member(1), member(2))) == []
    assert differing(answer(0, member(0), member(1, hash="b", index=6), member(2, hash="c", index=8))) == []
    assert differing(answer(0, member(0), member(1, hash="b"), member(2))) == [1]
    assert differing(answer(0, member(0), member(1, hash="b"), member(2, reachable=False))) == [0, 1]
    assert differing(answer(0, member(0), member(1, hash="b"), member(2, hash="c"))) == [0, 1, 2]
    late = answer(1, member(0, index=8, hash="x"), member(1, hash="b"), member(2, index=8, hash="x"))
    assert differing(answer(0, member(0), member(1, index=6), member(2)), late) == [1], "also across answers"


def test_a_table_says_plainly_who_differs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = of_answers([answer(0, member(0), member(1), member(2, hash="b"))], {})

    async def once(_shell: object) -> Picture:
        return found

    monkeypatch.setattr(command, "_once", once)
    assert run(["cluster", "status"]) == 0
    said = capsys.readouterr()
    assert [line.split()[-2] for line in said.out.splitlines()[1:]] == ["ready", "ready", "differs"]
    assert said.err.startswith("rmq: The replicas have diverged: node 2 has another state ")
    assert said.err.count("\n") == 1
