"""Messages that were published together, in one row of `pack` in place of a row each.

Theory: what a replica spends on a message of a large batch is mostly SQLite's work for its row. So plain messages
(lane 0, nothing that comes due) of one command, consecutive and small, share a row. To whoever reads them they are the
rows of `message` that they would be otherwise. Who is done with all of a pack takes one row away. Where a good part of
it goes, the rest is packed anew; where less goes, the rest becomes rows of `message`, since to write a pack again for
each of its messages would cost more than it had saved.

Rules of this file: which packs there are follows from the log alone, never from what is applied together. The four
bounds decide it, so they are part of the format; and who searches relies on `LEAST` and `MESSAGES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from app.broker.rows import ATTRIBUTES, BODY, DUE_MS, ID, LANE, MESSAGE, PACK, PUBLISHED_MS, SEQUENCE, Row
from app.broker.state import State, Topic

PLAIN_LANE = 0
"""The lane of messages without a group or a priority."""
MESSAGES, BYTES = 64, 32 << 10
"""In one pack, at most."""
LEAST = 16
"""Messages that make a pack."""
TOGETHER = 8
"""So many messages of a pack have to go at once for the rest to be packed anew; or messages of so many packs, the rests
of which would be hundreds of rows."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[bytes | None, bytes]]).decode


class Span(NamedTuple):
    """A row of `pack` without its contents: the id and the sequence of the first of `size` messages."""

    id: int
    first: int
    size: int

    @property
    def end(self) -> int:
        """The sequence behind its last message."""
        return self.first + self.size


# -- coming -------------------------------------------------------------------------------------------------


class Coming:
    """Rows of messages that come together, to one topic or to many: a statement for all costs less than one for each.
    They are in the tables from `store` on, so nobody may look for them before."""

    def __init__(self) -> None:
        self._loose: list[tuple[Topic, Row]] = []
        self._packed: list[tuple[Topic, Row]] = []

    def add(self, topic: Topic, rows: Sequence[Row]) -> None:
        """These messages, in the order of their sequences: in packs as far as they make any."""
        for run in _runs(rows) if len(rows) >= LEAST else [rows]:
            if len(run) < LEAST:
                self._loose += [(topic, row) for row in run]
            else:
                id, store_id, _, first, now_ms, *_ = run[0]
                contents = _encode([row[ATTRIBUTES:] for row in run])
                self._packed.append((topic, (id, store_id, first, len(run), now_ms, contents)))

    def add_bodies(self, topic: Topic, id: int, sequence: int, now_ms: int, bodies: Sequence[bytes]) -> None:
        """The same of messages of which each is its body, arrives at once, and has the next id and sequence: without a
        row for each."""
        store_id = topic.store
        for start, end in _cuts(list(map(len, bodies))) if len(bodies) >= LEAST else [(0, len(bodies))]:
            if end - start < LEAST:
                self._loose += [
                    (topic, (id + n, store_id, PLAIN_LANE, sequence + n, now_ms, None, None, bodies[n]))
                    for n in range(start, end)
                ]  # fmt: skip
            else:
                contents = _encode([(None, body) for body in bodies[start:end]])
                self._packed.append((topic, (id + start, store_id, sequence + start, end - start, now_ms, contents)))

    def store(self, state: State) -> None:
        """Put them into the tables."""
        if self._loose:
            MESSAGE.insert_each(state, self._loose)
        if self._packed:
            PACK.insert_each(state, self._packed)
            for topic, _ in self._packed:
                topic.packs += 1
        self._loose, self._packed = [], []


def store(state: State, topic: Topic, rows: Sequence[Row]) -> None:
    """These messages come, in the order of their sequences, at once."""
    coming = Coming()
    coming.add(topic, rows)
    coming.store(state)


