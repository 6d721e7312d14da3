"""At once: publishes of one command that are plain, stored together, be they to one topic or to many.

Theory: what a replica spends on a message that is alone in its topic is a quarter SQLite's; the rest is the way there,
and under a key it is as much again for a row with its claim. Most publishes need none of that way, since nothing can
come between: the topic is there and has room, and nobody has used the key, or the dedup_id. They are counted one after
the other; their rows come in one statement, and their claims share rows.

Rules of this file: whoever is answered is as he would be alone. What is not plain is not taken, and changes nothing;
before it is done in its own way, what was taken must be stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.broker import dedup
from app.broker.append import Refusal, Run, announce
from app.broker.commands import NewMessage, Publish, PublishKeyed
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
            new, keys = publish.messages, [] if publish.key is None else [publish.key]
        else:
            new, keys = [each.message for each in publish.messages], [each.key for each in publish.messages]
        names = [dedup.name(topic.id, dedup.PUBLISH, key) for key in keys]
        names += [
            dedup.name(topic.id, dedup.MESSAGE, message.dedup_id) for message in new if message.dedup_id is not None
        ]
        if names and not self._are_new(names):
            return None
        try:
            run = announce(self._state, topic, new, self._coming)
        except Refusal:
            return None
        if names:
            self._claim(topic, publish, new, names, run)
        return run

    def _are_new(self, names: Sequence[bytes]) -> bool:
        """Whether no two of these are the same, and none has a claim, be its time over."""
        return (
            len(set(names)) == len(names)
            and self._names.isdisjoint(names)
            and not any(name in self._state.claimed for name in names)
        )

    def _claim(
        self, topic: Topic, publish: Publish | PublishKeyed, new: Sequence[NewMessage], names: Sequence[bytes], run: Run
    ) -> None:
        """names: of the keys, then of the dedup_ids."""
        claims = self._claims.setdefault(topic.settings.dedup_window_ms, [])
        places = [Run(run.first_id + n, run.first_sequence + n, 1) for n in range(run.count)]
        said: list[tuple[bytes, Run]] = []
        if not isinstance(publish, Publish):
            said = [(each.fingerprint, place) for each, place in zip(publish.messages, places, strict=True)]
        elif publish.key is not None:
            said = [(publish.fingerprint, run)]
        said += [
            (dedup.content_of(message), place)
            for message, place in zip(new, places, strict=True) if message.dedup_id is not None
        ]  # fmt: skip
        claims += [(name, print_, _encode(place)) for name, (print_, place) in zip(names, said, strict=True)]
        self._names.update(names)

    def store(self) -> None:
        """Put it into the tables."""
        self._coming.store(self._state)
        for window_ms, claims in self._claims.items():
            dedup.remember_named(self._state, window_ms, claims)
        self._claims = {}
        self._names.clear()
