"""How a follower takes what a leader sends: entries, and a snapshot in chunks.

An answer that vouches for entries leaves through `Ready.after`, when they are durable. A match index never
reaches beyond what this very message proved: entries that follow it may be another leader's.

A heartbeat and a refusal are answered at once, vouching for no more than is durable already. So a slow disk
makes a follower late with entries, but not silent: it costs no leader its quorum and no read its round.

A snapshot's chunks are taken from one leader in one term. Another leader's file of the same index holds the
same state, but hardly the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.raft.messages import AppendEntries, AppendReply, InstallSnapshot, SnapshotReply, SnapshotStaged
from app.raft.ready import Chunk
from app.raft.types import SnapshotMeta

if TYPE_CHECKING:
    from app.raft.core import RaftCore


class Follower:
    """The receiving side. `_staging`: the snapshot whose chunks are arriving, its sender, and the sender's term.

    `_whole`: its last chunk is on the way to the disk. `SnapshotStaged` will come back, unless the term ends
    first, and the file must be left alone until then.
    """

    def __init__(self, core: RaftCore):
        self.core = core
        self._staging: tuple[SnapshotMeta, int, int] | None = None
        self._staged_bytes = 0
        self._whole = False

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
            hint_index, hint_term = log.conflict_hint(prev, message.prev_log_term)
            self._answer(
                message.sender, success=False, match=0, prev=prev, at_once=True, hint_index=hint_index,
                hint_term=hint_term, round=message.round,
            )  # fmt: skip

    def _accept(self, message: AppendEntries, last: int) -> None:
        core, log = self.core, self.core.log
        if log.cut is not None:
            (first, end, term), log.cut = log.cut, None
            core.note(
                f"cuts its entries {first} to {end}, the last one of term {term}: node {message.sender} leads term "
                f"{core.term} with others there. They had not been acknowledged"
            )
        log.commit_to(min(message.leader_commit, last))
        if not message.entries:
            last = min(last, log.stable_index)
        self._answer(
            message.sender, success=True, match=last, prev=message.prev_log_index, at_once=core.is_durable(last),
            round=message.round,
        )  # fmt: skip

    def refuse(self, message: AppendEntries | InstallSnapshot) -> None:
        """The sender leads an older term: tell it the newer one."""
        self._answer(message.sender, success=False, match=0)

    def _answer(
        self,
        leader: int,
        *,
        success: bool,
        match: int,
        prev: int = 0,
        at_once: bool = False,
        hint_index: int = 0,
        hint_term: int = 0,
        round: int = 0,
    ) -> None:
        """`at_once`: it vouches for nothing that is not durable already."""
        (self.core.send if at_once else self.core.send_after)(
            AppendReply,
            leader,
            success=success,
            match_index=match,
            prev_log_index=prev,
            hint_index=hint_index,
            hint_term=hint_term,
            round=round,
            incarnation=self.core.incarnation,
            crowded=self.core.crowded,
        )

    def on_install_snapshot(self, message: InstallSnapshot) -> None:
        """Take the next chunk, or say which one is wanted (paper 7, Fig. 13)."""
        core, meta = self.core, message.meta
        core.heard_leader(message.sender)
        if self._already_here(meta):
            self._vouch(message.sender, meta.index)
            return
        staging = (meta, message.sender, message.term)
        if self._staging != staging:
            if self._whole and self._staging is not None and self._staging[2] == core.term:
                return
            self._staging, self._staged_bytes, self._whole = staging, 0, False
            core.note(f"node {message.sender} sends a snapshot up to entry {meta.index}, {meta.size_bytes} bytes")
        if message.offset == self._staged_bytes and not self._whole and (message.data or message.done):
            core.out.chunks.append(Chunk(meta, message.offset, message.data, message.done))
            self._staged_bytes += len(message.data)
            self._whole = message.done
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
        assert self._whole and self._staging is not None and self._staging[0] == meta
        self._staging, self._staged_bytes, self._whole = None, 0, False
        if not self._already_here(meta):
            core.log.reset(meta)
            core.out.install = meta
            core.note(f"the snapshot is whole: state and log go on from entry {meta.index}")
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
        self._answer(leader, success=True, match=index, prev=index)
