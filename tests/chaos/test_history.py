"""Histories are read back as they were written, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos import history
from chaos.history import Final, HistoryError, LogPiece, Op, Phase, Record, Redundant, Run, Status

RECORDS: list[Record] = [
    Run(scenario="mixed", seed=7, seconds=60, nodes=3, started_at="2026-01-31T12:00:00Z", image="rmq", version="0.1.0"),
    Phase(name="warm", at=0.0),
    Op(
        kind="publish", client="p0", node=1, tries=2, start=0.25, end=0.5, outcome="ok", topic="t", keyed=True,
        values=["p0-0", "p0-1 é\n"], sequences=[1, 2],
    ),
    Op(kind="receive", client="c0", node=0, tries=1, start=0.5, end=0.5, outcome="ok", topic="t", max=5),
    Op(kind="receive", client="c0", node=0, tries=1, start=1, end=2, outcome="unknown", topic="t", max=5, error="e"),
    Op(kind="create", client="t0", node=0, tries=1, start=1, end=2, outcome="ok", topic="t", created=False),
    Op(kind="list", client="t0", node=0, tries=1, start=1, end=2, outcome="ok", names=["t", "u"]),
    history.Topic(name="t", max_deliveries=3, dead_letter_topic="u"),
    Op(
        kind="receive", client="w0", node=0, tries=1, start=1, end=2, outcome="ok", topic="t", max=5, lease_s=2.5,
        values=["p0-0"], sequences=[1], tokens=["1-1-0-1-2"], deliveries=[2], groups=[None],
    ),
    Op(
        kind="nack", client="w0", node=0, tries=1, start=1, end=2, outcome="ok", topic="t", delay_s=1.5,
        tokens=["a", "b"], codes=[None, "lease_lost"],
    ),
    Op(kind="count", client="drain", node=0, tries=1, start=1, end=2, outcome="ok", topic="t", left=0),
    Status(
        node=2, start=1.0, at=1.5, role="Leader", term=3, leader=2, last_log_index=9, commit_index=8, applied_index=8,
        state_index=7, state_hash="ab", pid=11,
    ),
    history.FaultStep(
        round=1, name="kill_leader", step="inject", targets=[2], start=1.0, end=1.1, ok=True, detail="killed"
    ),
    Redundant(round=1, at=3.5),
    LogPiece(node=0, first_index=4, entries=[(1, "aa"), (2, "bb")]),
    Final(node=0, applied_index=9, state_hash="ff"),
]  # fmt: skip


def write(path: Path, records: list[Record]) -> Path:
    with path.open("wb") as file:
        for record in records:
            history.write(file, record)
    return path


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert list(history.read(write(tmp_path / "history.jsonl", RECORDS))) == RECORDS


def test_a_record_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "history.jsonl", RECORDS)
    assert len(path.read_bytes().splitlines()) == len(RECORDS)


def test_what_an_operation_has_no_use_for_is_not_written(tmp_path: Path) -> None:
    line = write(tmp_path / "history.jsonl", RECORDS[3:4]).read_text()
    assert line == (
        '{"type":"op","kind":"receive","client":"c0","node":0,"tries":1,"start":0.5,"end":0.5,"outcome":"ok",'
        '"topic":"t","max":5}\n'
    )


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (b'{"type": "phase", "name": "wa', "torn"),
        (b'{"type": "phase", "name": "warm", "at": 1}', "torn"),
        (b'{"type": "phase", "name": "wa\n', "not a record"),
        (b"\n", "not a record"),
        (b'{"type": "phrase", "name": "warm", "at": 1}\n', "not a record"),
        (b'{"type": "phase", "name": "lunch", "at": 1}\n', "not a record"),
        (b'{"type": "phase", "name": "warm"}\n', "not a record"),
        (b'{"type": "phase", "name": "warm", "at": 1, "mood": "calm"}\n', "not a record"),
        (b'{"type": "phase", "name": "warm", "at": null}\n', "not a record"),
        (b'{"type": "final", "node": 0, "applied_index": 1, "state_hash": "\xff"}\n', "not a record"),
    ],
)
def test_a_torn_or_foreign_line_is_named(tmp_path: Path, second: bytes, why: str) -> None:
    path = write(tmp_path / "history.jsonl", RECORDS[:1])
    with path.open("ab") as file:
        file.write(second)
    with pytest.raises(HistoryError, match=rf"history\.jsonl, line 2: {why}"):
        list(history.read(path))


def test_an_operation_that_contradicts_itself_is_not_made() -> None:
    def op(**fields: object) -> Op:
        common = {"kind": "receive", "client": "c0", "node": 0, "tries": 1, "start": 1, "end": 2, "outcome": "ok"}
        return Op(**{**common, "max": 1, **fields})

    assert op().end == 2
    with pytest.raises(ValueError, match=r"ends .* before it starts"):
        op(start=3)
    with pytest.raises(ValueError, match=r"ends .* before it starts"):
        op(end=float("nan"))
    with pytest.raises(ValueError, match="set `max`"):
        op(max=0)
    for answer in ({"values": ["a"]}, {"sequences": [1]}, {"names": ["t"]}, {"created": True}):
        with pytest.raises(ValueError, match="unknown has no answer"):
            op(outcome="unknown", **answer)
    with pytest.raises(ValueError, match="fail has no answer"):
        op(kind="publish", outcome="fail", values=["a"], sequences=[1])
    for answer in ({"tokens": ["a"]}, {"deliveries": [1]}, {"codes": [None]}, {"left": 0}):
        with pytest.raises(ValueError, match="unknown has no answer"):
            op(outcome="unknown", **answer)
    with pytest.raises(ValueError, match="set `created`"):
        op(kind="create", topic="t")
    with pytest.raises(ValueError, match="set `left`"):
        op(kind="count", topic="t")
    with pytest.raises(ValueError, match="set `tokens`"):
        op(kind="ack", topic="t")
    with pytest.raises(ValueError, match="set `codes`"):
        op(kind="ack", topic="t", tokens=["a", "b"], codes=[None])
    with pytest.raises(ValueError, match="set `lease_s`"):
        op(kind="extend", topic="t", tokens=["a"], codes=[None])
    with pytest.raises(ValueError, match="set `groups`"):
        op(kind="publish", topic="t", values=["a", "b"], sequences=[1, 2], groups=["g"])
    assert op(kind="nack", outcome="unknown", tokens=["a"], delay_s=2).delay_s == 2
