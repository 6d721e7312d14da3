"""All faults. Rules of this file: a row and nothing else; a new fault is a row and the functions that it names."""

from __future__ import annotations

from chaos.cluster import Cluster
from chaos.faults import catch_up, cuts, disks, model, networks, probes, processes
from chaos.faults.model import Act, Choose, Fault, Look, Targets


def _nothing(cluster: Cluster, targets: Targets) -> None:
    """Leave all as it is."""


def _pause(whom: str, choose: Choose, healthy_majority: bool) -> Fault:
    return Fault(
        name=f"pause-{whom}", text=f"docker pause: {whom}", choose=choose, healthy_majority=healthy_majority,
        inject=processes.pause, prove=processes.are_paused, heal=processes.unpause, prove_healed=probes.whole,
    )  # fmt: skip


def _kill(whom: str, choose: Choose, healthy_majority: bool) -> Fault:
    return Fault(
        name=f"kill-{whom}", text=f"kill -9: {whom}", choose=choose, healthy_majority=healthy_majority,
        inject=processes.kill, prove=processes.are_killed, heal=processes.start, prove_healed=probes.whole,
    )  # fmt: skip


def _isolate(whom: str, choose: Choose, needs_nodes: int) -> Fault:
    return Fault(
        name=f"isolate-{whom}", text=f"off the network of peers, still reached by clients: {whom}", choose=choose,
        inject=networks.disconnect, prove=networks.are_isolated, heal=networks.connect, prove_healed=probes.whole,
        healthy_majority=True, needs_nodes=needs_nodes,
    )  # fmt: skip


def _cut(name: str, text: str, choose: Choose, inject: Act, prove: Look, needs_nodes: int = 3) -> Fault:
    return Fault(
        name=name, text=text, choose=choose, inject=inject, prove=prove, heal=cuts.heal,
        prove_healed=probes.whole, healthy_majority=True, needs_nodes=needs_nodes,
    )  # fmt: skip


_ALL = (
    Fault(
        name="none", text="no fault", choose=model.nobody, inject=_nothing, prove=probes.whole, heal=_nothing,
        prove_healed=probes.whole, healthy_majority=True,
    ),
    _pause("leader", model.leader, True),
    _pause("follower", model.follower, True),
    _pause("majority", model.majority, False),
    _pause("all", model.everyone, False),
    _kill("leader", model.leader, True),
    _kill("follower", model.follower, True),
    _kill("majority", model.majority, False),
    _kill("all", model.everyone, False),
    Fault(
        name="rolling-restart", text="each node in turn: SIGTERM, start, wait until it is ready", choose=model.everyone,
        inject=processes.roll, prove=processes.have_rolled, heal=processes.forget, prove_healed=probes.whole,
        healthy_majority=True,
    ),
    Fault(
        name="stop-leader", text="SIGTERM to the leader", choose=model.leader, inject=processes.stop,
        prove=processes.are_stopped, heal=processes.start_again, prove_healed=probes.whole, healthy_majority=True,
    ),
    _isolate("leader", model.leader, 3),
    _isolate("minority", model.minority, 5),
    Fault(
        name="split", text="a minority of two on a network of its own", choose=model.minority, inject=networks.move,
        prove=networks.are_split, heal=networks.move_back, prove_healed=probes.whole, healthy_majority=True,
        needs_nodes=5,
    ),
    _cut("majority-ring", "each sees two neighbours", model.everyone, cuts.ring, cuts.is_ring, 5),
    _cut("bridge", "one sees all, the halves not each other", model.everyone, cuts.bridge, cuts.is_bridge),
    Fault(
        name="hub-restarts", text="a bridge whose middle, first the leader, is killed again and again",
        choose=model.leader_first, inject=cuts.bridge, prove=cuts.is_bridge,
        during=processes.keep_killing_first, heal=cuts.heal_and_start, prove_healed=probes.whole,
        healthy_majority=False,
    ),
    _cut("mute-leader", "one-way cut: leader to followers", model.leader, cuts.mute, cuts.is_mute),
    _cut("deaf-leader", "one-way cut: followers to leader", model.leader, cuts.deafen, cuts.is_deaf),
    Fault(
        name="flapping-link", text="leader and a follower: cut and healed over and over", choose=model.link_of_leader,
        inject=cuts.cut_link, prove=cuts.is_link_cut, during=cuts.flap, heal=cuts.heal,
        prove_healed=probes.whole, healthy_majority=True,
    ),
    Fault(
        name="cut-catch-up", text="a killed follower needs a snapshot, and is cut off while it gets it",
        choose=model.follower, inject=catch_up.cut_catch_up, prove=catch_up.is_cut_off,
        heal=catch_up.heal, prove_healed=catch_up.has_installed, healthy_majority=True, own_cluster=True,
    ),
    Fault(
        name="disk-full", text="the leader's disk takes no more", choose=model.leader, inject=disks.fill,
        prove=disks.are_full, heal=disks.empty, prove_healed=disks.are_empty, healthy_majority=False,
        own_cluster=True,
    ),
    Fault(
        name="wiped-disk", text="a node is killed and starts with an empty disk", choose=model.anyone,
        inject=disks.wipe, prove=disks.are_wiped, heal=processes.start, prove_healed=probes.whole,
        healthy_majority=True, own_cluster=True,
    ),
)  # fmt: skip

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}
"""By name."""
