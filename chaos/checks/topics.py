"""The list of topics: it only grows, each name is made once, and whoever looks sees all that was made before.

The question. Can each operation be given one moment within its interval, so that, done one after another in that order
on a list that begins empty, `create` answers whether the name was new (and then appends it), and `list` gives the
whole list? A creation of unknown outcome may take effect at any time after its start, or never.

The method, exact. Lists that were answered must continue one another; the longest, L, gives the order in which its
names were made. All other names were made after every list. Who made a name is known, or it is the first started of
its unknown creations, which leaves the most room. So only moments are sought, along the order

    lists that are empty <= first name of L made <= lists of one name <= second name made <= ... <= all other names

where each "it was there" comes after its name was made. Giving each moment the earliest place fits if anything fits.

    double_create   two creations of one name were both answered that they made it
    topic_phantom   a name was seen that nobody made, or before its making began
    topic_order     lists that do not continue one another, or names made in another order than listed
    topic_stale     a list lacks a name that was there

Rules of this file: topics that stood before the history began must be left out of its lists by who writes it.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from chaos.checks.findings import Findings
from chaos.checks.operations import Span
from chaos.history import Op


class _Late(NamedTuple):
    """The latest start so far along the order: no later moment lies before it. `name` is "" if a list set it."""

    start: float = -inf
    line: int = 0
    name: str = ""


class Topics:
    """All creations and lists."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._made: dict[str, list[Span]] = {}
        self._maybe: dict[str, list[Span]] = {}
        self._there: dict[str, list[Span]] = {}
        self._failed: dict[str, int] = {}
        self._lists: dict[tuple[str, ...], list[Span]] = {}

    def add(self, line: int, op: Op) -> None:
        """A create or a list."""
        span = Span.of(line, op, 1)
        if op.kind == "list":
            if op.outcome == "ok":
                self._lists.setdefault(tuple(op.names), []).append(span)
        elif op.outcome == "fail":
            self._failed[op.topic] = line
        else:
            told = self._maybe if op.outcome == "unknown" else self._made if op.created else self._there
            told.setdefault(op.topic, []).append(span)

    def judge(self) -> None:
        """Say what is wrong, once all is added."""
        self._findings.look("topics created", len(self._made))
        self._findings.look("lists of topics", sum(len(spans) for spans in self._lists.values()))
        made_by = max((span.end for spans in self._made.values() for span in spans), default=-inf)
        if not any(span.start > made_by for spans in self._lists.values() for span in spans) and self._made:
            self._findings.lack("No list of topics was read after the last topic was made: read one at the end.")
        longest = self._longest()
        by_length = {len(names): spans for names, spans in self._lists.items()}
        makers = self._makers(longest)
        late = self._look("", by_length.get(0, []), _Late())
        for number, name in enumerate(longest, 1):
            late = self._make(name, makers.pop(name, None), late)
            late = self._look(name, by_length.get(number, []), late)
        for name, maker in makers.items():
            self._make(name, maker, late)

    def _longest(self) -> tuple[str, ...]:
        """The longest list; those that it does not continue are reported and put aside."""
        longest: tuple[str, ...] = ()
        for names in sorted(self._lists, key=len, reverse=True):
            line = self._lists[names][0].line
            if len(set(names)) < len(names):
                self._findings.add("topic_order", f"The list in line {line} holds a name twice.", line)
            elif not longest or names == longest[: len(names)]:
                longest = longest or names
                continue
            else:
                other = self._lists[longest][0].line
                place = next(i for i, (one, two) in enumerate(zip(names, longest, strict=False)) if one != two)
                differ = f"place {place + 1} holds {names[place]!r} in one and {longest[place]!r} in the other"
                text = f"The lists in lines {line} and {other} do not continue one another: {differ}."
                self._findings.add("topic_order", text, line, other)
            del self._lists[names]
        return longest

    def _makers(self, longest: tuple[str, ...]) -> dict[str, Span]:
        """Who made each name that was seen, as early as can be; says which were made twice, and which by nobody."""
        makers = {}
        seen = {name: spans[0].line for name, spans in self._there.items()}
        seen.update(dict.fromkeys(longest, self._lists[longest][0].line) if longest else {})
        for name in dict.fromkeys([*self._made, *seen]):
            made = self._made.get(name, [])
            for again in made[1:]:
                text = f"Lines {made[0].line} and {again.line} were both answered that they made {name!r}."
                self._findings.add("double_create", text, made[0].line, again.line)
            if made:
                makers[name] = made[0]
            elif name in self._maybe:
                makers[name] = min(self._maybe[name], key=lambda span: span.start)
            else:
                failed = self._failed.get(name)
                why = f"its creation in line {failed} surely failed" if failed else "nobody made it"
                lines = [seen[name], *([failed] if failed else [])]
                self._findings.add("topic_phantom", f"{name!r} was seen in line {seen[name]}, but {why}.", *lines)
        return makers

    def _make(self, name: str, maker: Span | None, late: _Late) -> _Late:
        """The making of a name, then each answer that it was there; gives the latest start of what must come first."""
        if maker is not None:
            if maker.end < late.start:
                self._too_late(f"{name!r}, made in line {maker.line}", name, maker, late)
            elif maker.start > late.start:
                late = _Late(maker.start, maker.line, name)
        for there in self._there.get(name, ()):
            if there.end < late.start:
                self._too_late(f"{name!r}, found there in line {there.line}", name, there, late)
        return late

    def _look(self, name: str, spans: list[Span], late: _Late) -> _Late:
        """The lists that end with this name; gives the latest start of what must come first."""
        for span in spans:
            if span.end < late.start:
                self._too_late(f"{name!r}, listed in line {span.line}", name, span, late)
        return max([late, *(_Late(span.start, span.line) for span in spans)], key=lambda each: each.start)

    def _too_late(self, what: str, name: str, early: Span, late: _Late) -> None:
        """`early` was over before something began that must come first."""
        when = f"(line {early.line} ended at {early.end:.6f} s, line {late.line} began at {late.start:.6f} s)"
        if not late.name:
            rule, text = "topic_stale", f"{what}, is not in the list of line {late.line}, which was asked for later"
        elif late.name == name:
            rule, text = "topic_phantom", f"{what}, was not yet being made then"
        else:
            rule, text = "topic_order", f"{what}, stands behind {late.name!r}, which was not yet being made then"
        self._findings.add(rule, f"{text} {when}.", early.line, late.line)
