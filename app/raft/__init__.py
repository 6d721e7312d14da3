"""Raft, pure: consensus on an order of opaque entries. No clock, socket, file or global randomness.

Drive it with `RaftCore.tick / step / propose / read` and carry out each `Ready`; see `core` and `ready`.
Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (the paper, by section)
and Ongaro's dissertation "Consensus: Bridging Theory and Practice" (by chapter).
"""

from app.raft.core import NotLeader, RaftCore
from app.raft.log import LogView, RaftLog
from app.raft.messages import AnyMessage, InstallSnapshot, decode, encode
from app.raft.ready import Chunk, Note, ReadAnswer, Ready
from app.raft.tuning import Tuning
from app.raft.types import Configuration, Entry, HardState, Kind, Member, Role, SnapshotMeta

__all__ = [
    "AnyMessage",
    "Chunk",
    "Configuration",
    "Entry",
    "HardState",
    "InstallSnapshot",
    "Kind",
    "LogView",
    "Member",
    "NotLeader",
    "Note",
    "RaftCore",
    "RaftLog",
    "ReadAnswer",
    "Ready",
    "Role",
    "SnapshotMeta",
    "Tuning",
    "decode",
    "encode",
]
