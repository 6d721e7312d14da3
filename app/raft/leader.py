"""What exists only while a node leads: progress of every member, reads being confirmed, a transfer under way.

The leader never overwrites its own log (Leader Append-Only). It commits by counting only entries of its own
term (paper 5.4.2, Fig. 8), which is why a term opens with a no-op. Three things cost it the leadership
besides a higher term: hearing no majority for an election timeout (check-quorum, dissertation 6.2), a disk
that does not finish a write, and handing over.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from app.raft.messages import AppendEntries, AppendReply, InstallSnapshot, SnapshotReply, TimeoutNow
from app.raft.progress import Pace, Progress
from app.raft.ready import ReadAnswer
from app.raft.types import Entry, Kind, SnapshotMeta

if TYPE_CHECKING:
    from app.raft.core import RaftCore


PATIENCE = 20
"""Election timeouts for which a member may be silent in the middle of a snapshot."""


DENIALS = 10
"""Of what a member had vouched for, after which people are told. A few may be late words."""


class Leader:
    """The state of one leadership. Created by the core on winning an election; dropped on stepping down."""

    def __init__(self, core: RaftCore):
        self.core = core
        self.log = core.log
        tuning = core.tuning
        self.progress = {
            peer: Progress(self.log.last_index + 1, tuning.window, tuning.window_bytes)
            for peer in self.log.configuration.ids()
            if peer != core.node
        }
        self._crowded: set[int] = set()
        """The members whose disks have no room, by their own word."""
        self.transfer_to: int | None = None
        self._transfer_ticks = 0
        self._transfer_sent = False
        self._heartbeat_ticks = 0
        self._stall_ticks = 0
        self._stall_mark = self.log.stable_index
        self._round = 0
        self._fresh_reads: list[int] = []
        self._waiting_reads: deque[tuple[int, int, int]] = deque()  # round, token, index
        self.first_index = self.log.last_index + 1
        """Where this term's no-op stands: until it is committed, no read and no configuration change."""
        self.append([b""], Kind.NOOP)

    # -- input ------------------------------------------------------------------------------------------

    def append(self, datas: list[bytes], kind: Kind = Kind.COMMAND) -> int:
        """Put entries at the end of the log; they leave with the next Ready. Returns the first one's index."""
        first = self.log.last_index + 1
        self.log.append([Entry(first + i, self.core.term, kind, data) for i, data in enumerate(datas)])
        return first

    def read(self, token: int) -> None:
        """Confirm the leadership, then answer with an index that holds all that was committed before (6.4)."""
        self._fresh_reads.append(token)

    def transfer(self, to: int) -> None:
        """Bring `to` up to date, then let it stand at once. Proposals wait meanwhile (dissertation 3.10)."""
        self.transfer_to, self._transfer_ticks, self._transfer_sent = to, 0, False
        self._hand_over_when_caught_up()

    def offer_snapshot(self, meta: SnapshotMeta) -> None:
        """The driver holds this snapshot: send it to whoever waits for one."""
        for peer, progress in self.progress.items():
            if progress.pace == Pace.SNAPSHOT and progress.snapshot is None:
                progress.snapshot, progress.offset = meta, 0
                self._send_chunk(peer, progress)

    @property
    def snapshot_wanted(self) -> bool:
        """Whether a member that answers waits for a snapshot that nobody has offered yet."""
        waiting = (p for p in self.progress.values() if p.pace == Pace.SNAPSHOT and p.snapshot is None)
        return any(p.incarnation and self._heard(p) for p in waiting)

    def snapshots_in_use(self) -> set[int]:
        """The indices of the snapshots that members are still reading."""
        return {p.snapshot.index for p in self.progress.values() if p.snapshot is not None}

    def least_match(self) -> int:
        """How far the log of the last one of those goes that answer."""
        return min((p.match for p in self.progress.values() if self._heard(p)), default=self.log.last_index)

    def lag(self, peer: int) -> int | None:
        """Entries of this log that the member is not known to hold; None before it is known where the logs meet."""
        progress = self.progress[peer]
        is_known = progress.match > 0 or progress.pace != Pace.PROBE
        return self.log.last_index - progress.match if is_known else None

    def hears(self, peer: int) -> bool:
        """Whether the member has answered within the longest election timeout."""
        return self._heard(self.progress[peer])

    # -- time -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick: silence, stalls, a transfer that takes too long, heartbeats."""
        tuning = self.core.tuning
        for progress in self.progress.values():
            progress.silent_ticks += 1
            progress.chunk_age_ticks += 1
        hears_majority = self._hears_majority()
        if not hears_majority or self._disk_stalls():
            why = "its disk does not finish a write" if hears_majority else "no majority answers"
            self.core.note(f"gives up the leadership of term {self.core.term}: {why}")
            self.core.become_follower(self.core.term, None)
            return
        if self.transfer_to is not None:
            self._transfer_ticks += 1
            if self._transfer_ticks > tuning.election_max_ticks:
                self.transfer_to = None
        self._heartbeat_ticks += 1
        beat = self._heartbeat_ticks >= tuning.heartbeat_ticks
        if beat:
            self._heartbeat_ticks = 0
        for peer, progress in self.progress.items():
            if not progress.was_silent and not self._heard(progress):
                progress.was_silent = True
                self.core.note(f"node {peer} does not answer", grave=True)
            if progress.snapshot is not None and progress.silent_ticks > PATIENCE * tuning.election_max_ticks:
                # The copy that it was reading holds back compaction. Should it come back, it gets another.
                progress.await_snapshot()
            if beat and progress.chunk_age_ticks > tuning.election_max_ticks and self._heard(progress):
                self._send_chunk(peer, progress)
            if beat or (progress.pace == Pace.REPLICATE and progress.sent_commit < self.log.commit_index):
                self._send_heartbeat(peer, progress)

    def _hears_majority(self) -> bool:
        """Whether a majority of the admitted disks answers. Who has not answered yet in this term has some time to."""
        heard = (self._heard(p) and (not p.incarnation or self._vouches(peer)) for peer, p in self.progress.items())
        return 1 + sum(heard) >= self.core.majority()

    def _heard(self, progress: Progress) -> bool:
        return progress.silent_ticks <= self.core.tuning.election_max_ticks

    def has_room(self) -> bool:
        """Whether what makes the data grow can be stored: here, and with enough of those that answer for a majority."""
        if self.core.crowded or not self._crowded:
            return not self.core.crowded
        roomy = 1 + sum(self._heard(p) and peer not in self._crowded for peer, p in self.progress.items())
        return roomy >= self.core.majority()

    def _disk_stalls(self) -> bool:
        """A disk that does not finish what was given to it, though heartbeats could still flow."""
        if self.log.stable_index >= self.log.last_index or self.log.stable_index != self._stall_mark:
            self._stall_mark, self._stall_ticks = self.log.stable_index, 0
            return False
        self._stall_ticks += 1
        return self._stall_ticks > self.core.tuning.stall_ticks

    # -- replies ----------------------------------------------------------------------------------------

    def on_append_reply(self, message: AppendReply) -> None:
        """A member's log matches up to a point, or does not match where it was probed."""
        progress = self.progress[message.sender]
        if not self._hear(message.sender, message.incarnation):
            return
        if message.crowded != (message.sender in self._crowded):
            self._crowded ^= {message.sender}
            what = "is full" if message.crowded else "has room again"
            self.core.note(f"the disk of node {message.sender} {what}", grave=message.crowded)
        if message.round > progress.round:
            progress.round = message.round
            self._confirm_reads()
        if not message.success:
            self._backtrack(message, progress)
            return
        progress.denials = 0
        news = progress.acknowledged(min(message.match_index, self.log.last_index))
        if progress.pace == Pace.PROBE and (news or message.match_index >= progress.next - 1):
            progress.replicate()
        elif progress.pace == Pace.SNAPSHOT and progress.match > 0:
            self._leave_snapshot(progress)
        if news:
            self.advance_commit()
        self._admit()
        self._hand_over_when_caught_up()

    def _leave_snapshot(self, progress: Progress) -> None:
        if progress.match >= self.log.base_index:
            progress.replicate()
        elif progress.snapshot is not None and progress.match >= progress.snapshot.index:
            progress.await_snapshot()

    def _backtrack(self, message: AppendReply, progress: Progress) -> None:
        refused = message.prev_log_index
        current = progress.pace == Pace.REPLICATE or (progress.pace == Pace.PROBE and refused == progress.next - 1)
        if current and refused > progress.match:
            index, _ = self.log.conflict_hint(message.hint_index, message.hint_term)
            progress.probe(min(index + 1, refused))
        elif current and message.hint_index < progress.match:
            progress.denials += 1
            if progress.denials == DENIALS:
                self.core.note(
                    f"node {message.sender} has vouched for all entries up to {progress.match}, and has none after "
                    f"{message.hint_index} now: its disk has lost some, or an older copy stands in its place. Stop it, "
                    "move its data directory away, and start it empty; it will get everything from its peers",
                    grave=True,
                )

    def on_snapshot_reply(self, message: SnapshotReply) -> None:
        """A member holds a snapshot's bytes up to an offset: go on from there."""
        progress = self.progress[message.sender]
        if not self._hear(message.sender, message.incarnation):
            return
        snapshot = progress.snapshot
        if progress.pace == Pace.SNAPSHOT and snapshot is not None and snapshot.index == message.index:
            # Only news asks for the next chunk: a second answer to one chunk would start a second stream of them.
            # What else an answer says, the tick acts upon.
            lost_all = message.next_offset == 0 < progress.offset
            news = message.next_offset > progress.offset or lost_all
            progress.offset = message.next_offset
            if news and progress.offset < snapshot.size_bytes:
                self._send_chunk(message.sender, progress)

    def _hear(self, peer: int, incarnation: int) -> bool:
        """Note that this disk speaks for `peer`. False: it must wait until the one that is named has fallen silent.

        So a last word of a replaced disk, or a second process under the same name, changes nothing.
        """
        progress = self.progress[peer]
        if progress.incarnation != incarnation:
            named = self.log.configuration.incarnation(peer) in (0, progress.incarnation)
            if progress.incarnation and named and self._heard(progress):
                return False
            # Nothing that another disk acknowledged is known to be on this one.
            progress.incarnation, progress.match = incarnation, 0
        if progress.was_silent:
            progress.was_silent = False
            self.core.note(f"node {peer} answers again")
        progress.silent_ticks = 0
        return True

    def _admit(self) -> None:
        """Write the disks of members that hold this term's no-op into the configuration, one change at a time."""
        log, core = self.log, self.core
        settled = log.configuration_index <= log.commit_index and log.commit_index >= self.first_index
        if not settled or self.transfer_to is not None:
            return
        disks = {peer: p.incarnation for peer, p in self.progress.items() if p.match >= self.first_index}
        disks[core.node] = core.incarnation
        change = {node: disk for node, disk in disks.items() if log.disk(node) != disk}
        if change:
            nodes = ", ".join(map(str, sorted(change)))
            self.core.note(f"writes down whose disks count: new are those of nodes {nodes}")
            configuration = log.configuration
            for node, disk in change.items():
                configuration = configuration.admitting(node, disk)
            self.append([msgspec.msgpack.encode(configuration)], Kind.CONFIGURATION)

    def _vouches(self, peer: int) -> bool:
        """Whether the disk that answers for `peer` is the one the cluster admitted (0: none was yet)."""
        return self.log.admits(peer, self.progress[peer].incarnation)

    # -- commitment -------------------------------------------------------------------------------------

    def advance_commit(self) -> None:
        """Commit what a majority of admitted disks holds, if it is of this term (Fig. 8)."""
        log = self.log
        matches = [log.stable_index, *(p.match if self._vouches(peer) else 0 for peer, p in self.progress.items())]
        index = sorted(matches, reverse=True)[self.core.majority() - 1]
        if index > log.commit_index and self.core.may_count(index):
            log.commit_to(index)
            self._admit()

    # -- reads ------------------------------------------------------------------------------------------

    def _start_round(self) -> None:
        """Reads wait for the term's no-op, then all that have gathered share one round of heartbeats."""
        if not self._fresh_reads or self.log.commit_index < self.first_index:
            return
        self._round += 1
        self._waiting_reads += [(self._round, token, self.log.commit_index) for token in self._fresh_reads]
        self._fresh_reads = []
        for peer, progress in self.progress.items():
            self._send_heartbeat(peer, progress)
        self._confirm_reads()

    def _confirm_reads(self) -> None:
        if not self._waiting_reads:
            return
        rounds = [self._round, *(p.round if self._vouches(peer) else 0 for peer, p in self.progress.items())]
        confirmed = sorted(rounds, reverse=True)[self.core.majority() - 1]
        while self._waiting_reads and self._waiting_reads[0][0] <= confirmed:
            _, token, index = self._waiting_reads.popleft()
            self.core.out.reads.append(ReadAnswer(token, index))

    def abandon_reads(self) -> None:
        """Leadership is lost: every read must be asked again."""
        tokens = [token for _, token, _ in self._waiting_reads] + self._fresh_reads
        self.core.out.reads += [ReadAnswer(token, None) for token in tokens]

    # -- output -----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what the last inputs made possible. Called once for each Ready."""
        self._start_round()
        for peer, progress in self.progress.items():
            self._send_entries(peer, progress)

    def _send_entries(self, peer: int, progress: Progress) -> None:
        if progress.next <= self.log.base_index and progress.pace != Pace.SNAPSHOT:
            # Whatever is still under way, what comes after it is gone.
            progress.await_snapshot()
        while progress.next <= self.log.last_index and progress.may_send():
            entries = self.log.entries(progress.next, self.core.tuning.message_bytes)
            self._send_append(peer, progress, entries)
            progress.sent(entries[-1].index, sum(len(entry.data) for entry in entries))

    def _send_heartbeat(self, peer: int, progress: Progress) -> None:
        if progress.pace == Pace.SNAPSHOT or progress.next <= self.log.base_index:
            # Nothing is known of a log that meets ours here: (0, 0) matches every log and commits nothing.
            self.core.send(
                AppendEntries, peer, prev_log_index=0, prev_log_term=0, leader_commit=0, round=self._round, entries=[]
            )
        else:
            # Who hears of a log must hold it, or nobody may be left who can begin (`beginning`).
            is_first = progress.pace == Pace.PROBE and progress.next == 1 <= self.log.last_index
            first = self.log.entries(1, self.core.tuning.message_bytes) if is_first else []
            self._send_append(peer, progress, first)

    def _send_append(self, peer: int, progress: Progress, entries: list[Entry]) -> None:
        prev = progress.next - 1
        progress.sent_commit = self.log.commit_index
        self.core.send(
            AppendEntries,
            peer,
            prev_log_index=prev,
            prev_log_term=self.log.term(prev),
            leader_commit=self.log.commit_index,
            round=self._round,
            entries=entries,
        )

    def _send_chunk(self, peer: int, progress: Progress) -> None:
        if progress.snapshot is not None:
            progress.chunk_age_ticks = 0
            self.core.send(InstallSnapshot, peer, meta=progress.snapshot, offset=progress.offset)

    def _hand_over_when_caught_up(self) -> None:
        to = self.transfer_to
        if to is not None and not self._transfer_sent and self.progress[to].match == self.log.last_index:
            self._transfer_sent = True
            self.core.send(TimeoutNow, to)
