"""What several clients asked for in one command (`app.api.joined`), each for itself."""

from __future__ import annotations

from app.broker import results
from app.broker.commands import Acks, Command, Receives
from app.broker.results import Each


def parts_of(command: Command, answer: object) -> list[tuple[Command, object]]:
    """Each receive, or ack, with its answer; a command that is no such one, as it is."""
    if not isinstance(answer, Each):
        return [(command, answer)]
    assert isinstance(command, Receives | Acks)
    parts = command.receives if isinstance(command, Receives) else command.acks
    return [(part, results.decode(each)) for part, each in zip(parts, answer.answers, strict=True)]
