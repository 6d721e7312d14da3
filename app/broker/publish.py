"""Publish: append messages to a topic, all or none, or each that can be; PublishKeyed: each under a key of its own;
Publishes: several of these.

The messages of one command mostly have consecutive ids and sequences, so its answer can be told again from three
numbers: that is all that a claim keeps of it then. A message with a dedup_id has a claim of its own: a second one with
the same content is answered with the first one's place, a second one with another content is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from app.broker import dedup, messages, overflow
from app.broker.commands import NewMessage, Publish, Publishes, PublishKeyed
from app.broker.digest import fingerprint
from app.broker.messages import PLAIN, Attributes
from app.broker.results import (
    INVALID_MESSAGE,
    KEY_REUSED,
    TOPIC_FULL,
    Published,
    PublishedEach,
    PublishedMessage,
    PublishedRun,
    Refused,
    encode,
    topic_not_found,
)
from app.broker.state import State, Topic


class Run(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """The answer to a Publish in short: `count` consecutive ids and sequences."""

    first_id: int
    first_sequence: int
    count: int


class Mixed(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """The same where it is not so simple."""

    messages: list[PublishedMessage]


class Refusal(Exception):
    """A message cannot be stored: `code` and a sentence. `first`: where the message is that has its dedup_id."""

    def __init__(self, code: str, detail: str, first: Run | None = None) -> None:
        super().__init__(detail)
        self.code, self.detail, self.first = code, detail, first


_encode = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(Run | Mixed).decode


Answer = Published | PublishedRun | Refused


def publish(state: State, command: Publish | PublishKeyed) -> bytes:
    """Published; refused for an unknown topic, a key used for something else, or (atomic) any message refused. Under
    keys each message is answered as a Publish of it alone would be."""
    return encode(_done(state, command))


def publish_each(state: State, command: Publishes) -> bytes:
    """PublishedEach. A topic over its limit comes nearer to it, whatever another one has dropped."""
    answers = []
    for each in command.publishes:
        state.may_drop_more = True
        answers.append(_done(state, each))
    return encode(PublishedEach(answers))


def _done(state: State, command: Publish | PublishKeyed) -> Answer:
    topic = state.topic(command.topic)
    if topic is None:
        return topic_not_found(command.topic)
    return _publish(state, topic, command) if isinstance(command, Publish) else _publish_keyed(state, topic, command)


def _publish_keyed(state: State, topic: Topic, command: PublishKeyed) -> Answer:
    run = _fresh(state, topic, command)
    if run is not None:
        return _answer(run)
    places: list[PublishedMessage] = []
    for each in command.messages:
        answer = _publish(state, topic, Publish(topic.name, [each.message], each.key, each.fingerprint))
        if isinstance(answer, Refused):
            places.append(PublishedMessage("", 0, code=answer.code, detail=answer.detail))
        else:
            places += answer.messages if isinstance(answer, Published) else answer.spelled_out().messages
    return Published(places)


def _fresh(state: State, topic: Topic, command: PublishKeyed) -> Run | None:
    """Mostly no key was used before, and there is room for all: then all at once costs a fraction, and comes to the
    same. None where it is not so, with nothing changed."""
    keys = [each.key for each in command.messages]
    new = [each.message for each in command.messages]
    if len(new) == 1 or topic.settings.overflow != "reject" or any(message.dedup_id is not None for message in new):
        return None
    if len(set(keys)) < len(keys) or dedup.is_any_claimed(state, topic.id, dedup.PUBLISH, keys):
        return None
    try:
        run = append(state, topic, new)
    except Refusal:
        return None
    answers = (_encode(Run(run.first_id + n, run.first_sequence + n, 1)) for n in range(run.count))
    claims = [(each.key, each.fingerprint, answer) for each, answer in zip(command.messages, answers, strict=True)]
    dedup.remember(state, topic, dedup.PUBLISH, *claims)
    return run


def _publish(state: State, topic: Topic, command: Publish) -> Answer:
    if command.key is None:
        return _store_new(state, topic, command)[0]
    claim = dedup.find(state, topic.id, dedup.PUBLISH, command.key)
    if claim is not None:
        if claim.fingerprint != command.fingerprint:
            return Refused(KEY_REUSED, f"the key {command.key!r} was used for another publish")
        return _again(_decode_answer(claim.answer))
    answer, kept = _store_new(state, topic, command)
    if kept is not None:
        dedup.remember(state, topic, dedup.PUBLISH, (command.key, command.fingerprint, _encode(kept)))
    return answer


def _store_new(state: State, topic: Topic, command: Publish) -> tuple[Answer, Run | Mixed | None]:
    """-> the answer, and what a claim keeps of it: None where nothing was stored."""
    if command.atomic:
        try:
            return _all(state, topic, command.messages)
        except Refusal as refusal:
            return Refused(refusal.code, refusal.detail), None
    if topic.settings.overflow == "reject":
        # Each for itself is mostly all of them: then all at once costs a fraction, and comes to the same.
        with contextlib.suppress(Refusal):
            return _all(state, topic, command.messages)
    mixed = Mixed([_try(state, topic, message) for message in command.messages])
    nothing_done = all(each.code is not None for each in mixed.messages)
    return Published(mixed.messages), None if nothing_done else mixed


def _all(state: State, topic: Topic, new: Sequence[NewMessage]) -> tuple[Answer, Run | Mixed]:
    """The same of messages that are stored together. Raises Refusal, with nothing changed."""
    if all(message.dedup_id is None for message in new):
        run = append(state, topic, new)
        return _answer(run), run
    mixed = Mixed(_store(state, topic, new))
    return Published(mixed.messages), mixed


def append(state: State, topic: Topic, new: Sequence[NewMessage]) -> Run:
    """Store these as the topic's next. Raises Refusal, with nothing changed."""
    numbers = state.numbers
    are_bodies = _are_bodies(topic, new)
    carried = [PLAIN] * len(new) if are_bodies else [check(state, topic, message) for message in new]
    _admit(state, topic, new, carried)
    run = Run(numbers.next_message_id, topic.next_sequence, len(new))
    numbers.next_message_id += run.count
    topic.next_sequence += run.count
    if are_bodies:
        messages.add_bodies(state, topic, run.first_id, run.first_sequence, [message.body for message in new])
        return run
    ahead = run.first_sequence - run.first_id
    rows = [
        messages.compose(state, topic, id, id + ahead, message.body, attributes, messages.delay_of(topic, message))
        for id, (message, attributes) in enumerate(zip(new, carried, strict=True), run.first_id)
    ]
    messages.add(state, topic, rows)
    return run


