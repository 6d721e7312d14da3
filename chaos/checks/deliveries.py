"""The life of one leased message: when each of its deliveries can have ended, and what cannot have come after.

Theory. A delivery begins at a moment of its receive, and ends in one of three ways:

    ack      at a moment of the ack; the message is done, and is never handed out again
    nack     at a moment of the nack; it may be handed out again once the nack's delay is over
    in time  when the lease is over: `lease_s` after the receive's moment, or after that of the last extend

An answer tells which: an ack (nack) that was answered as done, and no other way. Otherwise all of them are possible,
unknown operations included; and since nothing ends early, the next delivery needs no less than the earliest of them.
But an ack is also done when the lease had run out, as long as nobody else had the message: so its holder may have been
told before that the lease is lost, of anything but an ack.
A moment within an operation is not before the operation's start: so the bounds here are starts, plus lengths.

The order of extends. The last that took effect decides. An extend that was over before another one began was not the
last if that other one is known to be done; the last one's moment is not before the latest start of those that are done.

    early        handed out again, or said to be lost, before the lease can have been over
    undelayed    handed out before the delay of its publish or of its nack can have been over
    phantom      handed out before its publish began
    recount      one number of a message's deliveries twice, or a later one that was over before an earlier one began
    after_ack    handed out again though an ack had been answered as done
    double_ack   two deliveries of one message, and an ack of each was answered as done
    double_end   an ack and a nack of one delivery were both answered as done
    stale_token  a lease was extended after an ack or a nack had ended it
    overrun      handed out more often than the topic's `max_deliveries`

Rules of this file: one message at a time, nothing of others. Where a length counts, the cluster's clock is compared
with the harness's, and `CLOCK_S` is granted; all else is order alone, and nothing is granted.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Literal

from chaos.checks.lease_sentences import LeaseSentences
from chaos.checks.operations import Delivery, End, Message, Settle, Span

CLOCK_S = 0.1
"""What a length may be too short by, from the harness's start of it to its end. Leases run by the leaders' wall clock,
in whole milliseconds, and the harness measures by its own monotonic one. All run on one machine, so there is no skew,
but a wall clock is steered: at the usual 500 ppm a minute's length comes out 30 ms wrong. Far less than any lease."""

ENDS: tuple[Literal["ack", "nack"], ...] = ("ack", "nack")
How = Literal["publish", "receive", "extend", "nack"]
_at = attrgetter("at")


def _after(start: float, how: How, span: Span, seconds: float) -> End:
    return End(start + max(0.0, seconds - CLOCK_S), how, span, seconds)


def settles(delivery: Delivery, kind: str, said: str) -> list[Settle]:
    """What its holder asked for of this kind and was told so."""
    return [each for each in delivery.settles or () if each.kind == kind and each.said == said]


def in_time(delivery: Delivery) -> End:
    """When its lease can have been over, if nothing else ended it."""
    done = settles(delivery, "extend", "done")
    last = max([delivery.receive.start, *(each.span.start for each in done)])
    ways = [_after(last, "extend", each.span, each.seconds) for each in done if each.span.end >= last]
    if not done:
        ways.append(_after(last, "receive", delivery.receive, delivery.lease_s))
    for each in settles(delivery, "extend", "maybe"):
        ways.append(_after(max(last, each.span.start), "extend", each.span, each.seconds))
    return min(ways, key=_at)


def ended(delivery: Delivery) -> End:
    """When it can have ended, in whatever way."""
    ways = {kind: [End(each.span.start, kind, each.span) for each in _possible(delivery, kind)] for kind in ENDS}
    for kind in ENDS:
        if settles(delivery, kind, "done"):
            return min(ways[kind], key=_at)
    return min([in_time(delivery), *ways["ack"], *ways["nack"]], key=_at)


