"""Histories made by hand, as tables: one operation a line, with what each history must be judged as.

    p0  publish  0-1   a=1 b=2      two messages and their sequences        receive likewise; `max=5`: it asked for five
    p0  publish  0-1?  a            nobody knows whether it happened        0-1x: it surely did not
    c0  receive  0-1   empty        answered that nothing waits             receive 0-1? max=2: may have taken two
    c0  create   0-1   orders made  or: orders there                        create 0-1? orders
    c0  list     0-1   orders mails
    n0  status   1     Leader term=1 index=4 hash=ab                        applied=6: two more, not yet in the hash
    n0  final    9     index=4 hash=ab
    n0  log      9     first=1 1:aa 2:bb

An operation on another topic than `t` names it: publish/u. Lines are counted from 1, as anomalies count them.

Rules of this file: a line that is not understood raises; nothing has a default that a verdict could hang on.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from chaos.history import Final, Kind, LogPiece, Op, Outcome, Record, Role, Status


class HandMade(NamedTuple):
    """`expected`: the anomalies, each its rule and lines, as in "lost 1 3"; none when the history is fine."""

    name: str
    expected: tuple[str, ...]
    table: str


def parse(table: str) -> list[Record]:
    """The records of a table."""
    return [_record(line.split()) for line in table.strip().splitlines()]


def _record(words: list[str]) -> Record:
    who, what, when, *rest = words
    if what in ("status", "final", "log"):
        return _of_node(int(who.removeprefix("n")), what, float(when), rest)
    kind, _, topic = what.partition("/")
    mark = when[-1] if when[-1] in "?x" else ""
    start, end = when.removesuffix(mark).split("-")
    outcome = cast(Outcome, {"": "ok", "?": "unknown", "x": "fail"}[mark])
    return _op(cast(Kind, kind), who, topic or "t", float(start), float(end), outcome, rest)


def _op(kind: Kind, client: str, topic: str, start: float, end: float, outcome: Outcome, rest: list[str]) -> Op:
    values: list[str] = []
    sequences: list[int] = []
    names: list[str] = []
    maximum, created = 0, None
    if kind == "list":
        names = rest
    elif kind == "create":
        topic = rest[0]
        created = {"made": True, "there": False}[rest[1]] if outcome == "ok" else None
    elif rest != ["empty"]:
        pairs = [word.split("=") for word in rest if not word.startswith("max=")]
        values = [pair[0] for pair in pairs]
        sequences = [int(pair[1]) for pair in pairs if len(pair) > 1]
    if kind == "receive":
        said = [int(word[4:]) for word in rest if word.startswith("max=")]
        maximum = said[0] if said else max(len(values), 1)
    return Op(
        kind=kind, client=client, node=0, tries=1, start=start, end=end, outcome=outcome, topic=topic, values=values,
        sequences=sequences, max=maximum, created=created, names=names,
    )  # fmt: skip


def _of_node(node: int, what: str, at: float, rest: list[str]) -> Record:
    said = dict(word.split("=") for word in rest if "=" in word)
    if what == "final":
        return Final(node=node, applied_index=int(said["index"]), state_hash=said["hash"])
    if what == "log":
        entries = [(int(term), digest) for term, digest in (word.split(":") for word in rest if ":" in word)]
        return LogPiece(node=node, first_index=int(said["first"]), entries=entries)
    index, term = int(said["index"]), int(said["term"])
    applied = int(said.get("applied", index))
    return Status(
        node=node, start=at, at=at, role=cast(Role, rest[0]), term=term, leader=None, last_log_index=applied,
        commit_index=applied, applied_index=applied, state_index=index, state_hash=said["hash"], pid=1,
    )  # fmt: skip
