"""The bench's own arithmetic: medians, ratios, goals, tables, and bytes in chunks."""

from __future__ import annotations

import asyncio
import json

import pytest

from bench import loads
from bench.counting import Countdown
from bench.figures import Figures, Key, ratio
from bench.goals import GOALS, THEIRS, Goal, goals_of, ratio_wanted, verdict
from bench.http import unchunked
from bench.loads import BY_KEY, LOADS, How, consume, publish, run, share_of
from bench.peers import amqp
from bench.peers.choice import NAMES, chosen
from bench.progress import bar
from bench.report import OTHERS, Head, as_json, markdown
from bench.rounds import rotated, share
from bench.websocket import frame
from tests.bench.made import Made, clock

NAMED = {"rmq": "RMQ", "etcd": "etcd"}
HEAD = Head("2026-01-31 12:00:00", "python -m bench", "a machine", "Python", "/usr/bin/python3", NAMED, ["no NATS"])


def some(**values: list[float]) -> Figures:
    """Figures of RMQ for 100 B, `one=[…]`, and the same for etcd, ten times as many."""
    figures = Figures()
    for what, found in values.items():
        for value in found:
            for peer, factor in (("rmq", 1), ("etcd", 10)):
                figures.add(Key(peer, what, 100, "rate"), factor * value)
                for unit in ("p50_ms", "p99_ms"):
                    figures.add(Key(peer, what, 100, unit), 1.0)
    return figures


def test_a_share_of_ordered_values() -> None:
    assert [share_of(range(100), share) for share in (0.0, 0.5, 0.99, 1.0)] == [0, 50, 99, 99]


def test_a_ratio_is_the_median_of_the_runs_and_there_may_be_none() -> None:
    assert ratio([10, 100, 10], [10, 10, 20]) == 1.0
    assert ratio([10], []) is None


def test_of_several_figures_the_better_one_of_each_run_counts() -> None:
    figures = some(batches=[1, 5, 1], pipelined=[2, 2, 2])
    assert figures.best("rmq", ("batches", "pipelined"), 100, "rate") == [2, 5, 2]
    assert figures.best("rmq", ("batches", "none"), 100, "rate") == [1, 5, 1]


def test_goals_are_about_medians_or_about_the_worst() -> None:
    figures = Figures()
    for value in (100, 110, 410):
        figures.add(Key("rmq", "kill", 0, "ms"), value)
    assert [(str(goal), goal.is_met(figures)) for goal in goals_of("kill", 0)] == [
        ("≤ 120 ms", True), ("max ≤ 400 ms", False),
    ]  # fmt: skip
    assert verdict(goals_of("kill", 0), figures) == "not met"
    assert verdict(goals_of("pause", 0), figures) == ""
    assert str(Goal("one", 100, "p99_ms", at_most=2)) == "p99 ≤ 2 ms"


def test_every_goal_is_about_something_that_is_measured() -> None:
    for goal in GOALS:
        assert goal.what in OTHERS or goal.size_bytes in BY_KEY[goal.what].sizes_bytes


def test_a_goal_is_a_ratio_too() -> None:
    assert ratio_wanted("rabbitmq", ("one",)) == 1600 / 1066
    assert ratio_wanted("rabbitmq", ("batches", "pipelined")) == 200_000 / 18_200
    assert ratio_wanted("rabbitmq", ("cpu",)) == 1.2 / 1.7
    assert ratio_wanted("etcd", ("take-one", "take-chained")) is None
    assert ratio_wanted("pysyncobj", ("one",)) is None
    assert THEIRS.keys() <= {peer.key for peer in chosen(list(NAMES))}


def test_the_report_has_a_row_for_each_figure_and_compares() -> None:
    text = markdown(HEAD, some(one=[1000, 2000, 3000]))
    assert "| one client, each awaited | 100 B | 2,000 | 1,000 - 3,000 | 1.00 | 1.00 | ≥ 1,600/s, p50 ≤ 0.6 ms" in text
    assert "| etcd | 20,000 (0.10, goal 1.91) | - |" in text
    assert "Left out: no NATS" in text
    assert json.loads(as_json(HEAD, some(one=[1])))["figures"][0]["values"] == [1]


def test_who_begins_changes_and_each_fault_is_done_once() -> None:
    peers = chosen(list(NAMES))
    assert [rotated(peers, run)[0].key for run in range(3)] == ["rmq", "rabbitmq", "nats-synced"]
    assert sorted(rotated(peers, 4), key=id) == sorted(peers, key=id)
    assert [number for run in range(3) for number in share(20, 3, run)] == list(range(20))
    assert all(peer.loads <= BY_KEY.keys() for peer in peers)


def test_a_body_in_chunks() -> None:
    assert unchunked(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n") == b"abcde"
    assert unchunked(b"3\r\nabc\r\n") is None


def test_frames() -> None:
    assert frame(b"hi") == b"\x81\x82\0\0\0\0hi"
    assert frame(b"x" * 300)[:4] == b"\x81\xfe\x01\x2c"
    assert amqp.publication("q", b"hi").endswith(b"\x03\0\x01\0\0\0\x02hi\xce")


def test_a_bar() -> None:
    assert bar(1, 2) == "█" * 12 + "░" * 12 + " 1 of 2"


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.key)
def test_each_load_counts_what_its_clients_did_and_closes_them(load: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "time", clock())
    queue: list[int] = []
    made: list[Made] = []

    async def connect(how: How) -> Made:
        made.append(Made(queue))
        return made[-1]

    taken = asyncio.run(run(load, connect, 0.2))  # type: ignore[arg-type]
    assert taken.messages > 0 and taken.rate > 0 and taken.p50_ms <= taken.p99_ms
    assert made and not any(client.is_open for client in made)


def test_a_load_ends_when_enough_is_published_or_all_is_taken() -> None:
    queue: list[int] = []
    clients = [Made(queue) for _ in range(3)]
    assert asyncio.run(publish(clients, 10, 60, most=100)).messages == 100
    assert asyncio.run(consume(clients, 7, 60, 100)).messages == 100


def test_a_countdown() -> None:
    async def go_on() -> None:
        countdown = Countdown()
        countdown.come()
        await countdown.wait(1)
        waiter = asyncio.create_task(countdown.wait(2))
        await asyncio.sleep(0)
        countdown.come()
        assert not waiter.done()
        countdown.come()
        await waiter
        countdown.fail("gone")
        with pytest.raises(ConnectionError, match="gone"):
            await countdown.wait(1)

    asyncio.run(go_on())
