"""What workers ask for and what they write down of the answers: with answers by hand, no network."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from chaos.clients import workers
from chaos.clients.agents import Access, Agent
from chaos.clients.tries import Caller
from chaos.clients.workers import MORTAL, WORK, Held
from chaos.history import Op, read
from chaos.recorder import Recorder

Answer = Callable[[httpx.Request], httpx.Response]


class Asked(list[tuple[str, dict[str, Any], str | None]]):
    """What was sent: path, body, key in the header."""

    def __init__(self, path: Path, answer: Answer, run: str = "run") -> None:
        super().__init__()
        self._path, self._answer, self._run = path, answer, run

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = msgspec.json.decode(request.content) if request.content else {}
        self.append((request.url.path, body, request.headers.get("idempotency-key")))
        return self._answer(request)

    def ops(self, do: Callable[[Agent, Caller], Awaitable[Any]]) -> list[Op]:
        """The operations that were written down."""

        async def play() -> None:
            with Recorder(self._path) as recorder:
                access = Access(["http://node0"], self._run, transport=httpx.MockTransport(self))
                agent = Agent("w0", recorder, access, 0, 0.01, 7)
                caller = agent.caller()
                await do(agent, caller)
                await caller.close()

        asyncio.run(play())
        return [record for record in read(self._path) if isinstance(record, Op)]


def message(value: str, number: int = 1) -> dict[str, Any]:
    return {"body": value, "sequence": 4, "token": f"{value}#{number}", "deliveries": number, "group": None}


def messages(*held: dict[str, Any]) -> Answer:
    return lambda request: httpx.Response(200, json={"messages": held})


def settled(request: httpx.Request) -> httpx.Response:
    tokens = msgspec.json.decode(request.content)["tokens"]
    return httpx.Response(200, json={"results": [{"token": each, "ok": True, "code": None} for each in tokens]})


def conflict(request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, json={"code": "internal", "outcome": "unknown"})


def test_a_receive_on_a_lease_is_written_down(tmp_path: Path) -> None:
    asked = Asked(tmp_path / "h", messages(message("a", 2)))
    (op,) = asked.ops(lambda agent, caller: workers.take(agent, caller, WORK, 4, 2.0, wait_s=1))
    assert asked == [
        (f"/v1/topics/{WORK}/messages:receive", {"max": 4, "wait_s": 1, "lease_s": 2.0, "auto_ack": False},
         "run-take-w0-1"),
    ]  # fmt: skip
    assert (op.kind, op.outcome, op.topic, op.keyed, op.max, op.lease_s) == ("receive", "ok", WORK, True, 4, 2.0)
    assert (op.values, op.sequences, op.tokens, op.deliveries, op.groups) == (["a"], [4], ["a#2"], [2], [None])


def test_a_key_can_stand_in_the_body(tmp_path: Path) -> None:
    asked = Asked(tmp_path / "h", messages())
    asked.ops(lambda agent, caller: workers.take(agent, caller, WORK, 4, 2.0, named=True))
    ((_, body, header),) = asked
    assert (body["attempt_id"], header) == ("run-take-w0-1", None)


def test_keys_of_two_runs_differ(tmp_path: Path) -> None:
    one, other = (Asked(tmp_path / run, messages(), run) for run in ("one", "other"))
    for asked in (one, other):
        asked.ops(lambda agent, caller: workers.take(agent, caller, WORK, 4, 2.0))
    assert one[0][2] != other[0][2]


def test_what_came_of_each_token_is_written_down(tmp_path: Path) -> None:
    results = [{"token": "a", "ok": True, "code": None}, {"token": "b", "ok": False, "code": "lease_lost"}]
    asked = Asked(tmp_path / "h", lambda request: httpx.Response(200, json={"results": results}))
    (op,) = asked.ops(lambda agent, caller: workers.settle(agent, caller, "nack", WORK, ["a", "b"], delay_s=1.5))
    assert asked == [(f"/v1/topics/{WORK}/messages:nack", {"tokens": ["a", "b"], "delay_s": 1.5}, "run-nack-w0-1")]
    assert (op.kind, op.outcome, op.tokens, op.delay_s, op.codes) == (
        "nack", "ok", ["a", "b"], 1.5, [None, "lease_lost"],
    )  # fmt: skip


def test_nothing_is_asked_for_no_tokens(tmp_path: Path) -> None:
    asked = Asked(tmp_path / "h", settled)
    assert asked.ops(lambda agent, caller: workers.settle(agent, caller, "ack", WORK, [])) == []
    assert asked == []


def test_an_ack_that_nobody_answered_is_unknown(tmp_path: Path) -> None:
    asked = Asked(tmp_path / "h", conflict)
    (op,) = asked.ops(lambda agent, caller: workers.settle(agent, caller, "ack", WORK, ["a"]))
    assert (op.outcome, op.tokens, op.codes, op.error) == ("unknown", ["a"], [], "internal")


def test_a_count_that_is_not_answered_did_not_happen(tmp_path: Path) -> None:
    answers = iter([httpx.Response(200, json={"messages": 7}), httpx.Response(500)])
    asked = Asked(tmp_path / "h", lambda request: next(answers))

    async def twice(agent: Agent, caller: Caller) -> None:
        assert await workers.count(agent, caller, WORK) == 7
        assert await workers.count(agent, caller, WORK) is None

    told = [(op.outcome, op.left) for op in asked.ops(twice)]
    assert told == [("ok", 7), ("fail", None)]


def test_the_drain_acks_and_goes_on_until_nothing_is_left(tmp_path: Path) -> None:
    held = iter([[message("a")], [], [message("b")], []])
    left = iter([1, 0])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"messages": next(left)})
        return messages(*next(held))(request) if "receive" in request.url.path else settled(request)

    async def drain(agent: Agent, caller: Caller) -> None:
        assert await workers.drain(agent, caller, WORK, 500, lambda: False)

    ops = Asked(tmp_path / "h", answer).ops(drain)
    assert [op.kind for op in ops] == ["receive", "ack", "receive", "count", "receive", "ack", "receive", "count"]
    assert ops[-1].left == 0


def test_a_drain_ends_when_its_time_is_over(tmp_path: Path) -> None:
    count = itertools.count()

    async def drain(agent: Agent, caller: Caller) -> None:
        assert not await workers.drain(agent, caller, WORK, 500, lambda: next(count) == 2)

    ops = Asked(tmp_path / "h", conflict).ops(drain)
    assert [(op.kind, op.outcome) for op in ops] == [("receive", "unknown")] * 2


def test_bad_messages_are_never_acked_where_they_may_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("HOLD_S", "LATE_S"):
        monkeypatch.setattr(workers, pause, (0.0, 0.0))
    held = [Held(f"mortal-p0-{i}", f"t{i}") for i in range(40)]

    async def work(agent: Agent, caller: Caller) -> None:
        for each in held:
            await workers.work(agent, caller, MORTAL, [each])

    ops = Asked(tmp_path / "h", settled).ops(work)
    bad = {each.token for each in held if workers.is_bad(each.value)}
    assert len(bad) == 8
    assert bad <= {token for op in ops if op.kind == "nack" for token in op.tokens}
    assert not bad & {token for op in ops if op.kind in ("ack", "extend") for token in op.tokens}
    assert {op.kind for op in ops} == {"ack", "nack", "extend"}
