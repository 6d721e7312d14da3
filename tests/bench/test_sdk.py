"""The client's own figures: each load does what it says, and a row says what was measured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rmq
from bench import sdk
from bench.sdk import LOADS, Load, Measured
from tests.api.conftest import Live


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Live() as live:
        yield live.url


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.what)
def test_each_load_does_something_and_leaves_nothing(load: Load, url: str) -> None:
    measured = sdk._one(url, load, 0.3)
    assert measured.messages > 0 and measured.wall_s > 0 and measured.cpu_s > 0
    with rmq.Client(url) as client:
        assert list(client.topics()) == []


def test_what_does_nothing_is_no_figure(url: str) -> None:
    with pytest.raises(RuntimeError, match="nothing at all"):
        sdk._one(url, Load("idle", lambda *_: 0), 0.01)


def test_a_row_is_medians_and_spread() -> None:
    values = [Measured(100, 1.0, 0.01), Measured(300, 1.0, 0.09), Measured(200, 1.0, 0.04)]
    assert sdk._row("it", values) == ["it", "200", "100 - 300", "200"]
