"""Workers: messages with groups, delays and dedup ids, leased, then acked, given back, extended, or forgotten.

Rules of this file: as with all clients, each command has bytes of its own. A token is used by its worker alone, in one
operation at a time; what becomes of it, the ending works out from the log.
"""

from __future__ import annotations

from random import Random

from app.broker.commands import (
    Ack,
    Acks,
    Command,
    CreateTopic,
    Extend,
    Nack,
    NewMessage,
    Once,
    Publish,
    Receive,
    Receives,
    TopicSettings,
    encode,
)
from app.broker.results import Each, Received, decode

WORK, DEAD = "work", "dead"
"""Leased, and where it goes after three deliveries. Made at the beginning and never deleted."""
SETTINGS = {
    WORK: TopicSettings(lease_ms=1500, max_deliveries=3, dead_letter_topic=DEAD, dedup_window_ms=600_000),
    DEAD: TopicSettings(),
}
CREATES = {topic: encode(CreateTopic(topic, settings)) for topic, settings in SETTINGS.items()}
GROUPS = (None, None, None, "g", "h")
HELD_MAX = 12
"""Of the tokens that a worker has, the oldest are forgotten: their leases run out."""


class Worker:
    """What one client does with leases. `command`: name, command, whether it may be repeated, bodies published."""

    def __init__(self, number: int, rng: Random) -> None:
        self._number, self._rng = number, rng
        self._made = 0
        self._held: list[str] = []
        self._published: list[NewMessage] = []

    def next(self) -> tuple[str, Command, bool, list[bytes]]:
        """The next operation."""
        self._made += 1
        choice = self._rng.random()
        if choice < 0.35:
            return self._publish()
        if choice < 0.65 or not self._held:
            return self._take()
        return self._settle()

    def told(self, answer: bytes) -> None:
        """What a take was answered."""
        result = decode(answer)
        for received in map(decode, result.answers) if isinstance(result, Each) else [result]:
            if isinstance(received, Received):
                self._held += [message.token for message in received.messages if message.token]
        del self._held[:-HELD_MAX]

    def _publish(self) -> tuple[str, Command, bool, list[bytes]]:
        rng, name = self._rng, f"{self._number}w{self._made}"
        messages = []
        for place in range(rng.choice((1, 1, 2, 3))):
            if self._published and rng.random() < 0.1:
                messages.append(rng.choice(self._published))
                continue
            group = rng.choice(GROUPS)
            message = NewMessage(
                f'"{name}.{place}"'.encode(), group=group, dedup_id=f"d{name}.{place}" if rng.random() < 0.3 else None,
                delay_ms=rng.choice((None, None, 0, 300)) if group is None else None,
            )  # fmt: skip
            messages.append(message)
            if message.dedup_id is not None:
                self._published = [*self._published[-5:], message]
        return "work", Publish(WORK, messages, f"k{name}", name.encode()), True, [each.body for each in messages]

    def _take(self) -> tuple[str, Command, bool, list[bytes]]:
        rng, key = self._rng, f"t{self._number}w{self._made}"
        most, lease_ms = rng.choice((1, 2, 5)), rng.choice((None, 400, 3000))
        command = Receive(WORK, max=most, auto_ack=False, lease_ms=lease_ms, key=key, final=True)
        if rng.random() < 0.3:
            another = Receive(WORK, max=2, auto_ack=False, lease_ms=lease_ms, key=f"{key} too", final=True)
            return "take", Receives([command, another]), True, []
        return "take", command, True, []

    def _settle(self) -> tuple[str, Command, bool, list[bytes]]:
        rng = self._rng
        tokens = rng.sample(self._held, rng.randint(1, min(3, len(self._held))))
        choice = rng.random()
        command: Command
        if choice < 0.2:
            command = Extend(WORK, tokens, rng.choice((200, 2000)))
        else:
            self._held = [token for token in self._held if token not in tokens]
            if choice < 0.4:
                return "settle", Acks([Ack(WORK, [token]) for token in tokens]), True, []
            command = Ack(WORK, tokens) if choice < 0.75 else Nack(WORK, tokens, rng.choice((0, 250)))
        return "settle", Once(f"s{self._number}w{self._made}", b"", encode(command)), True, []
