"""The checker on thousands of random histories of leases: right ones are never flagged, broken queues are found."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import pytest

from chaos.checker import check
from chaos.history import HistoryError, Op
from tests.chaos.hand_made import parse
from tests.chaos.random_leases import Drawn

RIGHT, CHUNK, BROKEN = 4_000, 1_000, 300
FOUND = {
    "early": {"early"},
    "after_ack": {"after_ack", "double_ack"},
    "double_ack": {"double_ack", "after_ack"},
    "overtake": {"overtaken"},
    "lose": {"lost"},
    "ignore_delay": {"undelayed"},
    "disorder": {"reordered"},
    "bury_copy": {"overrun", "duplicate"},
    "bury_early": {"unworn"},
    "lose_dead": {"lost"},
}
"""Ways in which a queue may be broken, see `small_queue`, and the rules of which one must say so."""
SHARE = 0.7
"""In so many of the histories in which it made a difference somebody saw it. The others prove nothing: whoever could
have seen it was not answered, or took long enough that all may have been right."""


@pytest.mark.parametrize("chunk", range(RIGHT // CHUNK))
def test_a_right_queue_is_never_flagged(chunk: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        report = check(Drawn(seed, None).records)
        assert report.valid, f"seed {seed}: {report.anomalies}"
        assert len(report.missing) == 2, report.missing  # how many nodes, who leads; all was drained
        seen.update(report.checked)
        seen.update(f"{kind} {outcome}" for kind, told in report.counts.items() for outcome in told)
    assert seen["leases that ran out"] > 1000
    assert seen["dead letters"] > 500
    assert all(seen[f"{kind} unknown"] for kind in ("publish", "receive", "ack", "nack", "extend"))


def test_who_knows_less_finds_nothing_more() -> None:
    """A right history stays right when operations are known less exactly, or not known to have been done."""
    for seed in range(1_000):
        rng = Random(seed)
        records = [
            _known_less(record, rng) if isinstance(record, Op) else record for record in Drawn(seed, None).records
        ]
        report = check(records)
        assert report.valid, f"seed {seed}: {report.anomalies}"


def _known_less(op: Op, rng: Random) -> Op:
    if rng.random() < 0.3:
        earlier, later = rng.choice((0.0, 0.1, 4.0)), rng.choice((0.0, 0.1, 4.0))
        op = msgspec.structs.replace(op, start=op.start - earlier, end=op.end + later)
    if rng.random() < 0.1 and op.outcome == "ok" and (op.kind != "receive" or not op.values):
        return msgspec.structs.replace(op, outcome="unknown", sequences=[], codes=[], left=None)
    return op


@pytest.mark.parametrize("broken", FOUND)
def test_a_broken_queue_is_found(broken: str) -> None:
    effects, found = 0, 0
    for seed in range(BROKEN):
        drawn = Drawn(seed, broken)
        effects += drawn.effects > 0
        found += bool(FOUND[broken] & check(drawn.records).totals.keys())
    assert effects > BROKEN / 3
    assert found >= SHARE * effects


def test_the_order_of_lines_means_nothing() -> None:
    for broken in (None, "early", "overtake", "bury_copy"):
        for seed in range(100):
            records = Drawn(seed, broken).records
            assert check(records).valid == check(records[::-1]).valid, f"seed {seed}, {broken}"


def test_a_lost_message_is_named_with_its_lines() -> None:
    report = check(parse("p0 publish 0-1 a=1\nc0 receive 2-3 a=1#1 lease=1\nc0 count 6-7 left=0"))
    assert [each.text for each in report.anomalies] == [
        "Topic 't': 'a', published in line 1, handed out in line 2, was never acked, though nothing was left in line 3."
    ]


def test_a_message_that_may_still_be_there_is_missing_evidence() -> None:
    report = check(parse("p0 publish 0-1 a=1\nc0 receive 2-3 a=1#1 lease=1\nc0 count 6-7 left=1"))
    assert report.valid
    says = "1 messages of topic 't' were never acked, and nobody saw that nothing was left: drain the topic"
    assert any(sentence.startswith(says) for sentence in report.missing)


LOOKED_AT = """
    t  topic   0 most=2 grave=u
    p0 publish 0-1 a=1 b=2
    c0 receive 2-3 a=1#1 b=2#1 lease=1
    c0 ack     3-4 b#1
    c0 receive 4-5 a=1#2 lease=9
    c0 nack    6-7 a#2
    c1 receive/u 8-9 a=1#1 lease=9
    c1 receive/u 8-9 empty lease=9
"""


def test_what_was_looked_at_is_counted() -> None:
    report = check(parse(LOOKED_AT))
    assert report.checked == {
        "messages published": 2, "messages handed out on a lease": 4, "of them handed out again": 1,
        "leases that ran out": 1, "messages acked": 1, "dead letters": 1, "answers that nothing waits": 1,
        "answers that nothing is left": 0, "topics created": 0, "lists of topics": 0, "terms with a leader": 0,
    }  # fmt: skip


def test_a_token_that_nobody_was_handed_is_the_harness_fault() -> None:
    with pytest.raises(HistoryError, match="Line 2 names a token that nobody was handed: 'a#1'"):
        check(parse("p0 publish 0-1 a=1\nc0 ack 2-3 a#1"))


def test_both_ways_to_receive_from_a_topic_are_the_harness_fault() -> None:
    with pytest.raises(HistoryError, match="Lines 2 and 3 receive from 't' with a lease and without"):
        check(parse("p0 publish 0-1 a=1\nc0 receive 2-3 a=1#1 lease=1\nc0 receive 4-5 empty"))


def test_two_hundred_thousand_operations_take_seconds() -> None:
    """Near-linear: one message after another, each handed out twice, over many groups."""
    ops: list[Op] = []
    for i in range(40_000):
        at, value = i / 100, f"v{i}"
        common = {"client": "c0", "node": 0, "tries": 1, "outcome": "ok", "topic": "t"}
        ops += (
            Op(kind="publish", start=at, end=at + 1, values=[value], sequences=[i], groups=[f"g{i % 999}"], **common),
            *(_handed(value, i, number, at + 3 * number, common) for number in (1, 2)),
            Op(kind="nack", start=at + 4.5, end=at + 5, tokens=[f"{value}-1"], codes=[None], **common),
            Op(kind="ack", start=at + 7.5, end=at + 8, tokens=[f"{value}-2"], codes=[None], **common),
        )  # fmt: skip
    ops.append(Op(kind="count", start=500, end=501, left=0, **common))
    report = check(ops)
    assert report.valid, report.anomalies
    assert report.checked["of them handed out again"] == 40_000


def _handed(value: str, sequence: int, number: int, at: float, common: dict[str, object]) -> Op:
    return Op(
        kind="receive", start=at, end=at + 1, max=1, lease_s=9, values=[value], sequences=[sequence],
        deliveries=[number], tokens=[f"{value}-{number}"], **common,  # type: ignore[arg-type]
    )  # fmt: skip
