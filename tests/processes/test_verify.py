"""`rmq verify` against real nodes: green through a kill of the leader, red where an acknowledged message is lost."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rmq
from bench.cluster import LocalCluster
from chaos.checker import check
from chaos.history import read
from chaos.planted import Edit
from rmq.command import exits
from tests.processes.traffic import url

pytestmark = pytest.mark.timeout(400)
ROOT = Path(__file__).resolve().parents[2]
LOSS = Edit(
    "app/broker/append.py",
    """        messages.add_bodies(state, topic, run.first_id, run.first_sequence, bodies, coming)
""",
    """        if run.first_sequence % 20:
            messages.add_bodies(state, topic, run.first_id, run.first_sequence, bodies, coming)
""",
)
"""Every twentieth message of a topic that comes alone is acknowledged and not stored, on all nodes alike."""


def urls(cluster: LocalCluster) -> str:
    return ",".join(url(port, "") for port in cluster.ports)


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as three:
        yield three


@pytest.fixture
def one() -> Iterator[LocalCluster]:
    with LocalCluster(1) as one:
        yield one


class Verify:
    """The command in a pipe. `output` waits for its end, and holds it to what goes into pipes."""

    def __init__(self, nodes: str, *more: str) -> None:
        command = [sys.executable, "-m", "rmq", "verify", "--url", nodes, *more]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def output(self, code: int) -> str:
        out, err = self.process.communicate(timeout=90)
        assert (self.process.returncode, err) == (code, ""), f"{out}\n{err}"
        assert not any(ord(letter) < 32 for letter in out.replace("\n", "")), "control characters in a pipe"
        return out


def wait_until(is_so: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 40
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_load(cluster: LocalCluster, verify: Verify, entries: int = 100) -> None:
    """Until it has written so much."""
    wait_until(lambda: ((cluster.status(0) or {}).get("commit_index") or 0) > entries, verify.process)


def is_pending(pid: int, number: int) -> bool:
    """Whether this signal was sent and not yet taken; a second one would be lost in it."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (pending,) = (int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd"))
    return bool(pending >> (number - 1) & 1)


def topics(cluster: LocalCluster) -> list[str]:
    with rmq.Client(urls(cluster)) as client:
        return [topic.name for topic in client.topics()]


def test_the_leader_is_killed_and_nothing_is_wrong(cluster: LocalCluster, tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    verify = Verify(urls(cluster), "--seconds", "15", "--keep", str(history))
    wait_for_load(cluster, verify)
    leader = cluster.wait_for_leader()
    cluster.kill(leader)
    cluster.wait_for_leader()
    cluster.start(leader)
    lines = verify.output(exits.DONE).splitlines()
    load = re.match(r"Load: +(\d+\.\d) s", lines[0])
    assert load and float(load[1]) >= 15 and "4 publishers and 4 consumers" in lines[0]
    assert f"node {leader} (term " in lines[1] and lines[1].count("term") >= 2
    assert "messages published" in lines[2] and "acked" in lines[2] and "states compared" in lines[2]
    assert "log files were not read" in lines[3]
    assert lines[-1].startswith("Verdict:     nothing is wrong.")
    report = check(read(history))
    assert report.valid and report.checked["lists of topics"] == 1
    assert report.checked["of them handed out again"] and report.checked["messages received"]
    assert topics(cluster) == []


def test_an_acknowledged_message_that_is_lost_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / LOSS.path
    source = path.read_text(encoding="utf-8")
    assert source.count(LOSS.old) == 1, "the planted loss has rotted: mend its text"
    path.write_text(source.replace(LOSS.old, LOSS.new), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with LocalCluster(3) as cluster:
        verify = Verify(urls(cluster), "--seconds", "60")
        wait_for_load(cluster, verify, 300)
        verify.process.send_signal(signal.SIGINT)
        out = verify.output(exits.WRONG)
        assert "\nlost, " in out and " times\n" in out
        assert "acknowledged in line" in out
        assert "was never received, though" in out or "was never acked, though nothing was left" in out
        assert out.splitlines()[-1].startswith("Verdict:     WRONG.")
        assert topics(cluster) == []


def test_no_cluster_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    from rmq.command.main import run

    began = time.monotonic()
    assert run(["verify", "--url", "http://127.0.0.1:1"]) == exits.UNAVAILABLE
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("rmq: http://127.0.0.1:1 could not be reached")
    assert time.monotonic() - began < 30, "a few seconds, and patience with a slow machine"


def test_a_cluster_that_does_not_come_back_is_no_verdict(cluster: LocalCluster) -> None:
    verify = Verify(urls(cluster), "--seconds", "60", "--timeout", "1.5", "--json")
    wait_for_load(cluster, verify)
    cluster.kill(1)
    cluster.kill(2)
    wait_until(lambda: (cluster.status(0) or {}).get("leader") is None, verify.process)
    verify.process.send_signal(signal.SIGINT)
    out, err = verify.process.communicate(timeout=60)
    assert verify.process.returncode == exits.UNAVAILABLE
    found = json.loads(out)
    assert (found["verdict"], found["anomalies"]) == ("inconclusive", [])
    assert found["inconclusive_because"] == "the cluster did not come back within 6 s"
    assert err.count("`rmq topic rm rmq-verify-") == 2, "it says what is left behind"


def test_a_topic_that_is_gone_is_found(one: LocalCluster) -> None:
    verify = Verify(urls(one), "--seconds", "60", "--timeout", "2")
    wait_for_load(one, verify)
    with rmq.Client(urls(one)) as client:
        for topic in topics(one):
            client.delete_topic(topic)
    verify.process.send_signal(signal.SIGINT)
    out = verify.output(exits.WRONG)
    assert "\ntopic_stale, 2 times\n" in out and "is not in the list of line" in out
    assert "somebody else has deleted the topic" in out


def test_the_first_interrupt_ends_the_load_and_the_second_one_all(one: LocalCluster) -> None:
    verify = Verify(urls(one), "--seconds", "60", "--json")
    wait_for_load(one, verify)
    verify.process.send_signal(signal.SIGINT)
    found = json.loads(verify.output(exits.DONE))
    assert found["verdict"] == "passed" and found["seconds"] < 60 and found["acknowledged"] > 0
    verify = Verify(urls(one), "--seconds", "60")
    entries = (one.status(0) or {})["commit_index"]
    wait_for_load(one, verify, entries + 100)
    verify.process.send_signal(signal.SIGINT)
    wait_until(lambda: not is_pending(verify.process.pid, signal.SIGINT), verify.process)
    verify.process.send_signal(signal.SIGINT)
    assert verify.output(exits.INTERRUPTED) == ""
    assert topics(one) == []


def test_a_terminal_shows_how_it_goes_and_then_the_result_alone(one: LocalCluster) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-m", "rmq", "verify", "--url", urls(one), "--seconds", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side has gone
            break
        if not part:
            break
        shown += part
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == exits.DONE
    assert b" s of 2" in shown and b"acknowledged" in shown and b"node 0 leads, term 1" in shown
    assert out.startswith("Load:") and "\x1b" not in out
