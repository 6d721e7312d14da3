"""Real processes on real disks: kill -9, SIGSTOP, restarts of one and of all, while clients write.

After each fault: nothing acknowledged is lost, nothing is there twice, each publisher's order is kept, and all
nodes come to the same state hash.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.cluster import LocalCluster
from tests.processes.traffic import Publisher, check, create_topic, drain, url

pytestmark = pytest.mark.timeout(400)
SETTLE_S = 60.0


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as three:
        yield three


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes that the test starts give a classic request so long that a machine that is held up answers it, too."""
    monkeypatch.setenv("RMQ_CLASSIC_TIMEOUT_MS", "15000")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SETTLE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def status_of(cluster: LocalCluster, node: int) -> dict[str, Any]:
    """What a node that runs says of itself, as soon as it comes to it."""
    while (found := cluster.status(node)) is None:
        time.sleep(0.02)
    return found


def same_state(cluster: LocalCluster) -> bool:
    statuses = [cluster.status(node) for node in range(len(cluster.ports))]
    found = {(status["state_hash_index"], status["state_hash"]) for status in statuses if status}
    return len(found) == 1 and None not in statuses


def under_traffic(cluster: LocalCluster, fault: Callable[[], None]) -> list[str]:
    """Two publishers write before, during and after the fault. Returns what was then consumed."""
    create_topic(cluster.ports, "t")
    publishers = [Publisher(name, cluster.ports[turn:] + cluster.ports[:turn], "t") for turn, name in enumerate("ab")]
    for publisher in publishers:
        publisher.start()
    wait_until(lambda: all(len(each.acknowledged) > 10 for each in publishers), "both write")
    fault()
    before = [len(each.acknowledged) for each in publishers]
    goes_on = lambda: all(len(each.acknowledged) > had + 10 for each, had in zip(publishers, before, strict=True))  # noqa: E731
    wait_until(goes_on, "both go on")
    for publisher in publishers:
        publisher.stop()
    wait_until(lambda: same_state(cluster), "all nodes have the same state")
    taken = drain(cluster.ports[cluster.wait_for_leader()], "t")
    check(taken, publishers)
    return taken


def test_kill_the_leader(cluster: LocalCluster) -> None:
    def fault() -> None:
        for _ in range(2):
            leader = cluster.wait_for_leader()
            term = status_of(cluster, leader)["term"]
            cluster.kill(leader)
            new = cluster.wait_for_leader()
            assert new != leader
            assert status_of(cluster, new)["term"] > term, "a re-election raises the term"
            cluster.start(leader)
            time.sleep(1)

    under_traffic(cluster, fault)


def test_kill_a_follower_that_misses_messages(cluster: LocalCluster) -> None:
    def fault() -> None:
        follower = (cluster.wait_for_leader() + 1) % 3
        cluster.kill(follower)
        time.sleep(1)
        cluster.start(follower)

    under_traffic(cluster, fault)


def test_kill_all(cluster: LocalCluster) -> None:
    def fault() -> None:
        for node in range(3):
            cluster.kill(node)
        time.sleep(0.2)
        for node in range(3):
            cluster.start(node)
        cluster.wait_for_leader()

    under_traffic(cluster, fault)


def test_pause_the_leader(cluster: LocalCluster) -> None:
    def fault() -> None:
        leader = cluster.wait_for_leader()
        process = cluster.processes[leader]
        process.send_signal(signal.SIGSTOP)
        others = [node for node in range(3) if node != leader]
        wait_until(lambda: any((cluster.status(n) or {}).get("role") == "Leader" for n in others), "a new leader")
        time.sleep(0.5)
        process.send_signal(signal.SIGCONT)
        # From its first moment awake it must not answer from the past: it led, but does no longer.
        answer = httpx.get(url(cluster.ports[leader], "/v1/topics"), timeout=30)
        assert answer.status_code in (200, 503)

    under_traffic(cluster, fault)


def test_rolling_restart_by_sigterm(cluster: LocalCluster) -> None:
    def fault() -> None:
        for node in range(3):
            process = cluster.processes[node]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
            cluster.start(node)
            wait_until(lambda node=node: (cluster.status(node) or {}).get("leader") is not None, "the node is back")

    under_traffic(cluster, fault)


def test_a_wiped_node_comes_back_and_counts_again(cluster: LocalCluster) -> None:
    def fault() -> None:
        leader = cluster.wait_for_leader()
        wiped, other = (leader + 1) % 3, (leader + 2) % 3
        cluster.kill(wiped)
        shutil.rmtree(cluster.storage(wiped))
        cluster.start(wiped)
        wait_until(lambda: same_length(cluster, wiped, leader), "the wiped node has caught up")
        time.sleep(0.5)
        cluster.kill(other)
        time.sleep(1)
        cluster.start(other)

    under_traffic(cluster, fault)


def same_length(cluster: LocalCluster, node: int, leader: int) -> bool:
    status, reference = cluster.status(node), cluster.status(leader)
    return bool(status and reference and status["applied_index"] > reference["applied_index"] - 100)


def test_without_a_majority_nobody_leads_and_every_request_is_answered(cluster: LocalCluster) -> None:
    create_topic(cluster.ports, "t")
    leader = cluster.wait_for_leader()
    for node in range(3):
        if node != leader:
            cluster.kill(node)
    wait_until(lambda: status_of(cluster, leader)["role"] != "Leader", "the lonely leader steps down")
    port = cluster.ports[leader]
    started = time.monotonic()
    publish = httpx.put(url(port, "/message"), json={"topic": "t", "message": "m"}, timeout=15)
    assert (publish.status_code, publish.json()) == (503, {"success": False})
    consume = httpx.get(url(port, "/message/t"), timeout=15)
    assert (consume.status_code, consume.json()) == (503, {"success": False})
    assert time.monotonic() - started < 2 * 0.9 + 0.3
    for node in range(3):
        if node != leader:
            cluster.start(node)
    cluster.wait_for_leader()
    again = lambda: httpx.put(url(port, "/message"), json={"topic": "t", "message": "m"}, timeout=5)  # noqa: E731
    wait_until(lambda: again().status_code == 200, "it takes publishes again")


