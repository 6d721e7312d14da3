"""Histories of some size, from the file to the report: a true one is fine, and one operation less or more is found."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from random import Random

import pytest

from chaos import history
from chaos.checker import check
from chaos.history import Op

MESSAGES = 5_000


def true_history() -> list[Op]:
    """Five publishers and five consumers on one queue, each operation some moments long, drained at the end."""
    rng = Random(11)
    waiting: deque[tuple[str, int]] = deque()
    ops: list[Op] = []
    published, at = 0, 1.0
    while published < MESSAGES or waiting:
        at += 0.01
        values: list[tuple[str, int]] = []
        publishes = published < MESSAGES and rng.random() < 0.5
        if publishes:
            for _ in range(rng.randint(1, 3)):
                published += 1
                values.append((f"v{published}", published))
            waiting += values
        else:
            values = [waiting.popleft() for _ in range(min(rng.randint(1, 4), len(waiting)))]
        ops.append(_op("publish" if publishes else "receive", rng, at, values))
    ops.append(_op("receive", rng, at + 1, []))
    return ops


def _op(kind: history.Kind, rng: Random, at: float, values: list[tuple[str, int]]) -> Op:
    start, end = at - rng.random() / 10, at + rng.random() / 10
    return Op(
        kind=kind, client=f"{kind}{rng.randrange(5)}", node=0, tries=1, start=start, end=end, outcome="ok", topic="t",
        values=[value for value, _ in values], sequences=[number for _, number in values], max=4,
    )  # fmt: skip


def report_of(path: Path, ops: list[Op]) -> tuple[dict[str, int], list[tuple[int, ...]]]:
    """Rules broken, and the lines of each example."""
    with path.open("wb") as file:
        for op in ops:
            history.write(file, op)
    report = check(history.read(path))
    return report.totals, [anomaly.lines for anomaly in report.anomalies]


@pytest.fixture(scope="module")
def ops() -> list[Op]:
    return true_history()


def test_a_true_history_is_fine(tmp_path: Path, ops: list[Op]) -> None:
    assert report_of(tmp_path / "history.jsonl", ops) == ({}, [])


def test_a_receive_that_is_missing_is_a_loss_of_its_messages(tmp_path: Path, ops: list[Op]) -> None:
    one = next(i for i, op in enumerate(ops) if i > len(ops) // 2 and op.kind == "receive" and op.values)
    totals, lines = report_of(tmp_path / "history.jsonl", ops[:one] + ops[one + 1 :])
    assert totals == {"lost": len(ops[one].values)}
    line_of = {value: line for line, op in enumerate(ops[:one], 1) if op.kind == "publish" for value in op.values}
    assert [published for published, _ in lines] == [line_of[value] for value in ops[one].values]


def test_a_publish_that_is_missing_makes_phantoms(tmp_path: Path, ops: list[Op]) -> None:
    one = next(i for i, op in enumerate(ops) if i > len(ops) // 2 and op.kind == "publish")
    totals, _ = report_of(tmp_path / "history.jsonl", ops[:one] + ops[one + 1 :])
    assert totals == {"phantom": len(ops[one].values)}


def test_an_empty_answer_too_many_is_stale(tmp_path: Path, ops: list[Op]) -> None:
    taken = {value: op for op in ops if op.kind == "receive" for value in op.values}
    kept = max((op for op in ops if op.kind == "publish"), key=lambda op: taken[op.values[0]].start - op.end)
    between = (kept.end + taken[kept.values[0]].start) / 2
    stale = Op(
        kind="receive", client="c9", node=0, tries=1, start=between, end=between, outcome="ok", topic="t", max=4
    )  # fmt: skip
    assert kept.end < between < taken[kept.values[0]].start
    totals, lines = report_of(tmp_path / "history.jsonl", [*ops, stale])
    assert totals == {"stale_read": 1}
    assert lines[0][0] == len(ops) + 1
