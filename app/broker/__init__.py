"""The queue: a deterministic state machine over SQLite. It knows nothing of Raft, of the network, or of HTTP.

`commands` and `results` are what goes in and what comes out, `machine.Machine` is the whole of what a node uses,
`schema` shows the tables. One file for each kind of command: `topics`, `publish`, `receive`, `settle` and so on; `due`
and `chores` do what time and deletions bring; `dedup` keeps answers.
"""

from app.broker.errors import SnapshotAbandoned, StateDamaged, StateError, StateFull, StateInUse
from app.broker.item import Item
from app.broker.machine import Machine
from app.broker.queries import Counts, TopicInfo

__all__ = [
    "Counts",
    "Item",
    "Machine",
    "SnapshotAbandoned",
    "StateDamaged",
    "StateError",
    "StateFull",
    "StateInUse",
    "TopicInfo",
]