def lost_from(delivery: Delivery, kind: str) -> End:
    """When at the earliest its holder can have been told that the lease is lost, who asked for this."""
    late = kind != "ack" and settles(delivery, "ack", "done") and not settles(delivery, "nack", "done")
    return min(in_time(delivery), ended(delivery), key=_at) if late else ended(delivery)


def given_back(delivery: Delivery, *, delayed: bool) -> End:
    """When it can have ended without an ack, of which none was answered; `delayed`: and the delay was over, too."""
    nacks = _possible(delivery, "nack")
    back = [_after(each.span.start, "nack", each.span, each.seconds if delayed else 0.0) for each in nacks]
    if any(each.said == "done" for each in nacks):
        return min(back, key=_at)
    return min([in_time(delivery), *back], key=_at)


def ack_of(message: Message) -> tuple[Delivery, Settle] | None:
    """The first delivery of which an ack was answered as done, and that ack."""
    for delivery in message.hands or ():
        for each in settles(delivery, "ack", "done"):
            return delivery, each
    return None


def _possible(delivery: Delivery, kind: str) -> list[Settle]:
    """Those of this kind that may have ended it."""
    return [*settles(delivery, kind, "done"), *settles(delivery, kind, "maybe")]


class Life:
    """Judges messages of one topic, one after another. `most`: its `max_deliveries`."""

    def __init__(self, most: int | None, say: LeaseSentences) -> None:
        self._most = most
        self._say = say

    def judge(self, message: Message) -> None:
        """Say what is wrong with this one."""
        floor = _after(message.published.start, "publish", message.published, message.delay_s)
        done: tuple[Delivery, Settle] | None = None
        before: Delivery | None = None
        for delivery in message.hands or ():
            self._settled(message, delivery)
            if self._most is not None and delivery.number > self._most:
                self._say.overrun(message, delivery, self._most)
            if before is not None and not self._in_turn(message, before, delivery):
                continue
            if done is not None:
                self._acked(message, *done, delivery)
                return
            if delivery.receive.end < floor.at:
                self._too_soon(message, delivery, floor)
            acks = settles(delivery, "ack", "done")
            if acks:
                done = delivery, acks[0]
            else:
                floor = max(floor, given_back(delivery, delayed=True), key=_at)
            before = delivery

    def _in_turn(self, message: Message, before: Delivery, delivery: Delivery) -> bool:
        """Whether it has a number of its own, and came after the one before."""
        good = delivery.number != before.number and delivery.receive.end >= before.receive.start
        if not good:
            self._say.recount(message, before, delivery)
        return good

    def _acked(self, message: Message, delivery: Delivery, ack: Settle, again: Delivery) -> None:
        acks = settles(again, "ack", "done")
        if acks:
            self._say.double_ack(message, (delivery, ack), (again, acks[0]))
        else:
            self._say.after_ack(message, delivery, ack, again)

    def _too_soon(self, message: Message, delivery: Delivery, floor: End) -> None:
        if delivery.receive.end < message.published.start:
            self._say.unborn(message, delivery)
        else:
            delayed = floor.how in ("publish", "nack") and floor.seconds > 0
            self._say.too_soon("undelayed" if delayed else "early", message, delivery, floor)

    def _settled(self, message: Message, delivery: Delivery) -> None:
        """What its holder was told, taken together."""
        told = delivery.settles
        if not told or (len(told) == 1 and told[0].said != "lost"):
            return
        ends = [*settles(delivery, "ack", "done"), *settles(delivery, "nack", "done")]
        if len({each.kind for each in ends}) > 1:
            self._say.double_end(message, delivery, ends[0], ends[-1])
            return
        first = min(ends, key=lambda each: each.span.end, default=None)
        for each in told:
            if each.kind == "extend" and each.said == "done" and first and first.span.end < each.span.start:
                self._say.stale_token(message, delivery, first, each)
            elif each.said == "lost" and each.span.end < (end := lost_from(delivery, each.kind)).at:
                self._say.kept(message, delivery, each, end)
