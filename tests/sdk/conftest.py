"""What tests of the client talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import rmq
from bench.cluster import LocalCluster
from tests.api.conftest import Live
from tests.sdk.looking import QUICK


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a node alone, a process of its own."""
    with LocalCluster(1) as alone:
        alone.wait_for_leader()
        yield f"http://127.0.0.1:{alone.ports[0]}"


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """A server in this process, over a node that a test may make fail."""
    with Live() as found:
        yield found


@pytest.fixture
def queue(live: Live) -> Iterator[rmq.Client]:
    """A client, and an empty topic `t`."""
    with rmq.Client(live.url, retry=QUICK) as found:
        found.create_topic("t")
        yield found
        for topic in list(found.topics()):
            found.delete_topic(topic.name)
