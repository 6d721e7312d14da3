"""The checker's verdict on histories made by hand, good and bad; and the judge's, where they are his to judge."""

from __future__ import annotations

import pytest

from chaos.checker import check
from chaos.history import HistoryError, Op, Run
from tests.chaos.brute_force import queue_fits, topics_fit
from tests.chaos.hand_made import HandMade, parse
from tests.chaos.hand_made_clusters import BAD_NODES, BAD_TOPICS, GOOD_NODES, GOOD_TOPICS
from tests.chaos.hand_made_leases import GOOD_LEASES
from tests.chaos.hand_made_leases_wrong import BAD_LEASES
from tests.chaos.hand_made_queues import BAD, GOOD

QUEUES, TOPICS, NODES = GOOD + BAD, GOOD_TOPICS + BAD_TOPICS, GOOD_NODES + BAD_NODES
LEASES = GOOD_LEASES + BAD_LEASES
ALL = QUEUES + LEASES + TOPICS + NODES


def named(histories: list[HandMade]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("made", histories, ids=[made.name.replace(" ", "-") for made in histories])


@named(ALL)
def test_hand_made(made: HandMade) -> None:
    report = check(parse(made.table))
    found = tuple(" ".join([anomaly.rule, *map(str, anomaly.lines)]) for anomaly in report.anomalies)
    assert found == made.expected, [anomaly.text for anomaly in report.anomalies]
    assert report.valid == (not made.expected)
    assert sum(report.totals.values()) == len(made.expected)


@named(QUEUES)
def test_the_judge_agrees_on_queues(made: HandMade) -> None:
    ops = [op for op in parse(made.table) if isinstance(op, Op)]
    topics = {op.topic for op in ops}
    assert all(queue_fits([op for op in ops if op.topic == topic]) for topic in topics) == (not made.expected)


@named(TOPICS)
def test_the_judge_agrees_on_topics(made: HandMade) -> None:
    assert topics_fit([op for op in parse(made.table) if isinstance(op, Op)]) == (not made.expected)


@named(QUEUES + LEASES)
def test_the_order_of_lines_means_nothing(made: HandMade) -> None:
    backwards = check(parse(made.table)[::-1])
    assert backwards.valid == (not made.expected)


def test_every_rule_has_its_histories() -> None:
    assert len({made.name for made in ALL}) == len(ALL) >= 25
    broken = {expected.split()[0] for made in ALL for expected in made.expected}
    assert broken == {
        "lost", "phantom", "duplicate", "misfit", "same_sequence", "publisher_order", "reordered", "torn", "stale_read",
        "early", "undelayed", "recount", "after_ack", "double_ack", "double_end", "stale_token", "overrun", "skipped",
        "unworn", "overtaken",
        "double_create", "topic_phantom", "topic_stale", "topic_order",
        "two_leaders", "state_differs", "log_differs", "log_order",
    }  # fmt: skip


FULL = """
    c0 create  0-1 t made
    c0 list    2-3 t
    p0 publish 4-5 a=1 b=2
    p1 publish 4-5? c
    p1 publish 4-5x d
    c0 receive 6-7 a=1
    c0 receive 6-7 b=2
    c0 receive 8-9 empty
    n0 status  9 Leader   term=1 index=3 hash=aa
    n1 status  9 Follower term=1 index=3 hash=aa
    n0 final   9 index=3 hash=aa
    n1 final   9 index=3 hash=aa
    n0 log     9 first=2 1:bb
    n1 log     9 first=1 1:aa 1:bb
"""
RUN = Run(scenario="s", seed=1, seconds=1, nodes=2, started_at="2026-01-31T12:00:00Z", image="rmq", version="0.1.0")


def test_a_full_history_misses_nothing_and_is_counted() -> None:
    report = check([RUN, *parse(FULL)])
    assert report.valid
    assert report.missing == []
    assert report.counts == {
        "create": {"ok": 1}, "list": {"ok": 1}, "publish": {"ok": 1, "unknown": 1, "fail": 1}, "receive": {"ok": 3},
    }  # fmt: skip
    assert report.checked == {
        "messages published": 2, "messages received": 2, "answers that nothing waits": 1,
        "topics created": 1, "lists of topics": 1, "statuses": 2, "terms with a leader": 1,
        "states compared between nodes": 2, "log entries compared between nodes": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ("c0 receive 6-7 b=2|c0 receive 8-9 empty", "1 messages of topic 't' were never received"),
        ("c0 list", "No list of topics was read after the last topic was made"),
        ("n0 status", "No status shows a leader"),
        ("n1 final", "Node 1's state at the end is not known"),
        ("n1 log", "Node 1's log was not read"),
        ("n1 log", "No log entry was found on two nodes"),
    ],
)
def test_evidence_that_is_not_there_is_named(without: str, says: str) -> None:
    left_out = [" ".join(each.split()) for each in without.split("|")]
    lines = [line for line in FULL.splitlines() if not any(" ".join(line.split()).startswith(out) for out in left_out)]
    report = check([RUN, *parse("\n".join(lines))])
    assert report.valid
    assert any(sentence.startswith(says) for sentence in report.missing), report.missing


def test_a_list_from_before_the_last_topic_was_made_is_not_enough() -> None:
    report = check([RUN, *parse(f"{FULL.strip()}\nc0 create 3-4 u made")])
    assert report.missing == ["No list of topics was read after the last topic was made: read one at the end."]


def test_without_a_run_nobody_knows_how_many_nodes_there_are() -> None:
    report = check(parse(FULL))
    assert report.missing == ["The history does not say how many nodes there are: begin it with a `run` record."]


def test_a_message_that_waits_is_not_lost_but_missing_evidence_even_if_a_receive_may_have_taken_it() -> None:
    report = check(parse("p0 publish 0-1 a=1\nc0 receive 2-3? max=1"))
    assert report.valid
    assert any("never received" in sentence for sentence in report.missing)


def test_all_are_counted_and_some_are_shown() -> None:
    lost = "\n".join(f"p0 publish {i}-{i + 0.5} v{i}={i}" for i in range(100))
    report = check(parse(f"{lost}\nc0 receive 200-201 empty"))
    assert report.totals == {"lost": 100}
    assert [anomaly.lines for anomaly in report.anomalies] == [(line, 101) for line in range(1, 11)]


def test_one_operation_out_of_place_is_one_anomaly() -> None:
    early = "\n".join(f"p{i} publish {i}-{i + 0.5} v{i}={i + 10}" for i in range(50))
    report = check(parse(f"{early}\nq publish 90-91 late=5"))
    assert report.totals == {"reordered": 50}
    assert [anomaly.lines for anomaly in report.anomalies] == [(1, 51)]
    assert "so it is with 49 more" in report.anomalies[0].text


def test_sentences_can_be_read() -> None:
    report = check(parse("p0 publish 0-1 a=1\np0 publish 2-3 b=2\nc0 receive 4-5 b=2"))
    assert report.anomalies[0].text == (
        "Topic 't': 'a', acknowledged in line 1, was never received, though 'b', which stood behind it, was received "
        "in line 3; and no receive of unknown outcome can have taken it."
    )


def test_a_value_published_twice_is_the_harness_fault() -> None:
    with pytest.raises(HistoryError, match="Lines 1 and 2 publish 'a': publish each value once"):
        check(parse("p0 publish 0-1 a=1\np0 publish 2-3? a"))
