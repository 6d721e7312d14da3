"""What is wrong with messages that are leased, in words: for each rule its name, its sentence, its lines.

    early, undelayed, phantom, recount, after_ack, double_ack, double_end, stale_token, overrun
                 of a single message: see `deliveries`
    skipped, unworn
                 deliveries that nobody can have got: see `leases`
    lost, torn, stale_read
                 what became of a message in the end: see `leases`
    overtaken, reordered, stale_read
                 one message and others: see `turns`

Rules of this file: as in `sentences`.
"""

from __future__ import annotations

from chaos.checks.findings import Findings
from chaos.checks.operations import Delivery, End, Message, Settle, Span

_NOBODY = "and no receive of unknown outcome, or tried again, can have taken it"


def _when(span: Span) -> str:
    return f"line {span.line} ended at {span.end:.6f} s"


def _began(end: End) -> str:
    """What happened, the begin of which bounds something from below."""
    what = {
        "publish": "published", "receive": "handed out", "extend": "extended", "nack": "given back", "ack": "acked",
    }[end.how]  # fmt: skip
    began = f"it was {what} in line {end.span.line}, which began at {end.span.start:.6f} s"
    if end.seconds == 0:
        return began
    return f"{began}, {'with a delay' if end.how in ('publish', 'nack') else 'on a lease'} of {end.seconds:g} s"


def _handed(span: Span) -> str:
    return f"was handed out in line {span.line}, which began at {span.start:.6f} s"


