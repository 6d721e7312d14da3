"""Planted faults: each takes one rule out of the production code, and the simulation must notice.

Rules of this file: a mutation is a context manager that changes production classes and puts them back. It is as small
as the mistake that it stands for. `EXPECTED` tells how many seeds of what it takes at most; the tests hold it to that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from app.broker import Machine, groups, leases, receive, settle
from app.broker import files as database
from app.broker.commands import Ack
from app.broker.handed import Item, Lease
from app.broker.results import Received, encode
from app.broker.state import State, Subscription, Topic
from app.node import disk
from app.node.compaction import Compaction
from app.node.protocols import Log, WriteJob
from app.node.runner import GroupRunner
from app.node.snapshots import SnapshotFiles
from app.raft import HardState, RaftCore
from app.raft.follower import Follower
from app.raft.leader import Leader
from app.raft.log import RaftLog
from app.raft.ready import ReadAnswer
from app.raft.types import NOBODY
from app.storage import SegmentedLog, recovery
from app.storage.segment import Segment
from tests.sim import threads

MUTATIONS: dict[str, Callable[[], Any]] = {}


@contextmanager
def patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute for a while."""
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def mutation(make: Callable[[], Any]) -> Callable[[], Any]:
    """Register it under its function's name."""
    MUTATIONS[make.__name__] = make
    return make


@mutation
def skip_fsync() -> Any:
    """The log says that it synced, and did not."""

    def sync(self: Segment) -> None:
        self.synced_bytes = self.end_bytes

    return patched(Segment, "sync", sync)


@mutation
def sync_what_one_try_wrote() -> Any:
    """Where a chunk of a snapshot finds no room, what was written before it is not synced by the next try, either."""

    def write_all(log: Log, snapshots: SnapshotFiles, jobs: list[WriteJob]) -> None:
        writes = any(job.hard_state is not None or job.entries for job in jobs)
        with patched(SegmentedLog, "sync", SegmentedLog.sync if writes else lambda _: None):
            real(log, snapshots, jobs)

    real = disk.write_all
    return patched_module(threads, "write_all", write_all)


@mutation
def count_old_terms() -> Any:
    """Entries of earlier terms are committed by counting (paper, Fig. 8)."""
    return patched(RaftCore, "may_count", lambda self, index: True)


