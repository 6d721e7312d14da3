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

from app.broker import dedup
from app.broker.append import Refusal, Run, append, check
from app.broker.at_once import AtOnce
from app.broker.commands import NewMessage, Publish, Publishes, PublishKeyed
from app.broker.results import (
    KEY_REUSED,
    Published,
    PublishedEach,
    PublishedMessage,
    PublishedRun,
    Refused,
    encode,
    topic_not_found,
)
from app.broker.state import State, Topic


class Mixed(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """The same where it is not so simple."""

    messages: list[PublishedMessage]


_encode = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(Run | Mixed).decode


Answer = Published | PublishedRun | Refused


def publish(state: State, command: Publish | PublishKeyed) -> bytes:
    """Published; refused for an unknown topic, a key used for something else, or (atomic) any message refused. Under
    keys each message is answered as a Publish of it alone would be."""
    return encode(_each(state, [command], may_drop_more=state.may_drop_more)[0])


def publish_each(state: State, command: Publishes) -> bytes:
    """PublishedEach. A topic over its limit comes nearer to it, whatever another one has dropped."""
    return encode(PublishedEach(_each(state, command.publishes, may_drop_more=True)))


def _each(state: State, publishes: Sequence[Publish | PublishKeyed], *, may_drop_more: bool) -> list[Answer]:
    answers: list[Answer] = []
    at_once = AtOnce(state)
    for each in publishes:
        run = at_once.take(each)
        if run is not None:
            answers.append(_answer(run))
        else:
            at_once.store()
            state.may_drop_more = may_drop_more
            answers.append(_alone(state, each))
    at_once.store()
    return answers


def _alone(state: State, command: Publish | PublishKeyed) -> Answer:
    """Of what is not plain, message by message where it has keys."""
    topic = state.topic(command.topic)
    if topic is None:
        return topic_not_found(command.topic)
    if isinstance(command, Publish):
        return _publish(state, topic, command)
    places: list[PublishedMessage] = []
    for each in command.messages:
        answer = _publish(state, topic, Publish(topic.name, [each.message], each.key, each.fingerprint))
        if isinstance(answer, Refused):
            places.append(PublishedMessage("", 0, code=answer.code, detail=answer.detail))
        else:
            places += answer.messages if isinstance(answer, Published) else answer.spelled_out().messages
    return Published(places)


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
        elif contents[message.dedup_id] != dedup.content_of(message):
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
    contents[message.dedup_id] = dedup.content_of(message)
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


def _again(kept: Run | Mixed) -> Answer:
    if isinstance(kept, Run):
        return _answer(kept, duplicate=True)
    stored = [msgspec.structs.replace(each, duplicate=True) if each.code is None else each for each in kept.messages]
    return Published(stored)


def _answer(run: Run, duplicate: bool = False) -> PublishedRun:
    return PublishedRun(run.first_id, run.first_sequence, run.count, duplicate)