class LeaseSentences:
    """About one topic's messages."""

    def __init__(self, topic: str, findings: Findings) -> None:
        self._topic = topic
        self._findings = findings

    def _add(self, rule: str, text: str, *lines: int, times: int = 1) -> None:
        more = f"; so it is with {times - 1} more" if times > 1 else ""
        self._findings.add(rule, f"Topic {self._topic!r}: {text}{more}.", *lines, times=times)

    # -- one message

    def too_soon(self, rule: str, message: Message, delivery: Delivery, end: End) -> None:
        """It was handed out though something else was not over."""
        text = f"delivery {delivery.number} of {message.value!r} came too soon ({_when(delivery.receive)})"
        self._add(rule, f"{text}: {_began(end)}", end.span.line, delivery.receive.line)

    def unborn(self, message: Message, delivery: Delivery) -> None:
        """It was handed out before it was published."""
        text = f"{message.value!r} was received before its publish began ({_when(delivery.receive)})"
        self._add("phantom", text, message.published.line, delivery.receive.line)

    def kept(self, message: Message, delivery: Delivery, told: Settle, end: End) -> None:
        """A holder was told that the lease is lost, though it was not."""
        text = f"the {told.kind} of delivery {delivery.number} of {message.value!r} was told that its lease is lost"
        self._add("early", f"{text} ({_when(told.span)}), though {_began(end)}", end.span.line, told.span.line)

    def recount(self, message: Message, before: Delivery, delivery: Delivery) -> None:
        """Two deliveries with one number, or one that was over before the one before began."""
        one, other = before.receive, delivery.receive
        if before.number == delivery.number:
            text = f"delivery {delivery.number} of {message.value!r} was handed out in line {one.line}"
            self._add("recount", f"{text}, and again in line {other.line}", one.line, other.line)
            return
        text = f"delivery {delivery.number} of {message.value!r} was over ({_when(other)}) before delivery"
        self._add("recount", f"{text} {before.number} {_handed(one)}", one.line, other.line)

    def after_ack(self, message: Message, delivery: Delivery, ack: Settle, again: Delivery) -> None:
        """It was handed out again though it was done."""
        text = f"delivery {delivery.number} of {message.value!r} was acked in line {ack.span.line}"
        text = f"{text}, and yet there was delivery {again.number}, in line {again.receive.line}"
        self._add("after_ack", text, ack.span.line, again.receive.line)

    def double_ack(self, message: Message, one: tuple[Delivery, Settle], other: tuple[Delivery, Settle]) -> None:
        """Two of its deliveries were acked."""
        said = " and ".join(f"delivery {each.number} in line {ack.span.line}" for each, ack in (one, other))
        text = f"{message.value!r} was acked twice, {said}: only the last delivery can be"
        self._add("double_ack", text, one[1].span.line, other[1].span.line)

    def double_end(self, message: Message, delivery: Delivery, one: Settle, other: Settle) -> None:
        """One delivery was both acked and given back."""
        said = f"{one.kind} in line {one.span.line}, {other.kind} in line {other.span.line}"
        text = f"delivery {delivery.number} of {message.value!r} was both acked and given back ({said})"
        self._add("double_end", text, one.span.line, other.span.line)

    def stale_token(self, message: Message, delivery: Delivery, end: Settle, extend: Settle) -> None:
        """A lease was extended that had ended."""
        text = f"delivery {delivery.number} of {message.value!r} had ended ({end.kind}, {_when(end.span)})"
        text = f"{text}, and its lease was extended in line {extend.span.line}"
        self._add("stale_token", text, end.span.line, extend.span.line)

    def overrun(self, message: Message, delivery: Delivery, most: int) -> None:
        """It was handed out too often."""
        text = f"delivery {delivery.number} of {message.value!r} came in line {delivery.receive.line}"
        self._add("overrun", f"{text}, and `max_deliveries` is {most}", delivery.receive.line)

    # -- what nobody can have got

    def skipped(self, message: Message, number: int, later: Span) -> None:
        """A delivery is missing before a later one."""
        text = f"{message.value!r} came with a later number in line {later.line}, and its delivery {number} never did"
        self._add("skipped", f"{text}; {_NOBODY}", later.line)

    def unworn(self, message: Message, number: int, dead: Span) -> None:
        """A dead letter that was not handed out often enough."""
        text = f"{message.value!r} is a dead letter in line {dead.line}, and its delivery {number} never came"
        self._add("unworn", f"{text}; {_NOBODY}", dead.line)

    # -- what became of it

    def buried_alive(self, message: Message, ack: Settle, grave: str, dead: Span) -> None:
        """It was acked, and is a dead letter."""
        text = f"{message.value!r} was acked in line {ack.span.line}, and yet is a dead letter"
        self._add("after_ack", f"{text} in {grave!r} (line {dead.line})", ack.span.line, dead.line)

    def buried_early(self, message: Message, end: End, grave: str, dead: Span) -> None:
        """It is a dead letter though its last delivery had not ended."""
        text = f"{message.value!r} was a dead letter in {grave!r} too soon ({_when(dead)})"
        self._add("early", f"{text}: {_began(end)}", end.span.line, dead.line)

    def lost(self, message: Message, nothing: Span) -> None:
        """It was stored, nobody acked it, and it is gone."""
        line = message.published.line
        if message.hands:
            first = _first(message).line
            rule, what = "lost", f"{message.value!r}, published in line {line}, handed out in line {first},"
        elif message.published.acknowledged:
            rule, what = "lost", f"{message.value!r}, acknowledged in line {line},"
        else:
            rule, what = "torn", f"{message.value!r}, published in line {line} with some that were received,"
        self._add(rule, f"{what} was never acked, though nothing was left in line {nothing.line}", line, nothing.line)

    def not_nothing(self, message: Message, nothing: Span) -> None:
        """It was there before and after somebody was told that nothing is left."""
        text = f"line {nothing.line} was answered that nothing is left ({_when(nothing)})"
        lines = [message.published.line, *sorted({each.receive.line for each in message.hands or ()})[-1:]]
        self._add("stale_read", f"{text}, but {message.value!r} was there before and after", nothing.line, *lines)

    def waiting(self, times: int) -> None:
        """So many messages were never acked, and need not have been."""
        text = f"{times} messages of topic {self._topic!r} were never acked, and nobody saw that nothing was left"
        self._findings.lack(f"{text}: drain the topic before the history ends.")

    # -- one and others

    def reordered(self, front: Message, behind: Message, times: int) -> None:
        """`front` was handed out for the first time when `behind` had been."""
        first, other = _first(front), _over(behind)
        text = f"{front.value!r} ({front.sequence}) stands before {behind.value!r} ({behind.sequence}), but its first"
        text = f"{text} delivery {_handed(first)}, after the other's was over ({_when(other)})"
        self._add("reordered", text, other.line, first.line, times=times)

    def backwards(self, span: Span, front: Message, behind: Message) -> None:
        """Both were handed out for the first time in one answer, the wrong way round."""
        text = f"line {span.line} was answered with {behind.value!r} ({behind.sequence}) and then {front.value!r}"
        self._add("reordered", f"{text} ({front.sequence}), both for the first time", span.line)

    def overtaken(self, front: Message, behind: Message, times: int) -> None:
        """`behind` was handed out while `front`, of the same group, was not done."""
        other = _over(behind)
        text = f"{behind.value!r} ({behind.sequence}) of group {behind.group!r} was handed out ({_when(other)})"
        lines = [front.published.line, *sorted({each.receive.line for each in front.hands or ()})[-1:]]
        text = f"{text}, though {front.value!r} ({front.sequence}), which stands before it, was not done by then"
        self._add("overtaken", text, other.line, *lines, times=times)

    def stale(self, empty: Span, message: Message) -> None:
        """`empty` was answered that nothing waits; this message did."""
        when = f"line {empty.line} was answered that nothing waits, between {empty.start:.6f} s and {empty.end:.6f} s"
        lines = [message.published.line, _first(message).line]
        where = f"published in line {lines[0]}, first handed out in line {lines[1]}"
        self._add("stale_read", f"{when}, but {message.value!r} waited all that time ({where})", empty.line, *lines)


def _first(message: Message) -> Span:
    """Where its first delivery was."""
    assert message.hands
    return message.hands[0].receive


def _over(message: Message) -> Span:
    """Which of its deliveries was over first."""
    assert message.hands
    return min((each.receive for each in message.hands), key=lambda span: span.end)
