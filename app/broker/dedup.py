"""Claims: answers that a retry can ask for again by its key.

A claim belongs to a topic (0: to none) and a kind, and lives until its topic's window has passed in log time. There is
a bound on their number and on their size; beyond it the oldest go first, so a key is honoured for its whole window
unless more than that came after it. A claim whose time is over is as good as absent, swept away or not.

Theory: mostly nobody ever asks for a claim again. So it costs little to come and to go: claims that come together share
a row, rows come at one end of the table and go at the other, and where a key's claim is, memory knows (`State.claimed`,
read from the table at the start). There a key is its `name`: 128 bits that no two keys share by accident. A later
claim under a key counts, as one may come when the time of another is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from app.broker.commands import NewMessage
from app.broker.digest import DIGEST_BYTES, encode_row, fingerprint, row_digest
from app.broker.state import State, Topic, names_in

PUBLISH, RECEIVE, MESSAGE, ENDED, ONCE = 1, 2, 3, 4, 5
"""Keys of publishes, of receives, of single messages (dedup_id), of deliveries that ended, of all other commands."""
ONCE_WINDOW_MS = 300_000

CLAIMS_MAX = 100_000
"""So many are kept in any case, or so many bytes of them."""
CLAIMS_BYTES_MAX = 64 << 20
SWEEP_MAX = 512
"""So many may go for each row that comes, and the rest of a row; a bound may be passed by for that while."""
ROW_MAX = 64
"""Claims that share a row, at most: who asks for one reads all of them. Fewer than may go for it."""

Said = tuple[str, bytes, bytes]
"""Under which key, the fingerprint of what was asked, and the answer."""
Named = tuple[bytes, bytes, bytes]
"""The same with the key's `name` in place of it."""
Row = tuple[Any, ...]
"""Of `claim`: id, expires_ms, names, contents."""
_encode = msgspec.msgpack.Encoder().encode


class Claim(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is kept under a key."""

    fingerprint: bytes
    answer: bytes


_decode = msgspec.msgpack.Decoder(list[Claim]).decode


def name(topic_id: int, kind: int, key: str) -> bytes:
    """What a key is here."""
    return fingerprint(encode_row((topic_id, kind, key)))


def content_of(message: NewMessage) -> bytes:
    """Equal for messages that say the same: the fingerprint of what comes with a dedup_id."""
    headers = None if message.headers is None else sorted(message.headers.items())
    said = (message.body, message.binary, headers, message.group, message.priority)
    return fingerprint(_encode(said))


def find(state: State, topic_id: int, kind: int, key: str) -> Claim | None:
    """The living claim under that key."""
    named = name(topic_id, kind, key)
    id = state.claimed.get(named)
    if id is None:
        return None
    if state.claims_read is None or state.claims_read[0] != id:
        look = "SELECT expires_ms, names, contents FROM claim WHERE id = ?"
        expires_ms, names, contents = state.sql.execute(look, (id,)).fetchall()[0]
        state.claims_read = id, expires_ms, dict(zip(names_in(names), _decode(contents), strict=True))
    _, expires_ms, claims = state.claims_read
    return claims[named] if expires_ms > state.numbers.time_ms else None


def remember(state: State, topic: Topic, kind: int, *said: Said) -> None:
    """Claim these keys for these answers, for the topic's window."""
    named = [(name(topic.id, kind, key), print_, answer) for key, print_, answer in said]
    remember_named(state, topic.settings.dedup_window_ms, named)


def remember_once(state: State, key: str, fingerprint: bytes, answer: bytes) -> None:
    """The same for a command of no topic."""
    remember_named(state, ONCE_WINDOW_MS, [(name(0, ONCE, key), fingerprint, answer)])


def remember_named(state: State, window_ms: int, said: Sequence[Named]) -> None:
    """The same by their names, of whatever topics, for a window of theirs."""
    for start in range(0, len(said), ROW_MAX):
        _add(state, window_ms, said[start : start + ROW_MAX])


def _add(state: State, window_ms: int, said: Sequence[Named]) -> None:
    numbers = state.numbers
    id, expires_ms = numbers.next_claim_id, numbers.time_ms + window_ms
    names = [named for named, _, _ in said]
    contents = _encode([rest for _, *rest in said])
    row = (id, expires_ms, b"".join(names), contents)
    state.sql.execute("INSERT INTO claim (id, expires_ms, names, contents) VALUES (?, ?, ?, ?)", row)
    state.rows_digest += row_digest(row)
    state.claimed.update(dict.fromkeys(names, id))
    numbers.next_claim_id += 1
    numbers.claims += len(names)
    numbers.claims_bytes += _size_bytes(row)
    state.came(_size_bytes(row))
    _sweep(state)


def _size_bytes(row: Row) -> int:
    return len(row[2]) + len(row[3])


def _sweep(state: State) -> None:
    """Rows go whose time is over, and those without which there are still as many claims as there may be."""
    numbers = state.numbers
    swept = 0
    while swept < SWEEP_MAX:
        oldest = state.sql.execute(
            "SELECT id, expires_ms, length(names) FROM claim ORDER BY id LIMIT 1"
        ).fetchall()
        if not oldest:
            return
        id, expires_ms, names_bytes = oldest[0]
        count = names_bytes // DIGEST_BYTES
        left = numbers.claims - count
        if left < CLAIMS_MAX and numbers.claims_bytes <= CLAIMS_BYTES_MAX and expires_ms > numbers.time_ms:
            return
        _remove(state, id)
        numbers.claims = left
        swept += count


def _remove(state: State, id: int) -> None:
    row = state.sql.execute("SELECT id, expires_ms, names, contents FROM claim WHERE id = ?", (id,)).fetchall()[0]
    state.sql.execute("DELETE FROM claim WHERE id = ?", (id,))
    state.rows_digest -= row_digest(row)
    for name in names_in(row[2]):
        if state.claimed.get(name) == id:
            del state.claimed[name]
    state.numbers.claims_bytes -= _size_bytes(row)
    state.changed(_size_bytes(row))
