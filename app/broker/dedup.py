"""Claims: answers that a retry can ask for again by its key.

A claim belongs to a topic (0: to none) and a kind, and lives until its topic's window has passed in log time. There is
a bound on their number and on their size; beyond it the oldest go first, so a key is honoured for its whole window
unless more than that came after it. A claim whose time is over is as good as absent, swept away or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.broker.digest import row_digest
from app.broker.state import State, Topic

PUBLISH, RECEIVE, MESSAGE, ENDED, ONCE = 1, 2, 3, 4, 5
"""Keys of publishes, of receives, of single messages (dedup_id), of deliveries that ended, of all other commands."""
ONCE_WINDOW_MS = 300_000

CLAIMS_MAX = 100_000
CLAIMS_BYTES_MAX = 64 << 20
SWEEP_ROWS = 512
"""The most that one claim sweeps away, so that none takes long; a bound may be passed by for that while."""

Said = tuple[str, bytes, bytes]
"""Under which key, the fingerprint of what was asked, and the answer."""
_COLUMNS = "id, topic, kind, key, fingerprint, expires_ms, answer"


class Claim(NamedTuple):
    """A row of `claim`."""

    id: int
    topic: int
    kind: int
    key: str
    fingerprint: bytes
    expires_ms: int
    answer: bytes

    def size_bytes(self) -> int:
        """What it counts towards the bound."""
        return len(self.answer) + len(self.fingerprint) + len(self.key)


def find(state: State, topic_id: int, kind: int, key: str) -> Claim | None:
    """The living claim under that key. One that has expired is removed on the way."""
    rows = state.sql.execute(
        f"SELECT {_COLUMNS} FROM claim WHERE topic = ? AND kind = ? AND key = ?", (topic_id, kind, key)
    ).fetchall()
    if not rows:
        return None
    claim = Claim._make(rows[0])
    if claim.expires_ms > state.numbers.time_ms:
        return claim
    _remove(state, claim)
    return None


def is_any_claimed(state: State, topic_id: int, kind: int, keys: Sequence[str]) -> bool:
    """Whether any of these keys has a claim, be its time over."""
    look = "SELECT 1 FROM claim WHERE topic = ? AND kind = ? AND key = ?"
    return any(state.sql.execute(look, (topic_id, kind, key)).fetchall() for key in keys)


def remember(state: State, topic: Topic, kind: int, *said: Said) -> None:
    """Claim these keys for these answers, for the topic's window; it has just been seen that nobody has them."""
    _add(state, topic.id, kind, topic.settings.dedup_window_ms, said)


def remember_once(state: State, key: str, fingerprint: bytes, answer: bytes) -> None:
    """The same for a command of no topic."""
    _add(state, 0, ONCE, ONCE_WINDOW_MS, [(key, fingerprint, answer)])


def renew(state: State, topic: Topic, kind: int, key: str, answer: bytes) -> None:
    """Claim the key for this answer, whatever it was claimed for before."""
    claim = find(state, topic.id, kind, key)
    if claim is not None:
        _remove(state, claim)
    remember(state, topic, kind, (key, b"", answer))


def _add(state: State, topic_id: int, kind: int, window_ms: int, said: Sequence[Said]) -> None:
    numbers = state.numbers
    expires_ms = numbers.time_ms + window_ms
    claims = [
        Claim(id, topic_id, kind, key, fingerprint, expires_ms, answer)
        for id, (key, fingerprint, answer) in enumerate(said, numbers.next_claim_id)
    ]
    state.sql.executemany(f"INSERT INTO claim ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", claims)
    state.rows_digest += sum(map(row_digest, claims))
    numbers.next_claim_id += len(claims)
    is_swept = False
    for claim in claims:
        size_bytes = claim.size_bytes()
        numbers.claims += 1
        numbers.claims_bytes += size_bytes
        state.came(size_bytes)
        if not is_swept or _is_over(state):
            is_swept = _sweep(state)


def _is_over(state: State) -> bool:
    return state.numbers.claims > CLAIMS_MAX or state.numbers.claims_bytes > CLAIMS_BYTES_MAX


def _sweep(state: State) -> bool:
    """-> whether nothing is left that is to go."""
    for _ in range(SWEEP_ROWS):
        if not _is_over(state):
            oldest = state.sql.execute("SELECT expires_ms FROM claim ORDER BY id LIMIT 1").fetchall()
            if not oldest or oldest[0][0] > state.numbers.time_ms:
                return True
        rows = state.sql.execute(f"SELECT {_COLUMNS} FROM claim ORDER BY id LIMIT 1").fetchall()
        _remove(state, Claim._make(rows[0]))
    return False


def _remove(state: State, claim: Claim) -> None:
    state.sql.execute("DELETE FROM claim WHERE id = ?", (claim.id,))
    assert state.sql.rowcount == 1
    state.numbers.claims -= 1
    state.numbers.claims_bytes -= claim.size_bytes()
    state.rows_digest -= row_digest(claim)
    state.changed(claim.size_bytes())