def test_sigterm_ends_a_long_poll_and_exits_with_0(cluster: LocalCluster) -> None:
    create_topic(cluster.ports, "t")
    leader = cluster.wait_for_leader()
    with httpx.Client(timeout=30) as client:
        import threading

        answers: list[httpx.Response] = []
        poll = threading.Thread(
            target=lambda: answers.append(
                client.post(
                    url(cluster.ports[leader], "/v1/topics/t/messages:receive"),
                    json={"max": 1, "auto_ack": True, "wait_s": 20},
                )
            )
        )
        poll.start()
        time.sleep(0.5)
        started = time.monotonic()
        process = cluster.processes[leader]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert time.monotonic() - started < 5
        poll.join(30)
    assert [answer.status_code for answer in answers] in ([200], [503])


@pytest.mark.parametrize("nodes", [1, 2, 5, 7])
def test_clusters_of_other_sizes(patient: None, nodes: int) -> None:
    with LocalCluster(nodes) as cluster:
        cluster.wait_for_leader()
        create_topic(cluster.ports, "t")
        publish = httpx.put(url(cluster.ports[-1], "/message"), json={"topic": "t", "message": "m"}, timeout=30)
        assert publish.status_code == 200
        taken = httpx.get(url(cluster.ports[0], "/message/t"), timeout=30)
        assert taken.json() == {"success": True, "message": "m"}
        roles = lambda: [status_of(cluster, node)["role"] for node in range(nodes)]  # noqa: E731
        wait_until(lambda: roles().count("Leader") == 1, "one leads")


def test_nineteen_nodes(patient: None) -> None:
    with LocalCluster(19) as cluster:
        cluster.wait_for_leader()
        create_topic(cluster.ports, "t")
        answer = httpx.put(url(cluster.ports[7], "/message"), json={"topic": "t", "message": "m"}, timeout=30)
        assert answer.status_code == 200


def test_another_cluster_file_in_the_same_folder_starts_empty_and_says_so(patient: None) -> None:
    with LocalCluster(1) as first:
        create_topic(first.ports, "t")
        own = first.storage(0)
        with LocalCluster(1, directory=first.directory) as second:
            assert httpx.get(url(second.ports[0], "/topic"), timeout=30).json() == {"success": True, "topics": []}
        with open(f"{first.directory}/node-0.log", encoding="utf-8") as lines:
            assert f"is there already, in {own}: " in lines.read()
        assert httpx.get(url(first.ports[0], "/topic"), timeout=30).json() == {"success": True, "topics": ["t"]}


@contextmanager
def small_disk(tmp_path: Path, mib: int) -> Iterator[Path]:
    """A file system of that size, mounted for a while."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(small)], check=True)
    try:
        yield small
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_full_disk_refuses_publishes_and_recovers(patient: None, tmp_path) -> None:
    with small_disk(tmp_path, 160) as small, LocalCluster(1, directory=str(small)) as cluster:
        port = cluster.ports[0]
        create_topic(cluster.ports, "t")
        for number in range(20):
            body = {"topic": "t", "message": f"{number}"}
            assert httpx.put(url(port, "/message"), json=body, timeout=30).status_code == 200
        filler = small / "filler"
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
        publish = lambda: httpx.put(url(port, "/message"), json={"topic": "t", "message": "x"}, timeout=30)  # noqa: E731
        wait_until(lambda: publish().status_code == 507, "publishes are refused")
        assert publish().json() == {"success": False}
        assert httpx.get(url(port, "/status"), timeout=30).status_code == 200
        taken = httpx.get(url(port, "/message/t"), timeout=30)
        assert taken.json() == {"success": True, "message": "0"}
        filler.unlink()
        wait_until(lambda: publish().status_code == 200, "publishes are taken again")
        rest = drain(port, "t")
        assert rest[:19] == [str(number) for number in range(1, 20)]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_disks_that_the_queue_itself_has_filled_can_be_consumed_from(patient: None, tmp_path) -> None:
    """Found by a trial: each consume is a write, too, and filled what was left; then nothing worked any more."""
    with (
        small_disk(tmp_path, 1000) as small,
        LocalCluster(3, directory=str(small)) as cluster,
        httpx.Client(timeout=30) as client,
    ):
        create_topic(cluster.ports, "t")
        messages = url(cluster.ports[cluster.wait_for_leader()], "/v1/topics/t/messages")
        batch = {"messages": [{"body": "x" * 10_000}] * 100}
        stored, refused_at = 0, 0.0
        while not refused_at or time.monotonic() < refused_at + 5:
            status = client.post(messages, json=batch).status_code
            assert status in (201, 507)
            if status == 201:
                stored, refused_at = stored + 100, 0.0
            else:
                refused_at = refused_at or time.monotonic()
                time.sleep(0.1)
        assert stored > 5000
        assert all(status_of(cluster, node)["role"] for node in range(3))
        taken = 0
        while taken < stored:
            received = client.post(f"{messages}:receive", json={"max": 100, "auto_ack": True})
            assert received.status_code == 200, received.text
            assert received.json()["messages"], f"{taken} of {stored} were there"
            taken += len(received.json()["messages"])
        wait_until(lambda: client.post(messages, json=batch).status_code == 201, "publishes are taken again")
        wait_until(lambda: same_state(cluster), "all nodes come to the same state")
