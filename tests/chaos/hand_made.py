"""Histories made by hand, as tables: one operation a line, with what each history must be judged as.

    p0  publish  0-1   a=1 b=2      two messages and their sequences        receive likewise; `max=5`: it asked for five
    p0  publish  0-1?  a            nobody knows whether it happened        0-1x: it surely did not
    c0  receive  0-1   empty        answered that nothing waits             receive 0-1? max=2: may have taken two
    p0  publish  0-1   a=1 delay=5          handed out 5 s later; group=g: in that group
    c0  receive  0-1   a=1#2 lease=3        on a lease of 3 s, its second delivery; `tries=2`: with a key, tried twice
    c0  ack      0-1   a#2 b#1:lost         those deliveries; the other was told that its lease is lost
    c0  nack     0-1   a#2 delay=5          extend 0-1 a#2 lease=3: likewise
    c0  count    0-1   left=0
    t   topic    0     most=3 grave=u       how topic t was made
    c0  create   0-1   orders made  or: orders there                        create 0-1? orders
    c0  list     0-1   orders mails
    n0  status   1     Leader term=1 index=4 hash=ab                        applied=6: two more, not yet in the hash
    n0  final    9     index=4 hash=ab
    n0  log      9     first=1 1:aa 2:bb

An operation on another topic than `t` names it: publish/u. Lines are counted from 1, as anomalies count them.

Rules of this file: a line that is not understood raises; nothing has a default that a verdict could hang on.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from chaos.history import SETTLES, Final, LogPiece, Op, Record, Role, Status, Topic


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
    said = dict(word.split("=") for word in rest if word.partition("=")[0] in NAMES)
    told = [word for word in rest if word.partition("=")[0] not in NAMES]
    if what == "topic":
        return Topic(name=who, max_deliveries=int(said["most"]), dead_letter_topic=said["grave"])
    kind, _, topic = what.partition("/")
    mark = when[-1] if when[-1] in "?x" else ""
    start, end = when.removesuffix(mark).split("-")
    outcome = {"": "ok", "?": "unknown", "x": "fail"}[mark]
    common = {
        "kind": kind, "client": who, "node": 0, "tries": int(said.get("tries", 1)), "keyed": "tries" in said,
        "topic": topic or "t", "start": float(start),
        "end": float(end), "outcome": outcome, "lease_s": float(said.get("lease", 0)),
        "delay_s": float(said.get("delay", 0)),
    }  # fmt: skip
    return Op(**{**common, **_told(kind, outcome == "ok", said, told)})


NAMES = {"max", "lease", "delay", "group", "left", "most", "grave", "tries"}
"""Words of the form name=number; all others are values."""


def _told(kind: str, ok: bool, said: dict[str, str], told: list[str]) -> dict[str, Any]:
    """What else was asked and answered."""
    if kind == "list":
        return {"names": told}
    if kind == "create":
        return {"topic": told[0], "created": {"made": True, "there": False}[told[1]] if ok else None}
    if kind == "count":
        return {"left": int(said["left"]) if ok else None}
    if kind in SETTLES:
        codes = ["lease_lost" if word.endswith(":lost") else None for word in told]
        return {"tokens": [word.removesuffix(":lost") for word in told], "codes": codes if ok else []}
    pairs = [] if told == ["empty"] else [word.split("=") for word in told]
    values = [pair[0] for pair in pairs]
    places = [pair[1].partition("#")[::2] for pair in pairs if len(pair) > 1]
    fields: dict[str, Any] = {"values": values, "sequences": [int(sequence) for sequence, _ in places]}
    if kind == "receive":
        fields["max"] = int(said.get("max", max(len(values), 1)))
    if kind == "receive" and "lease" in said:
        fields["deliveries"] = [int(number) for _, number in places if number]
        fields["tokens"] = [f"{value}#{number}" for value, (_, number) in zip(values, places, strict=False) if number]
    if "group" in said:
        fields["groups"] = [said["group"]] * len(values)
    return fields


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
