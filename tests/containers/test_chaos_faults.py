"""Each fault once, on real containers: it is not there before, it takes hold, it goes, and the cluster serves again.

A proof that cannot fail proves nothing: before the fault its proof must fail, and while it lasts that of its end. Each
cluster is left broken at the end of this file, and nothing of it may remain.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random

import pytest

from chaos import engine, gather
from chaos.alone import InUse
from chaos.cluster import Cluster, ClusterError
from chaos.faults import FAULTS, Fault, Targets, View, catch_up, cuts, disks, firewall, networks, probes, processes
from chaos.own import OwnCluster
from chaos.scenarios import SMALL_LOG
from tests.containers.stack import free_ports

SERVES_WITHIN_S = 60.0
LASTS_S = 5.0
OVER_AT_ONCE = {"none", "rolling-restart"}
"""While these last there is nothing to be healed."""


@pytest.fixture(scope="module")
def three(image: str) -> Iterator[Cluster]:
    yield from running(image, 3, data_mib=256)


@pytest.fixture(scope="module")
def five(image: str) -> Iterator[Cluster]:
    yield from running(image, 5, data_mib=None)


def running(image: str, size: int, data_mib: int | None) -> Iterator[Cluster]:
    name = f"rmqtest{uuid.uuid4().hex[:8]}"
    own = OwnCluster(name, size, image=image, environment=SMALL_LOG, data_mib=data_mib, ports=free_ports(size))
    with own as cluster:
        yield cluster
        processes.pause(cluster, (0,))
        processes.kill(cluster, (1,))
        networks.move(cluster, (2,))
    assert engine.sweep(name) == 0, "something was left behind"


@pytest.fixture
def cluster(fault: Fault, request: pytest.FixtureRequest) -> Cluster:
    found = request.getfixturevalue("five" if fault.needs_nodes > 3 else "three")
    assert isinstance(found, Cluster)
    return found


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests run beside these: what is waited for may come later than in a run that counts."""
    waits = [(probes, "PATIENCE_S", 1.5), (probes, "BACK_S", 90.0), (cuts, "COUNT_S", 30.0), (catch_up, "CUT_S", 60.0)]
    waits += [(disks, "NOTICE_S", 30.0), (processes, "HOLD_S", 15.0), (processes, "ENGINE_S", 6.0)]
    for module, name, seconds in waits:
        monkeypatch.setattr(module, name, seconds)


@contextmanager
def impatience() -> Iterator[None]:
    """Looks that wait for something to become so do not wait: here it must not become so."""
    with pytest.MonkeyPatch.context() as patch:
        waits = [(probes, "BACK_S"), (cuts, "COUNT_S"), (catch_up, "CUT_S"), (disks, "NOTICE_S"), (processes, "HOLD_S")]
        for module, name in waits:
            patch.setattr(module, name, 0.0)
        yield


@contextmanager
def load(cluster: Cluster) -> Iterator[None]:
    """Someone publishes, so that logs move on and the state grows."""
    topic, over = f"load-{uuid.uuid4().hex[:8]}", threading.Event()
    assert cluster.call(cluster.leader(), "PUT", "/topic", 5.0, {"topic": topic}) is not None

    def publish() -> None:
        number = 0
        while not over.is_set():
            number += 1
            body = {"topic": topic, "message": "x" * 4000}
            cluster.call(number % cluster.size, "PUT", "/message", 1.0, body)

    publishing = threading.Thread(target=publish)
    publishing.start()
    try:
        yield
    finally:
        over.set()
        publishing.join()


def serves(cluster: Cluster) -> None:
    """A topic is created through one node and listed by every other, soon."""
    topic, deadline = f"t-{uuid.uuid4().hex[:8]}", time.monotonic() + SERVES_WITHIN_S
    answer = None
    while answer is None or answer.status_code not in (200, 400):  # 400: an earlier try has made it
        assert time.monotonic() < deadline, answer
        answer = cluster.call(0, "PUT", "/topic", 1.0, {"topic": topic})
    for node in cluster.nodes:
        while topic not in (cluster.get(node, "/topic") or {"topics": []})["topics"]:
            assert time.monotonic() < deadline, node


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_it_takes_hold_is_proven_and_heals(fault: Fault, cluster: Cluster) -> None:
    with load(cluster) if fault.name == "cut-catch-up" else nullcontext():
        targets = fault.choose(View(cluster.nodes, cluster.leader()), Random(fault.name))
        assert_whole(fault, cluster, targets)
        try:
            inject(fault, cluster, targets)
            proof = fault.prove(cluster, targets)
            assert proof.ok, proof.detail
            assert_not_healed(fault, cluster, targets)
            if fault.during is not None:
                assert_goes_on(fault, cluster, targets)
        finally:
            fault.heal(cluster, targets)
        fault.heal(cluster, targets)
        healed = fault.prove_healed(cluster, targets)
        assert healed.ok, healed.detail
    serves(cluster)