def _are_bodies(topic: Topic, new: Sequence[NewMessage]) -> bool:
    """Whether none of these carries anything beside its body, and all arrive at once, as most batches do."""
    if topic.settings.ttl_ms is not None or topic.settings.delay_ms:
        return False
    return not any(
        message.binary or message.group is not None or message.headers is not None or message.priority
        or message.delay_ms or message.ttl_ms is not None
        for message in new
    )  # fmt: skip


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


def _store(state: State, topic: Topic, new: Sequence[NewMessage]) -> list[PublishedMessage]:
    """Store those that are not there already. Raises Refusal, with nothing changed."""
    contents: dict[str, bytes] = {}
    places: dict[str | None, Run] = {}
    fresh = []
    for message in new:
        check(state, topic, message)
        if message.dedup_id is None or message.dedup_id not in contents:
            known = None if message.dedup_id is None else _known(state, topic, message, contents)
            if known is None:
                fresh.append(message)
            else:
                places[message.dedup_id] = known
        elif contents[message.dedup_id] != _content(message):
            raise _reused(message.dedup_id)
    run, count = append(state, topic, fresh) if fresh else Run(0, 0, 0), 0
    answers = []
    for message in new:
        id = message.dedup_id
        if id in places:
            answers.append(_place(places[id], duplicate=True))
            continue
        place = Run(run.first_id + count, run.first_sequence + count, 1)
        count += 1
        if id is not None:
            dedup.remember(state, topic, dedup.MESSAGE, (id, contents[id], _encode(place)))
            places[id] = place
        answers.append(_place(place))
    return answers


def _try(state: State, topic: Topic, message: NewMessage) -> PublishedMessage:
    """Store this one, unless it is there already; why not, if it cannot be."""
    try:
        return _store(state, topic, [message])[0]
    except Refusal as refusal:
        first = _place(refusal.first) if refusal.first else PublishedMessage("", 0)
        return msgspec.structs.replace(first, code=refusal.code, detail=refusal.detail)


def _place(run: Run, *, duplicate: bool = False) -> PublishedMessage:
    return PublishedMessage(str(run.first_id), run.first_sequence, duplicate)


def _known(state: State, topic: Topic, message: NewMessage, contents: dict[str, bytes]) -> Run | None:
    """Where the message with this dedup_id is; Refusal when that was another. What it says goes into `contents`."""
    assert message.dedup_id is not None
    contents[message.dedup_id] = _content(message)
    claim = dedup.find(state, topic.id, dedup.MESSAGE, message.dedup_id)
    if claim is None:
        return None
    run = _decode_answer(claim.answer)
    assert isinstance(run, Run)
    if claim.fingerprint != contents[message.dedup_id]:
        raise _reused(message.dedup_id, run)
    return run


def _reused(dedup_id: str, first: Run | None = None) -> Refusal:
    return Refusal(KEY_REUSED, f"the dedup_id {dedup_id!r} was used for another message", first)


def _content(message: NewMessage) -> bytes:
    """Equal for messages that say the same."""
    headers = None if message.headers is None else sorted(message.headers.items())
    said = (message.body, message.binary, headers, message.group, message.priority)
    return fingerprint(_encode(said))


def _again(kept: Run | Mixed) -> Answer:
    if isinstance(kept, Run):
        return _answer(kept, duplicate=True)
    stored = [msgspec.structs.replace(each, duplicate=True) if each.code is None else each for each in kept.messages]
    return Published(stored)


def _answer(run: Run, duplicate: bool = False) -> PublishedRun:
    return PublishedRun(run.first_id, run.first_sequence, run.count, duplicate)