def _runs(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows, cut where the next one cannot be in a pack with those before."""
    stretch: list[Row] = []
    follows = None
    for row in rows:
        is_plain = row[LANE] == PLAIN_LANE and row[DUE_MS] is None
        if not is_plain or follows != (row[ID], row[SEQUENCE], row[PUBLISHED_MS]):
            yield from _cut(stretch)
            stretch = []
        stretch.append(row)
        follows = (row[ID] + 1, row[SEQUENCE] + 1, row[PUBLISHED_MS]) if is_plain else None
    yield from _cut(stretch)


def _cut(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    sizes_bytes = [len(row[BODY]) + len(row[ATTRIBUTES] or b"") for row in rows]
    return (rows[start:end] for start, end in _cuts(sizes_bytes))


def _cuts(sizes_bytes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From where to where what is of these sizes goes together, within the bounds."""
    start = 0
    while start < len(sizes_bytes):
        end, room_bytes = start + 1, BYTES - sizes_bytes[start]
        most = sizes_bytes[start + 1 : start + MESSAGES]
        if sum(most) <= room_bytes:
            end += len(most)
        else:
            for size_bytes in most:
                room_bytes -= size_bytes
                if room_bytes < 0:
                    break
                end += 1
        yield start, end
        start = end


# -- reading ------------------------------------------------------------------------------------------------


def span_of(state: State, topic: Topic, sequence: int) -> Span | None:
    """The pack that holds this message."""
    found = state.sql.execute(
        "SELECT id, first, count FROM pack WHERE store = ? AND first <= ? ORDER BY first DESC LIMIT 1",
        (topic.store, sequence),
    ).fetchall()
    span = Span(*found[0]) if found else None
    return span if span is not None and sequence < span.end else None


def from_on(state: State, topic: Topic, sequence: int, limit: int) -> list[Span]:
    """Up to `limit` packs with messages from this sequence on, in order."""
    found = state.sql.execute(
        "SELECT id, first, count FROM pack WHERE store = ? AND first > ? AND first + count > ? ORDER BY first LIMIT ?",
        (topic.store, sequence - MESSAGES, sequence, limit),
    ).fetchall()
    return [Span(*row) for row in found]


def published_ms(state: State, topic: Topic, sequence: int) -> int:
    """When a message that lies in a pack was published."""
    span = span_of(state, topic, sequence)
    assert span is not None, "a message that is stored is nowhere"
    return int(state.sql.execute("SELECT published_ms FROM pack WHERE id = ?", (span.id,)).fetchall()[0][0])


def count_from(state: State, topic: Topic, sequence: int) -> int:
    """How many messages lie in packs, from this sequence on."""
    found = state.sql.execute(
        "SELECT total(min(count, first + count - ?)) FROM pack WHERE store = ? AND first > ? AND first + count > ?",
        (sequence, topic.store, sequence - MESSAGES, sequence),
    ).fetchall()
    return int(found[0][0])


def rows_at(state: State, span: Span) -> list[Row]:
    """The messages of a pack, not to be changed. The last one that was asked for is remembered, as mostly the next
    message that somebody looks for is in it, too; what lies in a span never changes, and never comes again."""
    if state.unpacked is None or state.unpacked[0] != span:
        state.unpacked = span, rows_in(_load(state, span))
    return state.unpacked[1]


def rows_in(pack: Row) -> list[Row]:
    """The messages in a row of `pack`, as rows of `message`."""
    id, store, first, _, published_ms, contents = pack
    return [
        (id + n, store, PLAIN_LANE, first + n, published_ms, None, attributes, body)
        for n, (attributes, body) in enumerate(_decode(contents))
    ]


def find(state: State, topic: Topic, sequences: Iterable[int]) -> dict[int, Row]:
    """Those of these messages that lie in packs, by sequence."""
    found: dict[int, Row] = {}
    for span, among in _by_span(state, topic, sequences).items():
        rows = rows_at(state, span)
        found.update((sequence, rows[sequence - span.first]) for sequence in among)
    return found


def _load(state: State, span: Span) -> Row:
    return PACK.select(state, "WHERE id = ?", (span.id,))[0]


def _by_span(state: State, topic: Topic, sequences: Iterable[int]) -> dict[Span, list[int]]:
    """Those of these messages that lie in packs, by pack."""
    found: dict[Span, list[int]] = {}
    among: list[int] = []
    first = end = 0
    for sequence in sequences:
        if not first <= sequence < end:
            span = span_of(state, topic, sequence)
            if span is None:
                continue
            first, end = span.first, span.end
            among = found.setdefault(span, [])
        among.append(sequence)
    return found


# -- going --------------------------------------------------------------------------------------------------


def take(state: State, topic: Topic, rows: Sequence[Row]) -> Sequence[Row]:
    """These messages go, as far as they lie in packs. -> the others."""
    plain = [row[SEQUENCE] for row in rows if row[LANE] == PLAIN_LANE and row[DUE_MS] is None]
    by_span = _by_span(state, topic, plain)
    for span, going in by_span.items():
        pack = _load(state, span)
        PACK.delete(state, topic, pack)
        topic.packs -= 1
        gone = set(going)
        left = [row for row in rows_in(pack) if row[SEQUENCE] not in gone] if len(gone) < span.size else []
        if max(len(gone), len(by_span)) >= TOGETHER:
            store(state, topic, left)
        elif left:
            MESSAGE.insert(state, topic, *left)
    taken = {sequence for going in by_span.values() for sequence in going}
    return [row for row in rows if row[SEQUENCE] not in taken] if taken else rows
