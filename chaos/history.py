"""The history of a run: all that was seen, one JSON object a line, in the order in which it was written down.

    {"type": "op", "kind": "publish", "client": "p3", "node": 1, ..., "values": ["p3-17"], "sequences": [203]}

Theory. What is written here is what the harness *saw*; nothing is concluded. Checker, figures and report read these
lines and nothing else, so that anyone can run them again, or others in their place, on the same file.

Rules of this file: a record says what it holds and nothing more; no clock is read here. Times are seconds since the
run's start by the harness's own monotonic clock, one clock for all clients. A line that is not exactly a record is an
error, never skipped: a history with a hole proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["publish", "receive", "ack", "nack", "extend", "count", "create", "list"]
SETTLES = frozenset({"ack", "nack", "extend"})
"""Kinds of operations on what was leased."""
Outcome: TypeAlias = Literal["ok", "fail", "unknown"]
PhaseName: TypeAlias = Literal["warm", "faults", "heal", "drain", "gather", "end"]
Step: TypeAlias = Literal["inject", "prove", "heal", "prove_healed"]
Role: TypeAlias = Literal["Leader", "Follower", "Candidate"]


class HistoryError(Exception):
    """A history cannot be read; the sentence names the file and the line."""


class _Record(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True, gc=False):
    """What all records share: immutable, made by names, and a field that nobody knows is an error."""


class Run(_Record, frozen=True, kw_only=True, tag="run"):
    """What was run: the first line. `seconds` is the length asked for; `started_at` is RFC 3339."""

    scenario: str
    seed: int
    seconds: float
    nodes: int
    started_at: str
    image: str
    version: str


class Phase(_Record, frozen=True, kw_only=True, tag="phase"):
    """A part of the run began `at`."""

    name: PhaseName
    at: float


class Topic(_Record, frozen=True, kw_only=True, tag="topic", omit_defaults=True):
    """How a topic was made, where that is not as usual: a message that was handed out `max_deliveries` times without an
    ack goes to `dead_letter_topic`."""

    name: str
    max_deliveries: int
    dead_letter_topic: str


class Op(_Record, frozen=True, kw_only=True, tag="op", omit_defaults=True):
    """One operation of one client, over all tries that it made with one key; without a key there is one try.

    `ok`: answered. `fail`: surely did not happen. `unknown`: nobody can say; `end` is when the client gave up, the
    effect may come at any later time, or never. `node` is the one asked last.

    publish: `values` are texts, each published once in a run; `groups` stand beside them where they have some;
             `delay_s` holds for all. `sequences` stand beside them when ok.
    receive: up to `max` (at least 1) asked for, for `lease_s`; 0: they are done when they are handed out. `values` and
             `sequences` when ok, empty when nothing waited; with a lease `tokens`, `deliveries` and `groups` as well.
    ack, nack, extend: of these `tokens`; a nack with `delay_s`, an extend to `lease_s` from then on. `codes` stand
             beside them when ok: null where it was done, else why not.
    count:   `left` when ok: so many messages are stored, leased and delayed ones too.
    create:  `created` when ok: true, it was made by this; false, it was there.
    list:    `names` when ok, in the order answered; `topic` is empty.

    Raises `ValueError` where the harness contradicts itself: an end before the start, an answer to what was not ok.
    """

    kind: Kind
    client: str
    node: int
    tries: int
    start: float
    end: float
    outcome: Outcome
    topic: str = ""
    error: str | None = None
    keyed: bool = False
    values: list[str] = []
    sequences: list[int] = []
    groups: list[str | None] = []
    max: int = 0
    tokens: list[str] = []
    deliveries: list[int] = []
    lease_s: float = 0.0
    delay_s: float = 0.0
    codes: list[str | None] = []
    left: int | None = None
    created: bool | None = None
    names: list[str] = []

    def __post_init__(self) -> None:
        if not self.start <= self.end:
            raise ValueError(f"an operation ends ({self.end}) before it starts ({self.start}): mend the client's clock")
        if self.kind == "receive" and self.max < 1:
            raise ValueError("a receive says how many it asked for: set `max`")
        if self.kind == "publish" and self.groups and len(self.groups) != len(self.values):
            raise ValueError("groups stand beside values, one for each: set `groups`")
        if self.kind in SETTLES and not self.tokens:
            raise ValueError(f"{self.kind} is of some deliveries: set `tokens`")
        if self.kind == "extend" and not self.lease_s > 0:
            raise ValueError("an extend says for how long: set `lease_s`")
        if self.outcome != "ok":
            if self._answered():
                raise ValueError(f"an operation that is {self.outcome} has no answer: leave it out")
        elif self.kind == "create" and self.created is None:
            raise ValueError("a creation that is ok says whether it made the topic: set `created`")
        elif self.kind == "count" and self.left is None:
            raise ValueError("a count that is ok says how many are left: set `left`")
        elif self.kind in SETTLES and len(self.codes) != len(self.tokens):
            raise ValueError(f"{self.kind} that is ok says what came of each token: set `codes`")

    def _answered(self) -> bool:
        told = self.sequences or self.names or self.codes or self.created is not None or self.left is not None
        return bool(told or (self.kind == "receive" and (self.values or self.tokens or self.deliveries)))


class Status(_Record, frozen=True, kw_only=True, tag="status"):
    """What a node said of itself: asked at `start`, answered `at`. `state_hash` is of the state at `state_index`."""

    node: int
    start: float
    at: float
    role: Role
    term: int
    leader: int | None
    last_log_index: int
    commit_index: int
    applied_index: int
    state_index: int
    state_hash: str
    pid: int


class FaultStep(_Record, frozen=True, kw_only=True, tag="fault"):
    """One step with one fault on the nodes `targets`; `round` counts the schedule's rounds; `detail` is for people."""

    round: int
    name: str
    step: Step
    targets: list[int]
    start: float
    end: float
    ok: bool
    detail: str


class Redundant(_Record, frozen=True, kw_only=True, tag="redundant"):
    """First moment after a heal when all nodes answered, followed one leader and had applied what it had committed."""

    round: int
    at: float


class LogPiece(_Record, frozen=True, kw_only=True, tag="log"):
    """Committed entries of a node's log as read from its files: (term, digest) each, the first at `first_index`."""

    node: int
    first_index: int
    entries: list[tuple[int, str]]


class Final(_Record, frozen=True, kw_only=True, tag="final"):
    """A node's state after healing and draining."""

    node: int
    applied_index: int
    state_hash: str


Record: TypeAlias = Run | Phase | Topic | Op | Status | FaultStep | Redundant | LogPiece | Final

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


def write(file: BinaryIO, record: Record) -> None:
    """Append one record. The file is open for bytes; whole lines only, so that a crash tears at most the last."""
    file.write(_encode(record) + b"\n")


def read(path: Path) -> Iterator[Record]:
    """All records of a file in order, one at a time: the n-th is line n.

    Raises `HistoryError` at a torn or foreign line, and `OSError` if there is no such file.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                raise HistoryError(f"{path}, line {number}: torn; the run died here, so run it again.")
            try:
                yield _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise HistoryError(f"{path}, line {number}: not a record of a history: {error}.") from None
