"""`rmq verify` without a cluster: what is written down of each call, and what is said of a history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from chaos.checker import check
from chaos.history import Final, Op, Record, Run, Status, read
from rmq import AsyncClient, Retry, errors
from rmq.aio_connections import AsyncConnections
from rmq.command.verifying import words
from rmq.command.verifying.clients import Agent, Names, Poller, known
from rmq.command.verifying.course import Plan, Seen
from rmq.command.verifying.notes import Notes
from rmq.exchange import Failure, Reply, Send

NAMES = Names("v-fifo", "v-leases")
NODE = "http://node"
Answers = Sequence[Reply | Failure]


class Scripted(AsyncConnections):
    """Connections whose tries come to these answers; the last one goes on."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(None, True)
        self._left = list(answers)

    async def send(self, send: Send) -> Reply | Failure:
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


def said(status: int, found: object) -> Reply:
    return Reply(status, {"content-type": "application/json"}, json.dumps(found).encode())


def problem(code: str, outcome: str, status: int, *, retryable: bool) -> Reply:
    found = {"code": code, "detail": "It is so.", "outcome": outcome, "retryable": retryable}
    return said(status, found)._replace(headers={"content-type": "application/problem+json"})


NO_QUORUM = problem("no_quorum", "not_committed", 503, retryable=True)
LOST = problem("outcome_unknown", "unknown", 504, retryable=True)
GONE = problem("topic_not_found", "not_committed", 404, retryable=False)
STORED = said(201, {"messages": [{"id": "1", "sequence": 7, "duplicate": False}]})
SILENT, UNREACHABLE = Failure("nothing", sent=True), Failure("refused", sent=False)


def seen(path: Path, answers: Answers, do: Callable[[Agent], Coroutine[Any, Any, object]], total_s: float = 0.05) -> Op:
    """The operation that is written down when the tries of a call come to these answers; the last one goes on."""

    async def main() -> None:
        async with AsyncClient(NODE, retry=Retry(total_s=total_s, first_s=0.001, longest_s=0.01)) as client:
            client._connections = Scripted(answers)
            await do(Agent("p0", client, NAMES, notes))

    with Notes(path) as notes:
        asyncio.run(main())
    (op,) = (each for each in read(path) if isinstance(each, Op))
    return op


@pytest.mark.parametrize(
    ("answers", "outcome", "error"),
    [
        ([STORED], "ok", None),
        ([NO_QUORUM], "fail", "no_quorum"),
        ([UNREACHABLE], "fail", "cannot_connect"),
        ([NO_QUORUM, UNREACHABLE, STORED], "ok", None),
        ([SILENT, STORED], "ok", None),
        ([SILENT], "unknown", "no_answer"),
        ([LOST], "unknown", "outcome_unknown"),
        ([SILENT, NO_QUORUM], "unknown", "no_answer"),
        ([LOST, UNREACHABLE], "unknown", "outcome_unknown"),
        # The first try may have been done, before the topic was gone: the refusal is of the last one alone.
        ([SILENT, GONE], "unknown", "topic_not_found"),
        ([SILENT, Failure("illegal status line", sent=True, foreign=True)], "unknown", "not_rmq"),
        ([SILENT, Reply(400, {}, b"what?")], "unknown", "not_rmq"),
    ],
)
def test_a_publish_is_written_down_as_what_is_known_of_it(
    tmp_path: Path, answers: Answers, outcome: str, error: str | None
) -> None:
    # Those that come to nothing are tried until the time is over; the others end with their last answer.
    total_s = 0.05 if error in ("no_quorum", "cannot_connect", "no_answer", "outcome_unknown") else 30.0
    op = seen(tmp_path / "h", answers, lambda agent: agent.publish("v-fifo", ["p0-0"]), total_s)
    assert (op.kind, op.topic, op.values, op.outcome, op.error) == ("publish", "v-fifo", ["p0-0"], outcome, error)
    assert op.sequences == ([7] if outcome == "ok" else [])


def test_only_what_surely_did_not_happen_fails() -> None:
    assert known(errors.NoQuorum("", code="no_quorum")) == "fail"
    assert known(errors.NoQuorum("", code="no_quorum", outcome="unknown")) == "unknown"
    assert known(errors.TopicNotFound("", code="topic_not_found")) == "unknown"


def message(token: str, number: int) -> Any:
    from rmq.messages import message_of

    found = {"id": "1", "sequence": 1, "body": "p0-0", "headers": {}, "group": None, "priority": 0, "token": token}
    times = {"published_at": "2026-11-25T18:22:33.892Z", "lease_expires_at": "2026-11-25T18:23:33.907Z"}
    return message_of("v-leases", {**found, **times, "deliveries": number})


def test_an_ack_is_written_down_for_each_token(tmp_path: Path) -> None:
    results = [{"token": "a", "ok": True, "code": None}, {"token": "b", "ok": False, "code": "lease_lost"}]
    held = [message("a", 1), message("b", 2)]
    answer = said(200, {"results": results})
    op = seen(tmp_path / "h", [answer], lambda agent: agent.settle("ack", held))
    assert (op.kind, op.outcome, op.tokens, op.codes) == ("ack", "ok", ["a", "b"], [None, "lease_lost"])
    op = seen(tmp_path / "h", [SILENT, NO_QUORUM], lambda agent: agent.settle("extend", held))
    assert (op.kind, op.outcome, op.codes, op.lease_s) == ("extend", "unknown", [], 3.0)


