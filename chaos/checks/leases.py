"""A topic whose messages are leased: who had each one when, what was said of it, and what became of it in the end.

Theory. A receive hands out messages for a while, each as a delivery with a number and a token; an ack, a nack, an
extend names tokens. A message ends by an ack; or, where the topic says so, by being handed out `max_deliveries` times
without one: then it is a dead letter, and goes on as a message of another topic. Four questions:

    the life of each message          `deliveries`
    the order in which they go        `line`, `turns`
    deliveries that nobody saw        A number that is missing was handed out to somebody, whose receive is of unknown
                                      outcome and began before the next number was over. Who asked for k may have got k.
                                      Likewise who tried again with a key, and was told fewer: what is settled by then
                                      is left out
                                      The first to be needed takes the first that began: exact, as what can serve an
                                      early need can serve any later one.
                                      `skipped`, and for a dead letter `unworn`: no such receive is left
    what became of it                 A message that was stored when somebody began to look, and was told that nothing
                                      is left, was gone by the end of that look: by an ack (or one of unknown outcome),
                                      or as a dead letter, which then is a message of the other topic from there on.
                                      `lost` (`torn`, if its publish is known from others of it alone): in no way
                                      `stale_read`: it went only later

A lease that nobody heard of runs out, so that a receive of unknown outcome explains no loss; but an ack of unknown
outcome does. Without anybody who was told that nothing is left, a message that was not acked is missing evidence.

Rules of this file: tokens are the cluster's and mean nothing here, but that each names one delivery. An operation on a
token that nobody was handed is the harness's mistake: `HistoryError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from operator import attrgetter
from typing import NamedTuple

from chaos.checks.deliveries import Life, ack_of, ended, given_back, settles
from chaos.checks.findings import Findings
from chaos.checks.lease_sentences import LeaseSentences
from chaos.checks.line import Line
from chaos.checks.operations import Answer, Delivery, Looks, Message, Said, Settle, Span
from chaos.checks.published import Published
from chaos.checks.sentences import Sentences
from chaos.checks.turns import Turns, first_over
from chaos.history import HistoryError, Op, Topic

LOST = "lease_lost"


class Asked(NamedTuple):
    """What was asked of one topic, publishes apart. `takers`: receives of which nobody knows all that they took;
    `empty`: answers that nothing waits; `nothing`: answers that nothing is left."""

    receives: list[Answer]
    settles: list[Answer]
    takers: list[Span]
    empty: list[Span]
    nothing: list[Span]


class _Need(NamedTuple):
    """Somebody got `missing` deliveries of this message, from `number` on, by the end of `shown`; `dead`: as that is a
    dead letter."""

    message: Message
    number: int
    missing: int
    shown: Span
    dead: bool = False


class Leases:
    """One such topic. First `collect`, of all topics; then `judge`, those with a dead-letter topic first."""

    def __init__(self, published: Published, asked: Asked, made: Topic | None, findings: Findings) -> None:
        self._published = published
        self._asked = asked
        self._made = made
        self._findings = findings
        self._say = LeaseSentences(published.topic, findings)
        self._nothing = Looks(asked.nothing)
        self._grave: Leases | None = None
        self._sources: list[Published] = []
        self._tokens: dict[str, Delivery] = {}
        self._unreadable = False
        """Somebody was handed something of which the token was not told."""
        self._heirs: list[Message] = []
        """Dead letters that were never seen here, and must have come."""

    def bury_in(self, grave: Leases) -> None:
        """Its dead letters go there."""
        self._grave = grave
        grave._sources.append(self._published)

    # -- collecting

    def collect(self) -> None:
        """Put together what was said of each delivery."""
        for line, op in self._asked.receives:
            self._receive(line, op)
        for line, op in self._asked.settles:
            self._settle(line, op)

    def _receive(self, line: int, op: Op) -> None:
        span = Span.of(line, op, len(op.values))
        if not len(op.values) == len(op.tokens) == len(op.deliveries):
            text = f"{len(op.values)} messages came with {len(op.tokens)} tokens and {len(op.deliveries)} numbers"
            self._findings.add("misfit", f"{text} ({self._published.topic!r}).", line)
            self._unreadable = True
            return
        plain: Message | None = None
        for place, (value, token, number) in enumerate(zip(op.values, op.tokens, op.deliveries, strict=True)):
            delivery = Delivery(number, span, op.lease_s)
            first = self._tokens.setdefault(token, delivery)
            if first is not delivery:
                text = f"The token {token!r} was handed out in line {first.receive.line}, and again in line {line}."
                self._findings.add("recount", text, first.receive.line, line)
            message = self._took(span, value)
            if message is None:
                continue
            message.hands = message.hands or []
            message.hands.append(delivery)
            self._published.place(message, span, op.sequences[place] if place < len(op.sequences) else None)
            if place < len(op.groups) and op.groups[place] != message.group:
                text = f"{self._published.of(value)} is of group {message.group!r}, and came as of {op.groups[place]!r}"
                self._findings.add("misfit", f"{text}.", message.published.line, line)
            if number == 1 and message.group is None and not message.delay_s:
                if plain is not None and (plain.sequence or 0) > (message.sequence or 0):
                    self._say.backwards(span, message, plain)
                plain = message

    def _took(self, span: Span, value: str) -> Message | None:
        if value not in self._published.messages:
            for source in self._sources:
                if value in source.messages:
                    self._published.messages[value] = _heir(source.messages[value], inf)
        return self._published.took(span, value)

    def _settle(self, line: int, op: Op) -> None:
        span = Span.of(line, op, len(op.tokens))
        seconds = op.lease_s if op.kind == "extend" else op.delay_s
        for place, token in enumerate(op.tokens):
            delivery = self._tokens.get(token)
            if delivery is None and not self._unreadable:
                raise HistoryError(f"Line {line} names a token that nobody was handed: {token!r}.")
            code = op.codes[place] if op.outcome == "ok" else None
            if code not in (None, LOST):
                self._findings.add("misfit", f"The {op.kind} of {token!r} was answered {code!r}.", line)
            elif delivery is not None:
                said: Said = "maybe" if op.outcome == "unknown" else "done" if code is None else "lost"
                delivery.settles = delivery.settles or []
                delivery.settles.append(Settle(op.kind, said, span, seconds))

    # -- judging

    def judge(self) -> None:
        """Say what is wrong."""
        for message in self._published.messages.values():
            if message.hands:
                message.hands.sort(key=attrgetter("number"))  # stable: equal numbers stay in the history's order
        order = self._published.in_order()
        self._count(order)
        line = Line(order, Sentences(self._published.topic, order, self._findings))
        line.apart() if self._sources else line.judge()
        life = Life(None if self._made is None else self._made.max_deliveries, self._say)
        for message in order:
            life.judge(message)
            self._buried(message)
        self._unseen(order)
        gone = [self._gone(message) for message in order]
        Turns(order, self._say).judge(gone, Looks(self._asked.empty))
        stored: dict[int, float] = {}
        for message in order:
            span = message.published
            stored[id(span)] = min(stored.get(id(span), span.end), first_over(message))
        self._accounts(
            [
                *((message, stored[id(message.published)], at) for message, at in zip(order, gone, strict=True)),
                *((message, message.published.end, inf) for message in self._heirs),
            ]
        )

    def _count(self, order: list[Message]) -> None:
        hands = [each for message in order for each in message.hands or ()]
        look = self._findings.look
        if self._sources:
            look("dead letters", sum(bool(message.hands) for message in order))
        else:
            look("messages published", sum(message.published.acknowledged for message in order))
        look("messages handed out on a lease", len(hands))
        look("of them handed out again", sum(each.number > 1 for each in hands))
        look("leases that ran out", sum(_ran_out(message) for message in order))
        look("messages acked", sum(ack_of(message) is not None for message in order))
        look("answers that nothing waits", len(self._asked.empty))
        look("answers that nothing is left", len(self._asked.nothing))

    def _unseen(self, order: list[Message]) -> None:
        """Each delivery that is missing was somebody's."""
        needs = sorted((need for message in order for need in self._needs(message)), key=lambda need: need.shown.end)
        takers = iter(sorted(self._asked.takers, key=lambda span: span.start))
        taker = next(takers, None)
        room = taker.size if taker is not None else 0
        for need in needs:
            count = need.missing
            while count and taker is not None and taker.start <= need.shown.end:
                used = min(count, room)
                count, room = count - used, room - used
                if not room:
                    taker = next(takers, None)
                    room = taker.size if taker is not None else 0
            if count:
                (self._say.unworn if need.dead else self._say.skipped)(need.message, need.number, need.shown)

    def _needs(self, message: Message) -> Iterator[_Need]:
        due = 1
        for each in message.hands or ():
            if each.number > due:
                yield _Need(message, due, each.number - due, each.receive)
            due = max(due, each.number + 1)
        dead = self._dead(message)
        if dead is not None and self._made is not None and self._made.max_deliveries >= due:
            yield _Need(message, due, self._made.max_deliveries + 1 - due, dead, True)

    # -- dead letters

    def _dead(self, message: Message) -> Span | None:
        """Where it was first handed out as a dead letter, if it was."""
        heir = None if self._grave is None else self._grave._published.messages.get(message.value)
        return min((each.receive for each in heir.hands), key=attrgetter("end")) if heir and heir.hands else None

    def _buried(self, message: Message) -> None:
        """Whether it can be the dead letter that it is."""
        dead = self._dead(message)
        if dead is None or self._grave is None or not message.hands:
            return
        grave, acked = self._grave._published.topic, ack_of(message)
        if acked is not None:
            self._say.buried_alive(message, acked[1], grave, dead)
        elif dead.end < (end := given_back(message.hands[-1], delayed=False)).at:
            self._say.buried_early(message, end, grave, dead)

    def _dies(self, message: Message) -> float:
        """From when on it may be a dead letter."""
        if self._made is None:
            return inf
        hands = message.hands or []
        worn = bool(hands) and hands[-1].number >= self._made.max_deliveries
        if not worn and not self._asked.takers and self._dead(message) is None:
            return inf
        return given_back(hands[-1], delayed=False).at if hands else message.published.start

    # -- what became of it

    def _gone(self, message: Message) -> float:
        """From when on it may have left the topic; infinite where nothing can have made it."""
        hands = message.hands or []
        there = max((each.receive.start for each in hands), default=-inf)
        acked = ack_of(message)
        if acked is not None:
            return max(there, ended(acked[0]).at)
        ways = [self._dies(message)]
        if self._dead(message) is None:
            ways += [each.span.start for delivery in hands for each in settles(delivery, "ack", "maybe")]
        return max(there, min(ways))

    def _accounts(self, messages: Iterable[tuple[Message, float, float]]) -> None:
        """What became of each, which was stored by the first moment at the latest, and not gone before the second."""
        waiting = 0
        for message, stored, gone in messages:
            known = self._dead(message) is not None or _acked(message)
            nothing = self._nothing.after(stored)
            if nothing is None:
                waiting += stored < inf and not known
            elif nothing.end < gone:
                (self._say.not_nothing if known else self._say.lost)(message, nothing)
            elif not known:
                assert self._grave is not None
                self._grave._heirs.append(_heir(message, nothing.end))
        if waiting:
            self._say.waiting(waiting)


def _acked(message: Message) -> bool:
    """Or may have been."""
    return any(settles(each, "ack", said) for each in message.hands or () for said in ("done", "maybe"))


def _ran_out(message: Message) -> int:
    """How many of its deliveries came back though nobody had given them back."""
    hands = message.hands or []
    return sum(not settles(each, "nack", "done") for each in hands[:-1])


def _heir(message: Message, end: float) -> Message:
    """The same message as a dead letter, there by `end` at the latest."""
    span = Span(message.published.line, message.published.client, message.published.start, end, 1)
    return Message(message.value, span, 0, group=message.group)
