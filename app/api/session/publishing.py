"""Publishes of a session: frames of one message each are stored together, and each is told where its message is.

Rules of this file: a frame with several messages that are to be stored all or none is a command of its own. Frames that
may be tried again, since every message of theirs has a `dedup_id`, and frames that may not are never in one command.
"""

from __future__ import annotations

from collections import deque

from msgspec import Raw, Struct

from app.api.metrics import Meters
from app.api.new_messages import messages_in
from app.api.problems import Problem
from app.api.publish import places
from app.api.queue import Queue, is_repeatable
from app.api.routes import OPERATION_TIMEOUT_S
from app.api.session.frames import Error, PlainPublish, Publish, error, published
from app.api.session.lines import Lines
from app.api.session.window import Window
from app.api.session.wire import Wire
from app.broker import results
from app.broker.commands import MESSAGES_MAX, NewMessage
from app.node.errors import NodeError

COMMAND_BYTES = 1 << 20


class _Waiting(Struct, frozen=True, gc=False):
    """A frame: its messages, and its own size."""

    id: int
    messages: list[NewMessage]
    alone: bool
    repeatable: bool
    size: int


class Publishing:
    """The publishes of one session."""

    def __init__(self, queue: Queue, meters: Meters, wire: Wire, window: Window) -> None:
        self._queue, self._meters, self._wire, self._window = queue, meters, wire, window
        self._lines = Lines(_first, self._store)
        self.idle, self.clear = self._lines.idle, self._lines.clear

    def take(self, frame: Publish, data: bytes) -> None:
        """A frame has come. Raises Problem where it cannot be stored as it is."""
        messages, atomic = messages_in(frame, data)
        alone = atomic and len(messages) > 1
        self._add(frame.topic, _Waiting(frame.id, messages, alone, is_repeatable(messages), len(data)))

    def take_plain(self, frame: PlainPublish, data: bytes) -> None:
        """The same of one that has nothing but a body, which was checked."""
        self._add(frame.topic, _Waiting(frame.id, [NewMessage(bytes(frame.body))], False, False, len(data)))

    def _add(self, topic: str, waiting: _Waiting) -> None:
        self._window.enter(waiting.size)
        self._lines.add(topic, waiting)

    async def _store(self, topic: str, frames: list[_Waiting]) -> None:
        messages = [message for frame in frames for message in frame.messages]
        answers: list[Raw | Error]
        try:
            stored = await self._queue.publish(topic, messages, None, OPERATION_TIMEOUT_S, atomic=frames[0].alone)
        except (Problem, NodeError) as refused:
            answers = [error(frame.id, refused) for frame in frames]
        else:
            answers = self._answers(topic, frames, stored)
        await self._wire.say(*answers)
        self._window.leave([frame.size for frame in frames])

    def _answers(
        self, topic: str, frames: list[_Waiting], stored: results.Published | results.PublishedRun
    ) -> list[Raw | Error]:
        answers: list[Raw | Error] = []
        start = new = 0
        if isinstance(stored, results.PublishedRun):
            found, new = places(stored)
            for frame in frames:
                end = start + len(frame.messages)
                answers.append(published(frame.id, found[start:end]))
                start = end
        else:
            for frame in frames:
                end = start + len(frame.messages)
                try:
                    found, count = places(results.Published(stored.messages[start:end]))
                    new += count
                    answers.append(published(frame.id, found))
                except Problem as problem:
                    answers.append(error(frame.id, problem))
                start = end
        self._meters.count_published(topic, new)
        return answers


def _first(line: deque[_Waiting]) -> list[_Waiting]:
    """The frames that make the next command."""
    first = line.popleft()
    frames, count, size = [first], len(first.messages), first.size
    while line and not first.alone:
        frame = line[0]
        count, size = count + len(frame.messages), size + frame.size
        if frame.alone or frame.repeatable != first.repeatable or count > MESSAGES_MAX or size > COMMAND_BYTES:
            break
        frames.append(line.popleft())
    return frames
