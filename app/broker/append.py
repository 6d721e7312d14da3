"""Append: what is published becomes a topic's next messages, as far as the topic takes it.

All or nothing: whoever asks gets the run of places that the messages have, or a Refusal, and nothing has changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.broker import messages, overflow
from app.broker.commands import NewMessage
from app.broker.messages import PLAIN, Attributes
from app.broker.packs import Coming
from app.broker.results import INVALID_MESSAGE, TOPIC_FULL
from app.broker.state import State, Topic


class Run(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """Where messages are: `count` consecutive ids and sequences."""

    first_id: int
    first_sequence: int
    count: int


class Refusal(Exception):
    """A message cannot be stored: `code` and a sentence. `first`: where the message is that has its dedup_id."""

    def __init__(self, code: str, detail: str, first: Run | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.first = code, detail, first


def append(state: State, topic: Topic, new: Sequence[NewMessage]) -> Run:
    """Store these as the topic's next. Raises Refusal, with nothing changed."""
    coming = Coming()
    run = announce(state, topic, new, coming)
    coming.store(state)
    return run


def announce(state: State, topic: Topic, new: Sequence[NewMessage], coming: Coming) -> Run:
    """The same, but that their rows are `coming`."""
    numbers = state.numbers
    are_bodies = _are_bodies(topic, new)
    carried = [PLAIN] * len(new) if are_bodies else [check(state, topic, message) for message in new]
    _admit(state, topic, new, carried)
    run = Run(numbers.next_message_id, topic.next_sequence, len(new))
    numbers.next_message_id += run.count
    topic.next_sequence += run.count
    if are_bodies:
        bodies = [message.body for message in new]
        messages.add_bodies(state, topic, run.first_id, run.first_sequence, bodies, coming)
        return run
    ahead = run.first_sequence - run.first_id
    rows = [
        messages.compose(state, topic, id, id + ahead, message.body, attributes, messages.delay_of(topic, message))
        for id, (message, attributes) in enumerate(zip(new, carried, strict=True), run.first_id)
    ]
    messages.add(state, topic, rows, coming)
    return run


def _are_bodies(topic: Topic, new: Sequence[NewMessage]) -> bool:
    """Whether none of these carries anything beside its body, and all arrive at once, as most batches do."""
    if topic.settings.ttl_ms is not None or topic.settings.delay_ms:
        return False
    for message in new:
        if (
            message.binary or message.group is not None or message.headers is not None or message.priority
            or message.delay_ms or message.ttl_ms is not None
        ):  # fmt: skip
            return False
    return True


def _admit(state: State, topic: Topic, new: Sequence[NewMessage], carried: Sequence[Attributes]) -> None:
    settings = topic.settings
    if settings.max_messages is None and settings.max_bytes is None:
        return
    sizes = (messages.size_of(message.body, each) for message, each in zip(new, carried, strict=True))
    size_bytes = sum(sizes)
    if overflow.never_fits(topic, len(new), size_bytes):
        limits = ("max_messages", settings.max_messages), ("max_bytes", settings.max_bytes)
        has = " and ".join(f"{name} {limit:,}" for name, limit in limits if limit is not None)
        these = "this is one" if len(new) == 1 else f"these are {len(new):,}"
        here = f"{these} of {size_bytes:,} bytes"
        detail = f"the topic {topic.name!r} has {has}, and {here}: send less, or raise its limits"
        raise Refusal(INVALID_MESSAGE, detail)
    if not overflow.admit(state, topic, len(new), size_bytes):
        raise Refusal(TOPIC_FULL, f"the topic {topic.name!r} is full: consume from it, or raise its limits")


def check(state: State, topic: Topic, message: NewMessage) -> Attributes:
    """What the message will carry; Refusal for what does not go together, or not with this topic."""
    if message.group is not None and message.delay_ms:
        raise Refusal(INVALID_MESSAGE, "a message with a group cannot have a delay of its own, only its topic can")
    if message.group is not None and message.priority:
        raise Refusal(INVALID_MESSAGE, "a message has a group or a priority, not both")
    if message.priority and not topic.settings.priorities:
        raise Refusal(INVALID_MESSAGE, f"the topic {topic.name!r} was not created with priorities")
    if message.headers is None and message.group is None and message.ttl_ms is None and topic.settings.ttl_ms is None:
        return Attributes(message.binary, priority=message.priority) if message.binary or message.priority else PLAIN
    return messages.attributes_for(state, topic, message)
