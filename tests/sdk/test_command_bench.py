"""`rmq bench`: its numbers add up, it leaves nothing behind however it ends, and pipes get no control characters."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rmq
from bench.cluster import LocalCluster
from rmq.command import exits, scratch
from rmq.command.bench import figures
from rmq.command.benching import Load, Taken
from rmq.command.main import run

ROOT = Path(__file__).resolve().parents[2]


PATIENT = """
import sys
import rmq
from rmq.__main__ import main
from rmq.command import scratch
scratch.BRIEF = rmq.Retry(total_s=60)
sys.exit(main())
"""
"""The command, which takes its time to delete its topic on a machine that is held up."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "BRIEF", rmq.Retry(total_s=60))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalCluster(1) as one:
        yield f"http://127.0.0.1:{one.ports[0]}"


def topics(url: str) -> list[rmq.Topic]:
    with rmq.Client(url) as client:
        return list(client.topics())


@pytest.mark.parametrize(
    ("mode", "published", "consumed"),
    [("await", 90, {90}), ("batch", 5, {*range(5, 91)}), ("session", 90, {*range(1, 91)})],
)
def test_its_numbers_add_up(
    url: str, capsys: pytest.CaptureFixture[str], mode: str, published: int, consumed: set[int]
) -> None:
    more = ["--messages", "90", "--size", "64", "--clients", "3", "--mode", mode, "--batch", "20"]
    assert run(["bench", "--url", url, "--json", *more]) == exits.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["messages"] == 90 and found["mode"] == mode and found["cluster"] == [url]
    assert found["publish"]["operations"] == published
    assert found["receive_and_ack"]["operations"] in consumed
    for each in (found["publish"], found["receive_and_ack"]):
        assert 0 < each["p50_ms"] <= each["p99_ms"] <= each["p99_9_ms"]
        most_off_s = 0.0005  # They are whole milliseconds, and may be few.
        assert 90 / (each["seconds"] + most_off_s) - 0.1 <= each["messages_per_s"]
        assert each["messages_per_s"] * (each["seconds"] - most_off_s) <= 90.1
        assert each["mib_per_s"] == pytest.approx(64 * each["messages_per_s"] / (1 << 20), abs=0.001)
    assert topics(url) == []


def test_in_a_pipe_there_are_lines_and_nothing_else(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--url", url, "--messages", "20", "--no-consume"]) == exits.DONE
    out, err = capfd.readouterr()
    first, head, row = out.splitlines()
    assert first == f"20 messages of 100 bytes, 8 clients, mode await: {url}"
    assert head.split()[:3] == ["MSGS/S", "MIB/S", "P50"] and row.startswith("publish ")
    assert err == "" and not any(ord(letter) < 32 for letter in out.replace("\n", ""))


def test_percentiles_are_exact() -> None:
    load: Any = Load(None, "t", 1000, 1 << 20, 1, 1, False, lambda count: None)  # type: ignore[arg-type]
    found = figures(load, Taken([n / 1000 for n in range(1000, 0, -1)], 4.0))
    assert (found["p50_ms"], found["p99_ms"], found["p99_9_ms"]) == (500, 990, 999)
    assert (found["messages_per_s"], found["mib_per_s"]) == (250, 250)
    assert figures(load, Taken([0.003], 1.0))["p99_9_ms"] == 3


def test_a_topic_that_is_there_is_not_touched(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with rmq.Client(url) as client:
        client.create_topic("mine")
        client.publish("mine", "precious")
        assert run(["bench", "mine", "--url", url, "--messages", "5"]) == exits.USAGE
        assert "There is a topic mine already" in capsys.readouterr().err
        assert client.topic("mine").messages == 1
        client.delete_topic("mine")
    assert run(["bench", "mine", "--url", url, "--messages", "5"]) == exits.DONE
    assert topics(url) == []


@pytest.mark.parametrize(
    ("number", "code", "mode"), [(signal.SIGINT, exits.INTERRUPTED, "session"), (signal.SIGTERM, 143, "await")]
)
def test_who_stops_it_finds_its_topic_gone(url: str, number: int, code: int, mode: str) -> None:
    command = [sys.executable, "-c", PATIENT, "bench", "--url", url, "--messages", "1000000", "--mode", mode]
    command += ["--clients", "2"]
    bench = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not any(topic.messages for topic in topics(url)):
        assert time.monotonic() < deadline and bench.poll() is None
        time.sleep(0.05)
    bench.send_signal(number)
    _, err = bench.communicate(timeout=90)
    assert (bench.returncode, err) == (code, "")
    assert topics(url) == []


def test_without_a_cluster_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--url", "http://127.0.0.1:1", "--timeout", "1"]) == exits.UNAVAILABLE
    assert "http://127.0.0.1:1 could not be reached" in capsys.readouterr().err
