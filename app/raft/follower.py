"""How a follower takes what a leader sends: entries, and a snapshot in chunks.

An answer that vouches for entries leaves through `Ready.after`, when they are durable. A match index never
reaches beyond what this very message proved: entries that follow it may be another leader's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.raft.messages import AppendEntries, AppendReply, InstallSnapshot, SnapshotReply, SnapshotStaged
from app.raft.ready import Chunk
from app.raft.types import SnapshotMeta

if TYPE_CHECKING:
    from app.raft.core import RaftCore


class Follower:
    """The receiving side. `_staging` and `_staged_bytes`: the snapshot whose chunks are arriving."""

    def __init__(self, core: RaftCore):
        self.core = core
        self._staging: SnapshotMeta | None = None
        self._staged_bytes = 0

    def on_append_entries(self, message: AppendEntries) -> None:
        """Check consistency, merge, learn the commit index (paper 5.3)."""
        core, log = self.core, self.core.log
        core.heard_leader(message.sender)
        prev = message.prev_log_index
        if prev < log.base_index:
            # What stands before the base is committed, and so the same everywhere.
            last = message.entries[-1].index if message.entries else prev
            if last > log.base_index:
                last = log.merge(message.entries)
            self._accept(message, last)
        elif log.matches(prev, message.prev_log_term):
            self._accept(message, log.merge(message.entries) if message.entries else prev)
        else:
            self._reply(message, success=False, match_index=0, hint=log.conflict_hint(prev, message.prev_log_term))

    def _accept(self, message: AppendEntries, last: int) -> None:
        self.core.log.commit_to(min(message.leader_commit, last))
        self._reply(message, success=True, match_index=last, hint=(0, 0))

    def refuse(self, message: AppendEntries | InstallSnapshot) -> None:
        """The sender leads an older term: tell it the newer one."""
        self.core.send_after(
            AppendReply,
            message.sender,
            success=False,
            match_index=0,
            prev_log_index=0,
            hint_index=0,
            hint_term=0,
            round=0,
            incarnation=self.core.incarnation,
        )

    def _reply(self, message: AppendEntries, *, success: bool, match_index: int, hint: tuple[int, int]) -> None:
        self.core.send_after(
            AppendReply,
            message.sender,
            success=success,
            match_index=match_index,
            prev_log_index=message.prev_log_index,
            hint_index=hint[0],
            hint_term=hint[1],
            round=message.round,
            incarnation=self.core.incarnation,
        )

    def on_install_snapshot(self, message: InstallSnapshot) -> None:
        """Take the next chunk, or say which one is wanted (paper 7, Fig. 13)."""
        core, meta = self.core, message.meta
        core.heard_leader(message.sender)
        if self._already_here(meta):
            self._vouch(message.sender, meta.index)
            return
        if self._staging != meta:
            self._staging, self._staged_bytes = meta, 0
        if message.offset == self._staged_bytes and (message.data or message.done):
            core.out.chunks.append(Chunk(meta, message.offset, message.data, message.done))
            self._staged_bytes += len(message.data)
            if message.done:
                core.send_after(SnapshotStaged, core.node, meta=meta)
        core.send_after(
            SnapshotReply,
            message.sender,
            index=meta.index,
            next_offset=self._staged_bytes,
            incarnation=core.incarnation,
        )

    def on_snapshot_staged(self, message: SnapshotStaged) -> None:
        """The file is whole: put it in force, unless the log has grown past it meanwhile."""
        core, meta = self.core, message.meta
        if self._staging != meta:
            return
        self._staging, self._staged_bytes = None, 0
        if not self._already_here(meta):
            core.log.reset(meta)
            core.out.install = meta
        if core.leader_id is not None and core.leader is None:
            self._vouch(core.leader_id, meta.index)

    def _already_here(self, meta: SnapshotMeta) -> bool:
        """Whether the log itself holds all that the snapshot stands for; then it commits that far."""
        log = self.core.log
        if meta.index <= log.commit_index:
            return True
        if log.matches(meta.index, meta.term):
            log.commit_to(meta.index)
            return True
        return False

    def _vouch(self, leader: int, index: int) -> None:
        self.core.send_after(
            AppendReply,
            leader,
            success=True,
            match_index=index,
            prev_log_index=index,
            hint_index=0,
            hint_term=0,
            round=0,
            incarnation=self.core.incarnation,
        )
