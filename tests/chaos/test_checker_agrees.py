"""The checker and a judge that tries every order agree on 120,000 small histories, right ones and wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest

from chaos.checker import check
from chaos.history import Op
from tests.chaos.brute_force import queue_fits, topics_fit
from tests.chaos.random_histories import queue_history, topics_history

CHUNK = 10_000
SHARE = 0.2
"""At least so much of a chunk has each verdict."""


def compare(seeds: range, history: Callable[[Random], list[Op]], fits: Callable[[Sequence[Op]], bool]) -> None:
    right = 0
    for seed in seeds:
        ops = history(Random(seed))
        expected = fits(ops)
        report = check(ops)
        assert report.valid == expected, f"seed {seed}: the judge says {expected}, the checker {report}, of {ops}"
        right += expected
    assert SHARE * len(seeds) <= right <= (1 - SHARE) * len(seeds)


@pytest.mark.parametrize("chunk", range(10))
def test_on_queues(chunk: int) -> None:
    compare(range(chunk * CHUNK, (chunk + 1) * CHUNK), queue_history, queue_fits)


@pytest.mark.parametrize("chunk", range(2))
def test_on_topics(chunk: int) -> None:
    compare(range(chunk * CHUNK, (chunk + 1) * CHUNK), topics_history, topics_fit)


def test_the_random_histories_break_every_rule() -> None:
    broken = {rule for seed in range(2_000) for rule in check(queue_history(Random(seed))).totals}
    assert broken == {
        "lost", "phantom", "duplicate", "same_sequence", "publisher_order", "reordered", "torn", "stale_read",
    }  # fmt: skip
    broken = {rule for seed in range(2_000) for rule in check(topics_history(Random(seed))).totals}
    assert broken == {"double_create", "topic_phantom", "topic_stale", "topic_order"}