def test_a_read_that_was_not_answered_did_not_happen(tmp_path: Path) -> None:
    assert seen(tmp_path / "h", [SILENT], lambda agent: agent.count()).outcome == "fail"
    assert seen(tmp_path / "h", [SILENT], lambda agent: agent.list_topics()).outcome == "fail"


def test_a_node_that_is_silent_or_strange_is_forgotten(tmp_path: Path) -> None:
    status = {
        "role": "Leader", "term": 3, "node": 1, "leader": 1, "last_log_index": 9, "commit_index": 9, "applied_index": 9,
        "state_hash": "ab", "state_hash_index": 9, "pid": 1, "version": "0.1.0",
    }  # fmt: skip
    answers = [said(200, status), said(200, [1]), said(500, {})]

    async def main() -> None:
        poller = Poller(NODE, Scripted(answers), notes)
        assert await poller.poll() is not None
        leader = notes.leader()
        assert leader is not None and (leader.node, leader.term, leader.state_index) == (1, 3, 9)
        assert await poller.poll() is None and notes.leader() is None
        assert await poller.poll() is None

    with Notes(tmp_path / "h") as notes:
        asyncio.run(main())
    assert notes.leaders == {3: 1}


def op(kind: Any, start: float, **more: Any) -> Op:
    said = {"topic": "v-fifo", "client": "p0", "node": -1, "tries": 0, "outcome": "ok", **more}
    return Op(kind=kind, start=start, end=start + 0.1, **said)


def result(path: Path, records: Sequence[Record], trouble: str | None = None) -> words.Result:
    plan = Plan([NODE], 5.0, 4, 10.0)
    run = Run(scenario="verify", seed=0, seconds=5.0, nodes=1, started_at="", image="", version="0.1.0")
    status = Status(
        node=0, start=0.0, at=0.1, role="Leader", term=1, leader=0, last_log_index=1, commit_index=1, applied_index=1,
        state_index=1, state_hash="ab", pid=1,
    )  # fmt: skip
    with Notes(path) as notes:
        notes.begin_load()
        for record in (run, status, *records):
            notes.add(record)
        notes.end_load()
    return words.Result(plan, notes, Seen(1, trouble), check(read(path)), None)


PUBLISHED = op("publish", 1.0, values=["p0-0"], sequences=[1])
RECEIVED = op("receive", 2.0, values=["p0-0"], sequences=[1], max=10)
EMPTY, FINAL = op("receive", 3.0, max=10), Final(node=0, applied_index=1, state_hash="ab")


def test_a_sound_history_passes_and_the_words_say_what_was_not_seen(tmp_path: Path) -> None:
    found = result(tmp_path / "h", [PUBLISHED, RECEIVED, EMPTY, FINAL])
    text = "\n".join(map(str, words.lines(found)))
    assert found.verdict == "passed" and "Verdict:     nothing is wrong." in text
    assert "1 messages published, 1 received" in text and "node 0 (term 1)" in text
    assert found.not_checked == [
        "The nodes' log files were not read: they are on their disks (`make chaos` compares them)."
    ]
    found = result(tmp_path / "h", [PUBLISHED, RECEIVED, EMPTY])
    assert found.not_checked[0] == "Node 0's state at the end is not known."


def test_a_loss_is_said_in_its_sentence_whatever_else(tmp_path: Path) -> None:
    found = result(tmp_path / "h", [PUBLISHED, EMPTY, FINAL], trouble="the cluster did not come back")
    text = "\n".join(map(str, words.lines(found)))
    assert found.verdict == "wrong" and "lost, 1 time\n" in text and "'p0-0', acknowledged in line 3," in text
    assert "WRONG" in text and "nothing is wrong" not in text
    (anomaly,) = words.as_json(found)["anomalies"]
    assert (anomaly["rule"], anomaly["times"], len(anomaly["examples"])) == ("lost", 1, 1)


def test_without_a_drain_or_an_acknowledgement_nothing_is_claimed(tmp_path: Path) -> None:
    found = result(tmp_path / "h", [PUBLISHED], trouble="the cluster did not come back within 30 s")
    text = "\n".join(map(str, words.lines(found)))
    assert found.verdict == "inconclusive" and text.endswith("did not come back within 30 s. Nothing is claimed.")
    found = result(tmp_path / "h", [EMPTY, FINAL])
    assert words.as_json(found)["inconclusive_because"] == "nothing was acknowledged"


def test_the_longest_time_without_an_acknowledgement_is_between_publishes(tmp_path: Path) -> None:
    with Notes(tmp_path / "h") as notes:
        notes.begin_load()
        assert notes.longest_s() == 0
        for start in (0.0, 1.0, 4.0):
            notes.add(op("publish", start, values=[f"p0-{start:.0f}"], sequences=[1]))
        notes.add(op("publish", 2.0, values=["p0-9"], outcome="unknown"))
        notes.add(op("receive", 2.5, values=["p0-0"], sequences=[1], max=1))
        assert notes.longest_s() == pytest.approx(3.0)
        assert notes.publishes == 3 and notes.acknowledged == 4
