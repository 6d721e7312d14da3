"""RaftLog alone, and against a list that does the same in the plainest way."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.raft import Configuration, Entry, HardState, Kind, Member, RaftLog, SnapshotMeta
from app.raft.log import NO_DISK
from tests.raft.disk import Image, State

VOTERS = Configuration((Member(1), Member(2), Member(3)))


def entry(index: int, term: int, size: int = 1) -> Entry:
    return Entry(index, term, Kind.COMMAND, b"x" * size)


def image(terms: list[int]) -> Image:
    entries = [entry(index, term) for index, term in enumerate(terms, 1)]
    return Image(HardState(), State(0, 0, VOTERS), entries)


def log_of(terms: list[int], **options: int) -> RaftLog:
    return RaftLog(image(terms), 0, VOTERS, **options)


def terms_of(log: RaftLog) -> list[int]:
    return [log.term(index) for index in range(log.first_index, log.last_index + 1)]


def naming(index: int, term: int, **disks: int) -> Entry:
    members = tuple(Member(int(name[1:]), disk) for name, disk in disks.items())
    return Entry(index, term, Kind.CONFIGURATION, msgspec.msgpack.encode(Configuration(members)))


sorted_terms = st.lists(st.integers(1, 9), max_size=30).map(sorted)


@given(sorted_terms, st.integers(0, 40), st.integers(0, 10))
def test_hint_is_the_largest_place_that_could_match(terms: list[int], index: int, term: int) -> None:
    places = [(0, 0), *enumerate(terms, 1)]
    candidates = [place for place in places if place[0] <= index and place[1] <= term]
    assert log_of(terms).conflict_hint(index, term) == candidates[-1]


def test_hint_never_reaches_below_the_base() -> None:
    log = log_of([1, 1, 3, 3, 3])
    log.commit_to(4)
    log.take_committed(1 << 20)
    log.compact(4)
    assert log.conflict_hint(5, 2) == (4, 3)
    assert log.conflict_hint(2, 2) == (2, 0)


def test_hint_costs_no_walk_along_a_long_log() -> None:
    class Counting(Image):
        asked = 0

        def term(self, index: int) -> int:
            type(self).asked += 1
            return super().term(index)

    base = image([1] * 5 + [7] * 20_000)
    log = RaftLog(Counting(base.hard_state, base.base, base.entries), 0, VOTERS)
    Counting.asked = 0
    assert log.conflict_hint(20_005, 6) == (5, 1)
    assert Counting.asked < 50


@given(sorted_terms, st.data())
def test_backtracking_meets_within_a_round_trip_a_term(prefix: list[int], data: st.DataObject) -> None:
    """Two logs that share a prefix and no (index, term) behind it, as Log Matching has it."""
    low = prefix[-1] if prefix else 1
    even = data.draw(st.lists(st.sampled_from([2, 4, 6, 8]), max_size=20).map(sorted))
    odd = data.draw(st.lists(st.sampled_from([3, 5, 7, 9]), max_size=20).map(sorted))
    leader, follower = log_of(prefix + [low + t for t in even]), log_of(prefix + [low + t for t in odd])
    prev, trips = leader.last_index, 0
    while not follower.matches(prev, leader.term(prev)):
        hint = follower.conflict_hint(prev, leader.term(prev))
        prev, trips = min(leader.conflict_hint(*hint)[0], prev - 1), trips + 1
    assert prev <= len(prefix) or leader.term(prev) == follower.term(prev)
    assert trips <= 2 + min(len(set(even)), len(set(odd)))


@given(sorted_terms, sorted_terms, st.data())
def test_merge_does_what_figure_2_says(own: list[int], theirs: list[int], data: st.DataObject) -> None:
    shared = data.draw(st.integers(0, min(len(own), len(theirs))))
    theirs[:shared] = own[:shared]
    theirs.sort()
    if theirs[:shared] != own[:shared]:
        return
    lo = data.draw(st.integers(0, shared))
    hi = data.draw(st.integers(lo, len(theirs)))
    if lo == hi:
        return
    log = log_of(own)
    entries = [entry(index, term) for index, term in enumerate(theirs, 1)][lo:hi]
    expected = list(own)
    for index, term in enumerate(theirs[lo:hi], lo):
        if index < len(expected) and expected[index] != term:
            del expected[index:]
        if index >= len(expected):
            expected.append(term)
    assert log.merge(entries) == hi
    assert terms_of(log) == expected
    assert log.last_term == (expected[-1] if expected else 0)


def test_merge_never_cuts_what_is_committed() -> None:
    log = log_of([1, 1, 1])
    log.commit_to(2)
    with pytest.raises(AssertionError, match="must not be cut"):
        log.merge([entry(2, 2)])


def test_unwritten_entries_are_handed_out_once_and_again_after_a_cut() -> None:
    log = log_of([1, 1])
    log.append([entry(3, 1), entry(4, 1)])
    assert [e.index for e in log.take_unwritten()] == [3, 4]
    assert log.take_unwritten() == []
    log.merge([entry(2, 2)])
    assert [(e.index, e.term) for e in log.take_unwritten()] == [(2, 2)]


def test_nothing_is_applied_before_it_is_durable() -> None:
    log = log_of([1])
    log.append([entry(2, 1), entry(3, 1)])
    log.commit_to(3)
    assert [e.index for e in log.take_committed(100)] == [1]
    log.persisted(2, 1)
    log.persisted(3, 9)
    assert [e.index for e in log.take_committed(100)] == [2]


def test_entries_stop_before_the_limit_and_never_give_none() -> None:
    log = log_of([])
    log.append([entry(index, 1, size=10) for index in range(1, 6)])
    assert len(log.entries(1, 25)) == 2
    assert len(log.entries(1, 1)) == 1
    assert len(log.entries(1, 1000, hi=3)) == 3


def test_release_keeps_what_is_not_durable_or_not_delivered() -> None:
    log = log_of([], cache_bytes=15)
    log.append([entry(index, 1, size=10) for index in range(1, 6)])
    log._view.write(None, log.take_unwritten())  # type: ignore[attr-defined]
    log.release()
    assert log._tail_start == 1
    log.persisted(5, 1)
    log.commit_to(4)
    log.take_committed(1 << 20)
    log.release()
    assert log._tail_start == 5
    assert len(log.entries(1, 1000)) == 4


def test_reset_is_durable_only_when_the_disk_says_so() -> None:
    log = log_of([1, 1])
    log.reset(SnapshotMeta(9, 3, VOTERS, 0))
    assert (log.first_index, log.last_index, log.last_term, log.commit_index) == (10, 9, 3, 9)
    assert log.stable_index == 0
    log.persisted(2, 1)
    assert log.stable_index == 0
    log.persisted(9, 3)
    assert log.stable_index == 9


def test_a_disk_counts_when_all_configurations_in_play_name_it() -> None:
    log = log_of([])
    assert log.admits(3, 30) and log.admits(3, 31) and not log.admits(4, 0)
    log.append([naming(1, 1, n1=10, n2=20, n3=30)])
    assert log.admits(3, 30) and not log.admits(3, 31)
    log.commit_to(1)
    log.append([naming(2, 1, n1=10, n2=20, n3=31)])
    assert log.disk(3) == NO_DISK
    assert not log.admits(3, 30) and not log.admits(3, 31) and log.admits(2, 20)
    assert log.committed_configuration.incarnation(3) == 30
    log.commit_to(2)
    assert log.admits(3, 31) and not log.admits(3, 30)


def test_a_configuration_that_is_cut_is_forgotten() -> None:
    log = log_of([])
    log.append([naming(1, 1, n1=10, n2=20, n3=30), entry(2, 1), naming(3, 1, n1=10, n2=20, n3=31)])
    log.commit_to(1)
    log.merge([entry(2, 2)])
    assert log.configuration_index == 1
    assert log.admits(3, 30)


def test_configurations_behind_the_applied_index_are_found_at_a_start() -> None:
    at = image([1])
    at.write(None, [naming(2, 1, n1=10, n2=20, n3=30), entry(3, 1)])
    log = RaftLog(at, 1, VOTERS)
    assert log.configuration_index == 2
    assert log.committed_configuration == VOTERS


class LogMachine(RuleBasedStateMachine):
    """A log and its disk, beside a list of all entries. The driver's rules are kept; the order is any."""

    @initialize(cache=st.sampled_from([0, 3, 1000]))
    def begin(self, cache: int) -> None:
        self.disk = image([])
        self.log = RaftLog(self.disk, 0, VOTERS, cache_bytes=cache)
        self.model: list[Entry] = []
        self.writes: list[tuple[list[Entry], int]] = []
        self.durable: list[Entry] = []
        self.delivered = 0
        self.term = 1

    @rule(count=st.integers(1, 3), size=st.integers(0, 2))
    def append(self, count: int, size: int) -> None:
        first = len(self.model) + 1
        entries = [entry(index, self.term, size) for index in range(first, first + count)]
        self.log.append(entries)
        self.model += entries

    @rule(back=st.integers(0, 6), count=st.integers(1, 4))
    def merge(self, back: int, count: int) -> None:
        self.term += 1
        first = max(len(self.model) - back, self.log.commit_index) + 1
        entries = [entry(index, self.term) for index in range(first, first + count)]
        self.log.merge(entries)
        self.model[first - 1 :] = entries

    @rule()
    def write(self) -> None:
        entries = self.log.take_unwritten()
        self.disk.write(None, entries)
        self.writes.append((entries, self.term))

    @precondition(lambda self: self.writes)
    @rule()
    def sync(self) -> None:
        """What an earlier term's write has done is not believed: the core drops such answers."""
        entries, term = self.writes.pop(0)
        if entries:
            self.durable[entries[0].index - 1 :] = entries
        if term == self.term and self.durable:
            self.log.persisted(self.durable[-1].index, self.durable[-1].term)

    @rule(index=st.integers(1, 40))
    def commit(self, index: int) -> None:
        self.log.commit_to(min(index, len(self.model)))

    @rule(limit=st.integers(1, 5))
    def apply(self, limit: int) -> None:
        taken = self.log.take_committed(limit)
        assert taken == self.model[self.delivered : self.delivered + len(taken)]
        self.delivered += len(taken)
        self.log.release()

    @rule(back=st.integers(0, 3))
    def compact(self, back: int) -> None:
        index = self.log.delivered - back
        if index > self.log.base_index:
            self.log.compact(index)

    @invariant()
    def agrees(self) -> None:
        log = self.log
        assert log.last_index == len(self.model)
        assert log.base_index <= log.delivered <= min(log.commit_index, log.stable_index)
        assert log.commit_index <= log.last_index
        assert self.durable[: log.stable_index] == self.model[: log.stable_index]
        lo = log.first_index
        while lo <= log.last_index:
            part = log.entries(lo, 2)
            assert part == self.model[lo - 1 : lo - 1 + len(part)]
            lo += len(part)


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestLogMachine = LogMachine.TestCase