@mutation
def half_is_enough() -> Any:
    """Half of the voters decide."""
    return patched(RaftCore, "majority", lambda self: max(1, len(self.log.configuration.members) // 2))


@mutation
def forget_vote() -> Any:
    """A restarted node knows its term, and not whom it voted for."""
    real = RaftCore.__init__

    def init(self: RaftCore, **given: Any) -> None:
        given["hard_state"] = HardState(given["hard_state"].term, NOBODY)
        real(self, **given)

    return patched(RaftCore, "__init__", init)


@mutation
def vote_not_written() -> Any:
    """Votes and terms never reach the disk."""
    real = SegmentedLog.append

    def append(self: SegmentedLog, hard_state: HardState | None, entries: Any) -> None:
        real(self, None, entries)

    return patched(SegmentedLog, "append", append)


@mutation
def vote_twice() -> Any:
    """A vote is given to whoever asks, also a second time in a term."""
    real = RaftCore._on_request_vote

    def on_request_vote(self: RaftCore, message: Any) -> None:
        if message.term == self.term and not message.pre and self.leader is None:
            self.vote = NOBODY
            self.leader_id = None
        real(self, message)

    return patched(RaftCore, "_on_request_vote", on_request_vote)


@mutation
def vote_for_stale_logs() -> Any:
    """A candidate that lacks entries gets votes."""
    return patched(RaftLog, "up_to_date", lambda self, last_index, last_term: True)


@mutation
def answer_before_durable() -> Any:
    """What vouches for durable state leaves at once."""
    real = GroupRunner._go_on

    def go_on(self: GroupRunner, ready: Any) -> None:
        after, ready.after = ready.after, []
        self._after(after)
        real(self, ready)

    return patched(GroupRunner, "_go_on", go_on)


@mutation
def leader_counts_itself_early() -> Any:
    """The leader takes its own entries for durable before its disk has them."""
    real = Leader.advance_commit

    def advance_commit(self: Leader) -> None:
        stable, self.log.stable_index = self.log.stable_index, self.log.last_index
        real(self)
        self.log.stable_index = stable

    return patched(Leader, "advance_commit", advance_commit)


@mutation
def truncate_on_any_append() -> Any:
    """Entries behind a message's last are cut, although all in it matched."""
    real = RaftLog.merge

    def merge(self: RaftLog, entries: Any) -> int:
        last = real(self, entries)
        if self.last_index > last:
            self.commit_index = min(self.commit_index, last)
            self._truncate(last + 1)
        return last

    return patched(RaftLog, "merge", merge)


@mutation
def ignore_previous_entry() -> Any:
    """Entries are taken although the one before them does not match."""

    def matches(self: RaftLog, index: int, term: int) -> bool:
        return self.base_index <= index <= self.last_index

    return patched(RaftLog, "matches", matches)


@mutation
def commit_beyond_match() -> Any:
    """A follower commits what the leader did, up to its own end, whoever's entries stand there."""
    real = Follower._accept

    def accept(self: Follower, message: Any, last: int) -> None:
        real(self, message, last)
        log = self.core.log
        log.commit_to(min(message.leader_commit, log.last_index))

    return patched(Follower, "_accept", accept)


@mutation
def acknowledge_beyond_match() -> Any:
    """A follower vouches for its whole log when a heartbeat matches somewhere in it."""
    real = Follower._accept

    def accept(self: Follower, message: Any, last: int) -> None:
        real(self, message, self.core.log.stable_index)

    return patched(Follower, "_accept", accept)


@mutation
def reads_without_confirmation() -> Any:
    """A leader serves reads because it believes to lead."""

    def read(self: Leader, token: int) -> None:
        self.core.out.reads.append(ReadAnswer(token, self.log.commit_index))

    return patched(Leader, "read", read)


@mutation
def snapshot_keeps_old_log() -> Any:
    """The log survives a snapshot that was installed over it, conflicting entries and all."""

    def reset(self: SegmentedLog, index: int, term: int) -> None:
        if index > self.last_index:
            real(self, index, term)

    real = SegmentedLog.reset
    return patched(SegmentedLog, "reset", reset)


@mutation
def compact_before_checkpoint() -> Any:
    """The log is dropped when the state contains it, durable or not."""

    def applied(self: Compaction, items: Any) -> None:
        real(self, items)
        if not self._running:
            self._durable(items[-1].index)

    real = Compaction.applied
    return patched(Compaction, "applied", applied)


@mutation
def wiped_disk_votes() -> Any:
    """A vote counts from whatever disk it comes."""
    real = RaftCore._on_request_vote

    def on_request_vote(self: RaftCore, message: Any) -> None:
        incarnation, self.incarnation = self.incarnation, message.incarnation or self.incarnation
        real(self, message)
        self.incarnation = incarnation

    return patched(RaftCore, "_on_request_vote", on_request_vote)


@mutation
def wiped_disk_keeps_its_match() -> Any:
    """What the old disk acknowledged is believed of the new one."""

    def hear(self: Leader, peer: int, incarnation: int) -> bool:
        progress = self.progress[peer]
        progress.silent_ticks, progress.incarnation = 0, incarnation
        return True

    return patched(Leader, "_hear", hear)


@mutation
def apply_before_commit() -> Any:
    """What is durable here is applied, committed or not."""
    return patched(RaftLog, "deliverable", lambda self: self.stable_index)


@mutation
def claims_not_in_snapshot() -> Any:
    """A snapshot lacks the keys that were used."""
    real = Machine.serialize

    def serialize(self: Machine) -> bytes:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(real(self))
            connection.execute("DELETE FROM claim")
            connection.commit()
            return database.image_of(connection)

    return patched(Machine, "serialize", serialize)


@mutation
def key_ignored_after_restart() -> Any:
    """The queue honours a key until the state is opened again."""
    real = Machine._take

    def take(self: Machine, connection: Any) -> None:
        connection.execute("UPDATE claim SET expires_ms = 0")
        real(self, connection)

    return patched(Machine, "_take", take)


@mutation
def leases_end_early() -> Any:
    """A lease lasts half as long as its holder is told."""
    real = leases.grant

    def grant(state: State, subscription: Subscription, handed: Sequence[Any], size_bytes: int, due_ms: int) -> Lease:
        now_ms = state.numbers.time_ms
        return real(state, subscription, handed, size_bytes, now_ms + (due_ms - now_ms) // 2)

    return patched_module(leases, "grant", grant)


@mutation
def repeated_receives_get_nothing() -> Any:
    """What was leased to a first try is not told to the second."""
    return patched_module(receive, "_told_again", lambda *_: encode(Received([])))


@mutation
def acks_are_forgotten() -> Any:
    """Acked messages go back in place of going away."""

    def ack(
        state: State, topic: Topic, subscription: Subscription, lease: Lease, items: Sequence[Item]
    ) -> list[Item]:
        for item, row in zip(items, leases.messages_in(state, topic, lease, items), strict=True):
            settle.give_back(state, topic, subscription, item, row, 0, nacked=False)
        return []

    return patched_module(settle, "_ack", ack)


@mutation
def memory_decides_how_acks_go() -> Any:
    """Several acks are done together where what they settle is remembered, and one by one where not."""
    real = settle._ack_together

    def together(state: State, name: str, acks: Sequence[Ack]) -> bool:
        tokens = [leases.parse(text) for each in acks for text in each.tokens]
        is_remembered = all(token is not None and state.handed.find(token.lease) for token in tokens)
        return is_remembered and real(state, name, acks)

    return patched_module(settle, "_ack_together", together)


@mutation
def groups_do_not_wait() -> Any:
    """The next message of a group is handed out while one is leased."""

    real = groups.move

    def move(state: State, topic: Topic, row: Any, cursor: int, place: int | None) -> None:
        real(state, topic, row, cursor, row[groups.PLACE] if place is None else place)

    return patched_module(groups, "move", move)


@mutation
def recovery_cuts_a_record() -> Any:
    """The last whole record is taken for a torn one."""
    real = recovery._scan

    def scan(segment: Segment, view: Any, hard_state: HardState) -> Any:
        found = real(segment, view, hard_state)
        if len(segment.offsets) > 1 and view[segment.offsets[-1] :].nbytes:
            segment.end_bytes = segment.offsets.pop()
            segment.lengths.pop()
            segment.terms.pop()
        return found

    def read_last(segment: Segment, hard_state: HardState) -> Any:
        with patched_module(recovery, "_scan", scan):
            return real_last(segment, hard_state)

    real_last = recovery._read_last
    return patched_module(recovery, "_read_last", read_last)


@contextmanager
def patched_module(module: Any, name: str, value: Any) -> Iterator[None]:
    """As `patched`, of a module's function."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
