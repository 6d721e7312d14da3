"""The cluster that tests get, broken in every way that it offers: a worker comes through, and what was said holds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rmq
from rmq.testing.cluster import Cluster
from rmq.testing.server import Server

pytestmark = pytest.mark.timeout(180)
MESSAGES = 60
Fault = Callable[[Cluster, int], None]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def cluster(server: Server) -> Iterator[Cluster]:
    with Cluster(server, 3) as three:
        three.wait_ready()
        yield three


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def status(cluster: Cluster, node: int) -> dict[str, object]:
    """What a node that runs says of itself, as soon as it comes to it."""
    found: list[dict[str, object]] = []
    wait_until(lambda: bool(found.extend(filter(None, [cluster._get(node, "/status")])) or found), "it answers")
    return found[0]


@pytest.mark.parametrize(
    ("fault", "mend"),
    [(Cluster.kill, Cluster.start), (Cluster.pause, Cluster.resume), (Cluster.isolate, lambda three, _: three.heal())],
    ids=["kill", "pause", "isolate"],
)
def test_a_worker_comes_through(cluster: Cluster, fault: Fault, mend: Fault) -> None:
    leader, done = cluster.leader(), []
    with cluster.client() as client:
        client.create_topic("orders")
        client.publish_many("orders", range(MESSAGES))

        @client.consume("orders", idle_s=2)
        def work(message: rmq.Message) -> None:
            done.append(message.body)
            if len(done) == MESSAGES // 3:
                fault(cluster, leader)
                assert cluster.leader() != leader
            if len(done) == 2 * MESSAGES // 3:
                mend(cluster, leader)
                cluster.wait_ready()

        work.run()
        assert set(done) == set(range(MESSAGES))
        assert client.topic("orders").messages == 0
    cluster.wait_ready()
    wait_until(lambda: {status(cluster, node)["leader"] for node in cluster.nodes} == {cluster.leader()}, "all agree")


def test_an_isolated_node_answers_clients_and_agrees_to_nothing(cluster: Cluster) -> None:
    leader = cluster.leader()
    with rmq.Client(cluster.urls[leader], retry=rmq.Retry(total_s=0)) as alone, cluster.client() as client:
        client.create_topic("t")
        cluster.isolate(leader)
        with pytest.raises((rmq.errors.NoQuorum, rmq.errors.OutcomeUnknown)):
            alone.publish("t", "nobody else hears of it")
        assert cluster.leader() != leader
        cluster.wait_ready()
        client.publish("t", "the others go on")
        assert status(cluster, leader)["node"] == leader
        cluster.heal()
        cluster.wait_ready()
        assert [message.body for message in alone.receive("t", max=9)][-1] == "the others go on"


def test_a_follower_that_was_isolated_disturbs_nobody(cluster: Cluster) -> None:
    follower = (cluster.leader() + 1) % 3
    cluster.isolate(follower)
    term = status(cluster, follower)["term"]
    wait_until(lambda: status(cluster, follower)["leader"] is None, "the follower misses its leader")
    time.sleep(0.5)
    assert status(cluster, follower)["term"] == term, "it asks before it raises its term"
    cluster.heal()
    cluster.wait_ready()


def test_a_node_that_starts_while_isolated_joins_when_the_links_heal(cluster: Cluster) -> None:
    follower = (cluster.leader() + 1) % 3
    cluster.isolate(follower)
    cluster.kill(follower)
    cluster.start(follower)
    assert status(cluster, follower)["leader"] is None
    cluster.heal()
    cluster.wait_ready()
    assert status(cluster, follower)["leader"] == cluster.leader()


def test_the_links_carry_more_than_they_hold_at_once(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_topic("t")
        leader = cluster.leader()
        cluster.pause((leader + 1) % 3)
        client.publish_many("t", ["x" * 500_000] * 20)
        cluster.resume((leader + 1) % 3)
        cluster.wait_ready()
        assert client.topic("t").messages == 20
        wait_until(lambda: len({status(cluster, node)["applied_index"] for node in cluster.nodes}) == 1, "all have all")


def test_what_was_synced_outlives_the_loss_of_all(cluster: Cluster) -> None:
    with cluster.client() as client:
        client.create_topic("t")
        client.publish("t", "here")
        for node in cluster.nodes:
            cluster.kill(node)
            cluster.kill(node)
        for node in cluster.nodes:
            cluster.start(node)
            cluster.start(node)
        cluster.wait_ready()
        assert [message.body for message in client.receive("t")] == ["here"]


def test_a_wait_in_vain_says_what_the_nodes_said(cluster: Cluster) -> None:
    for node in (0, 1):
        cluster.kill(node)
    with pytest.raises(TimeoutError, match=r"agreed on a leader not within 0.5 s(.|\n)*\(killed(.|\n)*serving clients"):
        cluster.leader(timeout_s=0.5)
    with pytest.raises(TimeoutError, match="became ready not within"):
        cluster.wait_ready(timeout_s=0.1)


def test_a_node_that_ends_by_itself_is_told_of(cluster: Cluster) -> None:
    os.kill(int(str(status(cluster, 2)["pid"])), signal.SIGTERM)
    wait_until(lambda: bool(cluster._server.ask("ended", cluster._id)), "node 2 has ended")
    with pytest.raises(RuntimeError, match=r"node 2 ended by itself with exit code 0; its log: (.|\n)*stopped"):
        cluster.wait_ready()
    cluster.start(2)
    cluster.wait_ready()


def test_what_cannot_be_done_is_refused(server: Server, cluster: Cluster) -> None:
    cluster.kill(0)
    refused: list[tuple[Callable[[int], None], int, str]] = [
        (cluster.kill, 3, "there is no node 3: the nodes are numbered from 0 to 2"),
        (cluster.isolate, -1, "there is no node -1"),
        (cluster.pause, 0, "cannot pause node 0: it was killed, start it first"),
        (cluster.resume, 0, "cannot resume node 0"),
    ]
    with Cluster(server, 1) as alone, Cluster(server, 1, shared=True) as shared:
        refused += [(alone.isolate, 0, "a single node has no others"), (shared.kill, 0, "is shared with other tests")]
        for action, node, sentence in refused:
            with pytest.raises((ValueError, RuntimeError), match=sentence):
                action(node)
        alone.wait_ready()
        assert alone.leader() == 0


def test_the_end_of_a_cluster_leaves_the_others_alone(server: Server, cluster: Cluster) -> None:
    with Cluster(server, 1) as other:
        other.wait_ready()
        directory = Path(other._directory)
        pid = int(str(status(other, 0)["pid"]))
        assert directory.exists()
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    cluster.wait_ready()
    assert server.ask("ended", cluster._id) == {}


def test_an_interrupted_question_does_not_give_its_answer_to_the_next(server: Server, cluster: Cluster) -> None:
    server._pipe.send((-1, "ended", [cluster._id]))
    assert server.ask("missing") is None


def test_a_helper_that_is_killed_takes_its_nodes_along() -> None:
    with Server() as server, pytest.raises(RuntimeError, match="the helper process that keeps the nodes"):  # noqa: SIM117
        with Cluster(server, 1) as cluster:
            cluster.wait_ready()
            pid = int(str(status(cluster, 0)["pid"]))
            directory = Path(cluster._directory).parent
            server._process.kill()
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the node is gone")
            server.ask("ended", cluster._id)
    for file in sorted(directory.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    directory.rmdir()
