"""Commands under a key: what was done once is answered again, and not done again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.broker import dedup
from app.broker.commands import (
    Acks,
    BadCommand,
    Once,
    Publish,
    Publishes,
    PublishKeyed,
    Receive,
    Receives,
    decode,
)
from app.broker.results import BAD_COMMAND, KEY_REUSED, Refused, refuse
from app.broker.results import decode as decode_result
from app.broker.state import State

_NEVER_INSIDE = Once | Publish | PublishKeyed | Publishes | Receive | Receives | Acks
Handlers = dict[type, Callable[[State, Any], bytes]]


def once(state: State, command: Once, handlers: Handlers) -> bytes:
    """The answer of the command inside; refused for a key used for something else."""
    claim = dedup.find(state, 0, dedup.ONCE, command.key)
    if claim is not None:
        if claim.fingerprint != command.fingerprint:
            return refuse(KEY_REUSED, f"the key {command.key!r} was used for another request")
        return claim.answer
    try:
        inner = decode(command.command)
    except BadCommand as error:
        return refuse(BAD_COMMAND, str(error))
    if isinstance(inner, _NEVER_INSIDE):
        return refuse(BAD_COMMAND, f"{type(inner).__name__} cannot be done under another command's key")
    answer = handlers[type(inner)](state, inner)
    if not isinstance(decode_result(answer), Refused):
        dedup.remember_once(state, command.key, command.fingerprint, answer)
    return answer