def inject(fault: Fault, cluster: Cluster, targets: Targets) -> None:
    try:
        fault.inject(cluster, targets)
    except firewall.NoFirewall as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))


def assert_whole(fault: Fault, cluster: Cluster, targets: Targets) -> None:
    """Before: nothing is broken, and the proof that something is fails."""
    healthy = fault.prove_healed(cluster, targets)
    assert healthy.ok, healthy.detail
    with impatience():
        proof = fault.prove(cluster, targets)
    assert proof.detail and proof.ok == (fault.name == "none"), proof.detail


def assert_not_healed(fault: Fault, cluster: Cluster, targets: Targets) -> None:
    with impatience():
        healed = fault.prove_healed(cluster, targets)
    assert healed.ok == (fault.name in OVER_AT_ONCE), healed.detail


def assert_goes_on(fault: Fault, cluster: Cluster, targets: Targets) -> None:
    over = threading.Event()
    timer = threading.Timer(LASTS_S, over.set)
    timer.start()
    assert fault.during is not None
    went_on = fault.during(cluster, targets, over)
    timer.join()
    assert went_on.ok, went_on.detail


def test_a_bridge_of_five(five: Cluster) -> None:
    fault = FAULTS["bridge"]
    targets = fault.choose(View(five.nodes, five.leader()), Random(1))
    inject(fault, five, targets)
    proof = fault.prove(five, targets)
    fault.heal(five, targets)
    assert proof.ok and len(cuts.halves(targets)) == 8, proof.detail
    assert fault.prove_healed(five, targets).ok


def test_a_second_run_of_the_name_is_refused_and_disturbs_nothing(three: Cluster, image: str) -> None:
    with pytest.raises(InUse, match=three.name), OwnCluster(three.name, 3, image=image):
        pytest.fail("two runs of one name")
    assert probes.whole(three, ()).ok


def test_who_was_killed_is_not_started_by_its_restart_policy(three: Cluster) -> None:
    """Else a fault would end before it is healed."""
    processes.kill(three, (0,))
    time.sleep(2.0)
    proof = processes.are_killed(three, (0,))
    processes.start(three, (0,))
    assert three.inspect(0)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped" and proof.ok, proof.detail
    assert probes.whole(three, ()).ok


def test_who_comes_back_to_the_network_has_its_names_again(three: Cluster) -> None:
    def names() -> set[str]:
        each = three.inspect(2)["NetworkSettings"]["Networks"][three.peers.name]
        return set(each["Aliases"])

    before = names()
    networks.disconnect(three, (2,))
    networks.connect(three, (2,))
    assert names() == before and three.alias(2) in before
    assert probes.whole(three, ()).ok


def test_a_probe_that_does_not_even_reach_itself_proves_nothing(
    three: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PEER_PORT", 9)
    with pytest.raises(ClusterError, match="prove nothing"):
        probes.links(three)


def test_without_the_tools_a_sentence_says_what_is_missing(three: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall.shutil, "which", lambda tool: None)
    with pytest.raises(firewall.NoFirewall, match="nsenter and iptables on this machine: install"):
        cuts.bridge(three, (0, 1, 2))


def test_a_disk_of_this_machine_is_not_filled(five: Cluster) -> None:
    with pytest.raises(ClusterError, match="small disks"):
        disks.fill(five, (0,))


def test_what_nodes_printed_and_their_logs_are_read_after_the_end(three: Cluster, tmp_path: Path) -> None:
    with load(three):
        time.sleep(3.0)
    committed = min(three.get(node, "/status", 15.0)["applied_index"] for node in three.nodes)
    pieces = gather.log_pieces(three, committed)
    processes.start(three, three.nodes)
    assert probes.whole(three, ()).ok
    gather.save_prints(three, tmp_path)
    held: list[dict[int, tuple[int, str]]] = [{} for _ in three.nodes]
    for piece in pieces:
        held[piece.node].update(enumerate(piece.entries, piece.first_index))
    assert all(max(entries) == committed and len(entries) > 10 for entries in held)
    common = held[0].keys() & held[1].keys() & held[2].keys()
    assert len(common) > 10 and all(held[0][index] == held[1][index] == held[2][index] for index in common)
    printed = [(tmp_path / f"node-{node}.log").read_text() for node in three.nodes]
    assert all(text.count("serving clients on") > 1 for text in printed), "all lives of a container are there"
