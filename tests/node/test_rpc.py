"""Questions between nodes: an answer reaches the question that it belongs to, or nobody."""

from __future__ import annotations

import asyncio

import msgspec

from app.node.errors import OutcomeUnknown
from app.node.rpc import Method, Outcome, Request, Response, Rpc
from app.transport import Frame


class Wire:
    """A network that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, peer: int, kind: int, payload: bytes) -> bool:
        self.sent.append(payload)
        return True


def life() -> tuple[Wire, Rpc]:
    wire = Wire()
    return wire, Rpc(wire, lambda *_: None)  # type: ignore[arg-type]


async def ask(wire: Wire, rpc: Rpc) -> tuple[asyncio.Task[Outcome], int]:
    question = asyncio.ensure_future(rpc.ask(1, Method.SUBMIT, b"publish", 0.2))
    await asyncio.sleep(0)
    return question, msgspec.msgpack.decode(wire.sent[-1], type=Request).number


def answer(number: int, error: str = "") -> bytes:
    return msgspec.msgpack.encode(Response(number, error, b"published"))


def test_an_answer_to_a_former_life_of_this_process_answers_nothing() -> None:
    """It was asked before a kill; the leader's answer comes after the restart, over the new stream."""

    async def scenario() -> None:
        _, number = await ask(*life())
        wire, rpc = life()
        question, _ = await ask(wire, rpc)
        rpc.on_frame(1, Frame.RESPONSE, answer(number))
        assert isinstance(await question, OutcomeUnknown)

    asyncio.run(scenario())


def test_only_the_peer_that_was_asked_may_answer() -> None:
    async def scenario() -> None:
        wire, rpc = life()
        question, number = await ask(wire, rpc)
        rpc.on_frame(2, Frame.RESPONSE, answer(number))
        await asyncio.sleep(0)
        assert not question.done()
        rpc.on_frame(1, Frame.RESPONSE, answer(number))
        assert await question == b"published"

    asyncio.run(scenario())


def test_an_error_of_a_name_not_known_here_tells_nothing() -> None:
    async def scenario() -> None:
        wire, rpc = life()
        question, number = await ask(wire, rpc)
        rpc.on_frame(1, Frame.RESPONSE, answer(number, "FromTheFuture"))
        assert isinstance(await question, OutcomeUnknown)

    asyncio.run(scenario())
