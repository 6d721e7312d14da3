"""How it scales: sweeps, turns and runs on made-up clusters, clients and clocks; the command line; what is saved."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.config.settings import MIB
from bench import __main__ as command
from bench import loads
from bench.http import request_bytes
from bench.loads import Taken, Tally
from bench.options import options
from bench.report import Head
from bench.scale import backlog, points, report, run
from bench.scale.backlog import BATCH, TURN, turns
from bench.scale.run import Plan, grow
from bench.scale.sweeps import (
    BACKLOG,
    BY_KEY,
    PUBLISH,
    SWEEPS,
    TAKE,
    Place,
    Sample,
    Samples,
    Setting,
    Spent,
    sample,
)  # fmt: skip
from scripts import testing
from tests.bench.made import Made, clock

HEAD = Head(
    "2026-01-31 12:00:00", "python -m bench --scale", "a machine", "Python; 3 runs", "/usr/bin/python3", {},
    ["The term rose."],
)  # fmt: skip
FOUND = Sample(1000, 5, 0.9, 0.7, 0.2, 1.9)


# -- sweeps -------------------------------------------------------------------------------------------------


def test_one_thing_grows_and_all_else_stands_still() -> None:
    for sweep in SWEEPS:
        assert list(sweep.values) == sorted(set(sweep.values))
        if sweep is not BACKLOG:
            changed = [sweep.at(value)._asdict().items() - sweep.base._asdict().items() for value in sweep.values]
            assert {key for each in changed for key, _ in each} == {sweep.key}
    assert BY_KEY["size"].at(10_000) == Setting(clients=16, size=10_000)


def test_the_largest_message_fits_into_a_request() -> None:
    assert len(json.dumps({"body": "x" * max(BY_KEY["size"].values)})) <= MIB


def test_the_backlog_ends_where_it_is_told_to() -> None:
    assert Plan(3, 2, 50_000, []).values(BACKLOG) == [0, 1000, 10_000]
    assert Plan(3, 2, 0, []).values(BACKLOG) == [0]
    assert Plan(3, 2, 0, []).values(BY_KEY["nodes"]) == [1, 3, 5, 7]


def test_what_was_spent_becomes_cores() -> None:
    spent = Spent(10, 3, 2, 1, 9).since(Spent(8, 1, 1, 0.5, 5)).and_(Spent(2, 1, 1, 0.5, 2))
    assert sample(Taken(500, 1, 9, 100), spent) == Sample(500, 9, 0.75, 0.5, 0.25, 1.5)


def test_several_turns_count_with_their_own_time_alone() -> None:
    tallies = []
    for started in (0, 100):
        tally = Tally()
        tally.started, tally.last, tally.messages, tally.latencies_s = started, started + 2, 10, [0.5]
        tallies.append(tally)
    taken = Tally.together(tallies).taken()
    assert (round(taken.rate, 6), taken.messages, taken.p99_ms) == (5, 20, 500)


# -- points -------------------------------------------------------------------------------------------------


class Asked:
    """A connection that notes what it was asked."""

    def __init__(self, asked: list[bytes]) -> None:
        self.asked, self.is_open = asked, True

    async def expect(self, request: bytes, expected: int) -> bytes:
        await asyncio.sleep(0)
        self.asked.append(request)
        return b""

    def close(self) -> None:
        self.is_open = False


def test_a_point_makes_its_topics_once_and_publishes_in_turn_to_those_that_are_not_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []
    opened: list[Asked] = []

    async def connect(host: str, port: int) -> Asked:
        opened.append(Asked(asked))
        assert port == 7001, "the leader's"
        return opened[-1]

    spent = SimpleNamespace(start=lambda: None, read=lambda: Spent(1, 0.5, 0.25, 0.125, 1))
    monkeypatch.setattr(points, "Connection", SimpleNamespace(open=connect))
    monkeypatch.setattr(points, "Meter", lambda cluster, leader: spent)
    monkeypatch.setattr(loads, "time", clock())
    cluster: Any = SimpleNamespace(wait_for_leader=lambda: 1, ports=[7000, 7001, 7002])
    found = asyncio.run(points.measure(cluster, Setting(clients=8, topics=3, idle=2, size=10), 0.5))
    assert found.rate > 0 and found[2:] == (0.5, 0.25, 0.125, 1)
    names = ["t0", "t1", "t2", "idle0", "idle1"]
    assert asked[:5] == [request_bytes("PUT", f"/v1/topics/{name}", b"{}") for name in names]
    counts = Counter(asked[5:])
    assert len(counts) == 3 and max(counts.values()) - min(counts.values()) <= 1
    assert all(request.endswith(b'{"body": "xxxxxxxxxx"}') for request in counts)
    assert len(opened) == 8 and not any(each.is_open for each in opened)


# -- the backlog --------------------------------------------------------------------------------------------


class Watched(Made):
    """A client that notes how many messages wait."""

    def __init__(self, queue: list[int], seen: set[int]) -> None:
        super().__init__(queue)
        self.seen = seen

    async def consume(self, count: int) -> int:
        self.seen.add(len(self.queue))
        return await super().consume(count)


@pytest.mark.parametrize("level", [0, 1000, 10_000])
def test_a_level_stays_what_it_is(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = clock()
    monkeypatch.setattr(loads, "time", made)
    monkeypatch.setattr(backlog, "time", made)
    monkeypatch.setattr(loads, "LOOK_AGAIN_S", 0)
    queue, seen = [0] * level, set[int]()
    clients: list[Any] = [Watched(queue, seen) for _ in range(4)]
    meter: Any = SimpleNamespace(start=lambda: None, read=lambda: Spent(1, 0.5, 0.25, 0.125))
    found, waiting = asyncio.run(turns(clients, level, level, 1, meter))
    assert set(found) == {PUBLISH, TAKE} and all(each.rate > 0 for each in found.values())
    assert found[TAKE].leader == 0.5
    assert waiting == len(queue) and max(seen) == level + TURN and min(seen) >= max(0, level - 4 * BATCH)


def test_the_levels_are_filled_upwards_and_each_is_measured_in_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    filled: list[int] = []
    measured: list[tuple[int, int]] = []

    async def fill(connect: object, messages: int) -> None:
        filled.append(messages)

    async def turn(clients: object, level: int, waiting: int, seconds: float, meter: object) -> Any:
        measured.append((level, waiting))
        return {PUBLISH: FOUND, TAKE: FOUND}, waiting - 100

    async def connect(host: str, port: int) -> Asked:
        return Asked([])

    monkeypatch.setattr(backlog, "fill", fill)
    monkeypatch.setattr(backlog, "turns", turn)
    monkeypatch.setattr(backlog, "Meter", lambda cluster, leader: None)
    monkeypatch.setattr(backlog, "Connection", SimpleNamespace(open=connect))
    cluster: Any = SimpleNamespace(wait_for_leader=lambda: 0, ports=[1], create_topic=lambda topic: None)
    samples: Samples = {}
    told: list[str] = []
    work = backlog.levels(cluster, [0, 1000, 250_000], 2, 1, samples, told.append, told.append)
    asyncio.run(work)
    assert measured == [(0, 0), (0, -100), (1000, 1000), (1000, 900), (250_000, 250_000), (250_000, 249_900)]
    assert filled == [1200, 100_000, 100_000, 49_200]
    assert samples[Place("backlog", TAKE, 1000)] == [FOUND, FOUND] and len(samples) == 6
    assert "100,800 of 250,000" in " ".join(told)


# -- runs ---------------------------------------------------------------------------------------------------


class Cluster:
    """Nodes that hold an election each time that somebody asks for the term, where `restless`."""

    def __init__(self, nodes: int = 3, restless: bool = False) -> None:
        self.nodes, self.restless, self._term = nodes, restless, 1

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def term(self) -> int:
        self._term += self.restless
        return self._term


def test_each_run_goes_through_all_points_and_the_next_one_back(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[tuple[int, int]] = []

    async def measure(cluster: Cluster, setting: Setting, seconds: float) -> Sample:
        measured.append((cluster.nodes, setting.clients))
        return FOUND

    monkeypatch.setattr(run, "LocalCluster", Cluster)
    monkeypatch.setattr(run, "measure", measure)
    samples: Samples = {}
    notes: list[str] = []
    grow(Plan(2, 1, 0, ["nodes"]), samples, notes)
    assert measured == [(nodes, 64) for nodes in (1, 3, 5, 7, 7, 5, 3, 1)]
    assert samples == {Place("nodes", PUBLISH, nodes): [FOUND, FOUND] for nodes in (1, 3, 5, 7)} and not notes


def test_an_election_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def levels(cluster: object, values: list[int], *more: Any) -> None:
        assert values == [0, 1000]
        more[-2]("1,000, run 1")

    monkeypatch.setattr(run, "LocalCluster", lambda: Cluster(restless=True))
    monkeypatch.setattr(run, "levels", levels)
    notes: list[str] = []
    grow(Plan(1, 1, 1000, ["backlog"]), {}, notes)
    assert notes == [
        "The term rose from 2 to 3: before 1,000, run 1.", "The term rose from 3 to 4: messages of 100 B waiting.",
    ]  # fmt: skip


# -- the command line and the report ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--scale --peers etcd", "--scale measures RMQ alone: leave --peers away."),
        ("--scale --only cpu", "--only, with --scale, knows clients, size, backlog, topics, idle, nodes, not cpu."),
        ("--only size", "--only knows memory, cpu, rates, failover, sdk, backlog, polls, waiting, worn, not size."),
        ("--peers kafka", "--peers knows rabbitmq, nats, etcd, pysyncobj, not kafka."),
        ("--pictures x", "--pictures belongs to --scale."),
        ("--scale --runs 0", "--runs is at least 1, not 0."),
        ("--scale --seconds 0", "--seconds is at least 0.1, not 0.0."),
        ("--scale --backlog -1", "--backlog is at least 0, not -1."),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(arguments: str, sentence: str) -> None:
    with pytest.raises(SystemExit) as refused:
        options(arguments.split(), "")
    assert refused.value.code == sentence


def test_defaults_are_of_what_is_measured() -> None:
    usual, scaled = options([], ""), options(["--scale"], "")
    assert (usual.runs, usual.seconds, usual.backlog) == (5, 3, 1_000_000)
    assert (scaled.runs, scaled.seconds, scaled.backlog) == (3, 2, 10_000_000)
    assert "waiting" in usual.only and "waiting" not in options(["--peers", "etcd"], "").only
    assert scaled.only == ["clients", "size", "backlog", "topics", "idle", "nodes"]
    assert options(["--scale", "--only", "topics", "--runs", "1"], "").only == ["topics"]


def test_a_report_is_left_also_where_the_measurement_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[tuple[Samples, Path | None]] = []

    def broken(plan: Plan, samples: Samples, notes: list[str]) -> None:
        assert plan == Plan(3, 2, 10_000_000, ["clients"])
        samples[Place("clients", PUBLISH, 1)] = [FOUND]
        raise RuntimeError("a node went away")

    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    monkeypatch.setattr(command.scale, "grow", broken)
    monkeypatch.setattr(command.scaled, "save", lambda head, samples, pictures: saved.append((samples, pictures)))
    with pytest.raises(RuntimeError, match="went away"):
        command.main(["--scale", "--only", "clients", "--pictures", "there"])
    assert saved == [({Place("clients", PUBLISH, 1): [FOUND]}, Path("there"))]


def test_tables_values_and_pictures_are_saved(tmp_path: Path) -> None:
    samples: Samples = {
        Place("size", PUBLISH, 1_000_000): [FOUND._replace(rate=rate, p99_ms=ms) for rate, ms in ((100, 9), (300, 7))],
        Place("backlog", TAKE, 0): [FOUND],
    }
    path = report.save(HEAD, samples, tmp_path / "pictures", tmp_path)
    assert json.loads(path.read_text())["points"][0]["samples"][1]["rate"] == 300
    text = path.with_suffix(".md").read_text()
    assert "| 1,000,000 | publish | 200 | 100 - 300 | 8.0 | 7.0 - 9.0 | 0.90 | 0.70 | 0.20 | 1.90 |" in text
    assert "The term rose." in text and "topics" not in text
    assert sorted(each.name for each in (tmp_path / "pictures").iterdir()) == ["scale-backlog.svg", "scale-size.svg"]
    drawn = path.with_name(f"{path.stem}-size.svg").read_text()
    assert drawn == (tmp_path / "pictures" / "scale-size.svg").read_text()
    assert "MiB a second" in drawn and f"{200 * 1_000_000 / MIB:,.0f}" in drawn and "a machine" in drawn


def test_make_hands_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(testing.virtualenv, "ensure", lambda requirements: Path("python"))
    monkeypatch.setattr(testing, "_call", lambda wanted, failure: called.append(wanted))
    monkeypatch.delenv("PEERS", raising=False)
    monkeypatch.setenv("SCALE", "1")
    monkeypatch.setenv("ARGS", "--only clients")
    testing.bench()
    assert called == [["python", "-m", "bench", "--scale", "--only", "clients"]]
