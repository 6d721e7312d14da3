"""At once: publishes of one command that are plain, stored together, be they to one topic or to many.

Theory: what a replica spends on a message that is alone in its topic is a quarter SQLite's; the rest is the way there,
and under a key it is as much again for a row with its claim. Most publishes need none of that way, since nothing can
come between: the topic is there and has room, and nobody has used the key. They are counted one after the other, and
their rows, and their claims, come in one statement.

Rules of this file: whoever is answered is as he would be alone. What is not plain is not taken, and changes nothing;
before it is done in its own way, what was taken must be stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.broker import dedup
from app.broker.append import Refusal, Run, announce
from app.broker.commands import Publish, PublishKeyed
from app.broker.packs import Coming
from app.broker.state import State, Topic

_encode = msgspec.msgpack.Encoder().encode


class AtOnce:
    """What was taken and is not stored yet."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._coming = Coming()
        self._names: set[bytes] = set()
        self._claims: dict[int, list[dedup.Named]] = {}
        """By for how long they live, in ms: claims of one row live equally long."""

    def take(self, publish: Publish | PublishKeyed) -> Run | None:
        """Where its messages will be; None where it is not plain."""
        topic = self._state.topic(publish.topic)
        if topic is None or topic.settings.overflow != "reject":
            return None
        if isinstance(publish, Publish):
            new = publish.messages
            keys = [] if publish.key is None else [publish.key]
        else:
            new = [each.message for each in publish.messages]
            keys = [each.key for each in publish.messages]
        for message in new:
            if message.dedup_id is not None:
                return None
        names = [dedup.name(topic.id, dedup.PUBLISH, key) for key in keys]
        if names and not self._are_new(names):
            return None
        try:
            run = announce(self._state, topic, new, self._coming)
        except Refusal:
            return None
        if names:
            self._claim(topic, publish, names, run)
        return run

    def _are_new(self, names: Sequence[bytes]) -> bool:
        """Whether no two of these keys are the same, and none has a claim, be its time over."""
        taken = self._names
        return len(set(names)) == len(names) and taken.isdisjoint(names) and not any(
            name in self._state.claimed for name in names
        )

    def _claim(self, topic: Topic, publish: Publish | PublishKeyed, names: Sequence[bytes], run: Run) -> None:
        claims = self._claims.setdefault(topic.settings.dedup_window_ms, [])
        if isinstance(publish, Publish):
            claims.append((names[0], publish.fingerprint, _encode(run)))
        else:
            for n, (name, each) in enumerate(zip(names, publish.messages, strict=True)):
                answer = _encode(Run(run.first_id + n, run.first_sequence + n, 1))
                claims.append((name, each.fingerprint, answer))
        self._names.update(names)

    def store(self) -> None:
        """Put it into the tables."""
        self._coming.store(self._state)
        for window_ms, claims in self._claims.items():
            dedup.remember_named(self._state, window_ms, claims)
        self._claims = {}
        self._names.clear()
