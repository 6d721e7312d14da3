"""Two queues that do the same give their tokens and schedules other names: whose is whose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from app.broker.commands import Ack, Acks, BadCommand, Command, Extend, Fire, Nack, Once, decode, encode
from app.broker.results import Each, Published, PublishedEach, PublishedRun, Received, Refused, Result
from app.broker.results import decode as decode_result
from app.broker.results import encode as encode_result

Settling = TypeVar("Settling", Ack, Nack, Extend)


class Names:
    """Of the machine, in the model's terms. `schedule`: the model's number of the machine's schedule."""

    def __init__(self, schedule: Callable[[int], int]) -> None:
        self._schedule = schedule
        self._tokens: dict[str, str] = {}

    def command(self, data: bytes) -> bytes:
        """The same command in the model's terms."""
        try:
            command: Command = decode(data)
        except BadCommand:
            return data
        if isinstance(command, Ack | Nack | Extend):
            return encode(self._settling(command))
        if isinstance(command, Acks):
            return encode(Acks([self._settling(each) for each in command.acks]))
        if isinstance(command, Once):
            return encode(msgspec.structs.replace(command, command=self.command(command.command)))
        if isinstance(command, Fire):
            return encode(msgspec.structs.replace(command, schedule=self._schedule(command.schedule)))
        return data

    def _settling(self, command: Settling) -> Settling:
        return msgspec.structs.replace(command, tokens=[self._tokens.get(t, t) for t in command.tokens])

    def answer(self, given: Result, expected: Result | str) -> Result | str:
        """The machine's answer in the model's terms: of a refusal its code, tokens by the model's names."""
        if isinstance(given, Refused):
            return given.code
        if isinstance(given, Published):
            return _without_words(given)
        if isinstance(given, PublishedEach):
            return PublishedEach(
                [
                    Refused(each.code, "") if isinstance(each, Refused) else _without_words(each)
                    for each in given.answers
                    if not isinstance(each, PublishedRun)
                ]
            )
        if isinstance(given, Each) and isinstance(expected, Each):
            return Each([self._part(*each) for each in zip(given.answers, expected.answers, strict=True)])
        if not isinstance(given, Received) or not isinstance(expected, Received):
            return given
        for own, other in zip(given.messages, expected.messages, strict=False):
            if own.token is not None and other.token is not None:
                assert other.token in self._tokens.values() or own.token not in self._tokens, "a token used twice"
                self._tokens.setdefault(own.token, other.token)
        renamed = [
            msgspec.structs.replace(each, token=each.token and self._tokens.get(each.token)) for each in given.messages
        ]
        return Received(renamed, given.more, given.final)


    def _part(self, given: bytes, expected: bytes) -> bytes:
        other = decode_result(expected)
        named = self.answer(decode_result(given), other.code if isinstance(other, Refused) else other)
        return encode_result(Refused(named, "") if isinstance(named, str) else named)


def _without_words(given: Published) -> Published:
    return Published([msgspec.structs.replace(each, detail=None) for each in given.messages])
