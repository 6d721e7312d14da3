"""Claims: answers that a retry can ask for again by its key.

A claim belongs to a topic (0: to none) and a kind, and lives until its topic's window has passed in log time. There is
a bound on their number and on their size; beyond it the oldest go first, so a key is honoured for its whole window
unless more than that came after it. A claim whose time is over is as good as absent, swept away or not.
"""

from __future__ import annotations

from typing import NamedTuple

from app.broker.digest import row_digest
from app.broker.state import State, Topic

PUBLISH, RECEIVE, MESSAGE, ENDED, ONCE = 1, 2, 3, 4, 5
"""Keys of publishes, of receives, of single messages (dedup_id), of deliveries that ended, of all other commands."""
ONCE_WINDOW_MS = 300_000

CLAIMS_MAX = 100_000
CLAIMS_BYTES_MAX = 64 << 20
SWEEP_ROWS = 512
"""The most that one command sweeps away, so that none takes long; a bound may be passed by for that while."""

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


def remember(state: State, topic: Topic, kind: int, key: str, fingerprint: bytes, answer: bytes) -> None:
    """Claim the key for this answer, for the topic's window; `find` has just said that nobody has it."""
    _add(state, topic.id, kind, key, fingerprint, topic.settings.dedup_window_ms, answer)


def remember_once(state: State, key: str, fingerprint: bytes, answer: bytes) -> None:
    """The same for a command of no topic."""
    _add(state, 0, ONCE, key, fingerprint, ONCE_WINDOW_MS, answer)


def renew(state: State, topic: Topic, kind: int, key: str, answer: bytes) -> None:
    """Claim the key for this answer, whatever it was claimed for before."""
    claim = find(state, topic.id, kind, key)
    if claim is not None:
        _remove(state, claim)
    remember(state, topic, kind, key, b"", answer)


def _add(
    state: State, topic_id: int, kind: int, key: str, fingerprint: bytes, window_ms: int, answer: bytes
) -> None:
    numbers = state.numbers
    claim = Claim(numbers.next_claim_id, topic_id, kind, key, fingerprint, numbers.time_ms + window_ms, answer)
    state.sql.execute(f"INSERT INTO claim ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", claim)
    numbers.next_claim_id += 1
    numbers.claims += 1
    numbers.claims_bytes += claim.size_bytes()
    state.rows_digest += row_digest(claim)
    state.came(claim.size_bytes())
    _sweep(state)


def _sweep(state: State) -> None:
    numbers = state.numbers
    for _ in range(SWEEP_ROWS):
        over = numbers.claims > CLAIMS_MAX or numbers.claims_bytes > CLAIMS_BYTES_MAX
        if not over:
            oldest = state.sql.execute("SELECT expires_ms FROM claim ORDER BY id LIMIT 1").fetchall()
            if not oldest or oldest[0][0] > numbers.time_ms:
                return
        rows = state.sql.execute(f"SELECT {_COLUMNS} FROM claim ORDER BY id LIMIT 1").fetchall()
        _remove(state, Claim._make(rows[0]))


def _remove(state: State, claim: Claim) -> None:
    state.sql.execute("DELETE FROM claim WHERE id = ?", (claim.id,))
    assert state.sql.rowcount == 1
    state.numbers.claims -= 1
    state.numbers.claims_bytes -= claim.size_bytes()
    state.rows_digest -= row_digest(claim)
    state.changed(claim.size_bytes())
