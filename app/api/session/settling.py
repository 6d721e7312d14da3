"""Acks, nacks and extends of a session: neighbours that ask for the same are one command."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from app.api.kinds import to_ms
from app.api.problems import Problem
from app.api.queue import Queue
from app.api.routes import OPERATION_TIMEOUT_S
from app.api.session.consuming import Consumers
from app.api.session.frames import Ack, Error, Extend, Nack, Settled, error
from app.api.session.lines import Lines
from app.api.session.window import Window
from app.api.session.wire import Wire
from app.api.settle import token_results
from app.broker import commands
from app.broker.commands import MESSAGES_MAX
from app.node.errors import NodeError

Settle = Ack | Nack | Extend


class _Waiting(NamedTuple):
    """A frame, and its size."""

    frame: Settle
    size: int


class Settling:
    """What one session says of messages that it has."""

    def __init__(self, queue: Queue, wire: Wire, window: Window, consumers: Consumers) -> None:
        self._queue, self._wire, self._window, self._consumers = queue, wire, window, consumers
        self._lines = Lines(_first, self._settle)
        self.idle, self.clear = self._lines.idle, self._lines.clear

    def take(self, frame: Settle, data: bytes) -> None:
        """A frame has come."""
        self._window.enter(len(data))
        self._lines.add(frame.topic, _Waiting(frame, len(data)))
        if not isinstance(frame, Extend):
            self._consumers.settles(frame.topic, frame.tokens)

    async def _settle(self, topic: str, waiting: list[_Waiting]) -> None:
        command = _command(topic, [token for each in waiting for token in each.frame.tokens], waiting[0].frame)
        answers: list[Settled | Error]
        try:
            settled = await self._queue.settle(command, None, OPERATION_TIMEOUT_S)
        except BaseException as refused:
            if not isinstance(command, commands.Extend):
                self._consumers.keeps(topic, command.tokens)
            if not isinstance(refused, Problem | NodeError):
                raise
            answers = [error(each.frame.id, refused) for each in waiting]
        else:
            found = token_results(command.tokens, settled.codes)
            longer_ms = command.lease_ms if isinstance(command, commands.Extend) else None
            for result in found:
                self._consumers.told(topic, result.token, longer_ms if result.ok else None)
            answers, start = [], 0
            for each in waiting:
                end = start + len(each.frame.tokens)
                answers.append(Settled(id=each.frame.id, results=found[start:end]))
                start = end
        await self._wire.say(*answers)
        self._window.leave([each.size for each in waiting])


def _command(topic: str, tokens: list[str], like: Settle) -> commands.Ack | commands.Nack | commands.Extend:
    if isinstance(like, Ack):
        return commands.Ack(topic, tokens)
    if isinstance(like, Nack):
        return commands.Nack(topic, tokens, to_ms(like.delay_s))
    return commands.Extend(topic, tokens, to_ms(like.lease_s))


def _first(line: deque[_Waiting]) -> list[_Waiting]:
    """The frames that make the next command."""
    waiting = [line.popleft()]
    wish, count = _wish(waiting[0].frame), len(waiting[0].frame.tokens)
    while line and _wish(line[0].frame) == wish and count + len(line[0].frame.tokens) <= MESSAGES_MAX:
        count += len(line[0].frame.tokens)
        waiting.append(line.popleft())
    return waiting


def _wish(frame: Settle) -> tuple[type[Settle], float]:
    """Frames with equal ones may be one command."""
    if isinstance(frame, Ack):
        return Ack, 0
    return (Nack, frame.delay_s) if isinstance(frame, Nack) else (Extend, frame.lease_s)
