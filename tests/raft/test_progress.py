"""Progress: what may be sent to one member, and what its answers mean."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.raft.progress import Pace, Progress


def replicating(match: int = 0, window: int = 3, window_bytes: int = 100) -> Progress:
    progress = Progress(match + 1, window, window_bytes)
    progress.acknowledged(match)
    progress.replicate()
    return progress


def test_a_probe_sends_once_until_it_is_answered() -> None:
    progress = Progress(5, 3, 100)
    assert progress.may_send()
    progress.sent(9, 10)
    assert not progress.may_send()
    assert progress.next == 5
    progress.probe(3)
    assert progress.may_send()
    assert progress.next == 3


def test_the_window_counts_messages_and_bytes() -> None:
    progress = replicating(window=2)
    progress.sent(1, 1)
    progress.sent(2, 1)
    assert not progress.may_send()
    progress.acknowledged(1)
    assert progress.may_send()
    progress.sent(3, 99)
    assert not progress.may_send()
    progress.acknowledged(3)
    assert progress.may_send()


def test_one_answer_frees_all_that_it_covers() -> None:
    progress = replicating()
    for index in (2, 4, 6):
        progress.sent(index, 30)
    progress.acknowledged(5)
    progress.sent(8, 30)
    progress.sent(10, 30)
    assert not progress.may_send()


def test_old_answers_are_no_news() -> None:
    progress = replicating()
    progress.sent(5, 1)
    assert progress.acknowledged(5)
    assert not progress.acknowledged(5)
    assert not progress.acknowledged(3)
    assert (progress.match, progress.next) == (5, 6)


def test_nothing_is_sent_below_what_matches() -> None:
    progress = replicating(match=7)
    progress.probe(2)
    assert progress.next == 8


def test_a_change_of_pace_forgets_what_was_under_way() -> None:
    progress = replicating(window=1)
    progress.sent(4, 100)
    progress.await_snapshot()
    assert not progress.may_send()
    progress.acknowledged(9)
    progress.replicate()
    assert progress.may_send()
    assert (progress.pace, progress.next, progress.snapshot) == (Pace.REPLICATE, 10, None)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(0, 40)), max_size=60))
def test_match_stays_below_next_and_the_window_is_kept(steps: list[tuple[bool, int, int]]) -> None:
    progress = replicating(window=4, window_bytes=60)
    sent: list[tuple[int, int]] = []
    for sends, number, size in steps:
        if sends and progress.may_send():
            last = progress.next + number - 1
            progress.sent(last, size)
            sent.append((last, size))
        elif not sends and progress.next > 1:
            progress.acknowledged(min(progress.match + number, progress.next - 1))
            sent = [(last, size) for last, size in sent if last > progress.match]
        assert progress.match < progress.next
        assert progress.may_send() == (len(sent) < 4 and sum(size for _, size in sent) < 60)
