"""How the last delivery of a message ended, for those who ask with a token when the message is gone.

Nearly always it is known without a note: a message that is gone, and was handed out once, was acked. So only what is
different is noted: a delivery that was not the first, or one that did not end with an ack. A note is a claim, bounded
and kept for the topic's window like the others.
"""

from __future__ import annotations

from app.broker import dedup
from app.broker.state import State, Subscription, Topic

ACKED, NACKED, LOST = b"\0", b"\1", b"\2"


def note(
    state: State, topic: Topic, subscription: Subscription, sequence: int, deliveries: int, how: bytes
) -> None:
    """The subscription is done with the message; its last delivery was this one, and ended so."""
    if deliveries > 1 or (deliveries == 1 and how != ACKED):
        answer = deliveries.to_bytes(8, "big") + how
        dedup.remember(state, topic, dedup.ENDED, (_key(subscription, sequence), b"", answer))


def how(state: State, topic: Topic, subscription: Subscription, sequence: int, deliveries: int) -> bytes:
    """How this delivery of a message ended that the subscription is done with."""
    claim = dedup.find(state, topic.id, dedup.ENDED, _key(subscription, sequence))
    if claim is None:
        return ACKED if deliveries == 1 else LOST
    return claim.answer[8:] if int.from_bytes(claim.answer[:8], "big") == deliveries else LOST


def _key(subscription: Subscription, sequence: int) -> str:
    return f"{subscription.id}-{sequence}"
