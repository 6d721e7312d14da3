"""The client through leader kills: its caller sees no exception, and every message is there once and in order."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

import rmq
from bench.cluster import LocalCluster
from tests.processes.traffic import url
from tests.sdk.faces import FACES, Face

pytestmark = pytest.mark.timeout(120)
MESSAGES, KILLS = 600, (150, 350)
LOAD = 20_000


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as three:
        three.wait_for_leader()
        yield three


@pytest.mark.parametrize("face", FACES, ids=["sync", "async"])
def test_publish_and_consume_through_leader_kills(cluster: LocalCluster, face: type[Face]) -> None:
    queue = face([url(port, "") for port in cluster.ports], retry=rmq.Retry(total_s=20))
    queue("create_topic", "t")
    sequences, bodies = [], []
    for number in range(MESSAGES):
        if number in KILLS:
            leader = cluster.wait_for_leader()
            cluster.kill(leader)
            sequences.append(queue("publish", "t", number).sequence)
            cluster.start(leader)
        else:
            sequences.append(queue("publish", "t", number).sequence)
    while len(bodies) < MESSAGES:
        if len(bodies) in KILLS:
            leader = cluster.wait_for_leader()
            cluster.kill(leader)
            cluster.start(leader)
        for message in queue("receive", "t", max=10, wait_s=1):
            queue("ack", message)
            bodies.append(message.body)
    queue.close()
    assert sequences == list(range(1, MESSAGES + 1))
    assert bodies == list(range(MESSAGES))


def test_a_worker_does_twenty_thousand_through_three_leader_kills(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture
) -> None:
    urls = [url(port, "") for port in cluster.ports]
    done: Counter[int] = Counter()
    all_done = threading.Event()
    with rmq.Client(urls) as queue:
        queue.create_topic("t")
        queue.publish_many("t", (rmq.NewMessage(body=n, dedup_id=f"order-{n}") for n in range(LOAD)))

        @queue.consume("t", concurrency=8, prefetch=200)
        def work(message: rmq.Message) -> None:
            done[message.body] += 1
            if len(done) == LOAD:
                all_done.set()

        thread = threading.Thread(target=work.run)
        thread.start()
        for part in (1, 2, 3):
            while len(done) < part * LOAD // 4:
                time.sleep(0.01)
                assert thread.is_alive()
            leader = cluster.wait_for_leader()
            cluster.kill(leader)
            cluster.wait_for_leader()
            cluster.start(leader)
        assert all_done.wait(60)
        work.stop()
        thread.join(20)
        assert not thread.is_alive()
        assert queue.topic("t").messages == 0
    assert set(done.values()) == {1} and len(done) == LOAD, "each exactly once"
    assert "may be worked on twice" not in caplog.text
