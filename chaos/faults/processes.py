"""Faults of processes: paused, killed, stopped, restarted.

Rules of this file: done by the engine and read back from it; what is said to be silent is asked. Several are hit at the
same time. A container that was killed or stopped is not started again by its restart policy: the heal does it. A heal
mends what it finds, also half of a fault.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from itertools import count

from docker.errors import APIError

from chaos.cluster import GRACE_S, Cluster
from chaos.engine import at_once
from chaos.faults import probes
from chaos.faults.model import Proof, Targets, spread

KILLED = 137
"""Exit code of a process that SIGKILL ended."""
STOP_S = 5.0
"""Time in which a node must have ended when it is told to; the engine's own work is allowed `ENGINE_S` more."""
ENGINE_S = 1.0
HOLD_S = 1.0
"""How long a fault may take to show."""
LIFE_S, AFTERWARDS_S = 3.0, (0.0, 0.2)
"""A life of a node that is killed again and again: at most, and from the election on that it has taken part in."""
PAUSE_TRIES = 5
LOOK_S, LOOK_TIMEOUT_S = 0.01, 0.3


def pause(cluster: Cluster, targets: Targets) -> None:
    """Freeze every process of the targets. An engine that could not has thawed it again, and is asked once more: on a
    busy machine not every process of a container is caught in the time that it allows itself."""

    def one(node: int) -> None:
        for left in reversed(range(PAUSE_TRIES)):
            try:
                cluster.container(node).pause()
                return
            except APIError as error:
                if not (left and error.is_server_error()):
                    raise

    at_once(one, targets)


def unpause(cluster: Cluster, targets: Targets) -> None:
    """Let those go on that are frozen."""

    def one(node: int) -> None:
        if cluster.state(node)["Paused"]:
            cluster.container(node).unpause()

    at_once(one, targets)


def are_paused(cluster: Cluster, targets: Targets) -> Proof:
    """The engine says paused, and the nodes do not answer."""
    return probes.together(probes.are(cluster, targets, Status="paused"), probes.are_silent(cluster, targets))


def kill(cluster: Cluster, targets: Targets) -> None:
    """kill -9, all at once."""
    at_once(lambda node: cluster.container(node).kill(), targets)


def start(cluster: Cluster, targets: Targets) -> None:
    """Start those that do not run, all at once."""
    at_once(lambda node: cluster.container(node).start(), targets)


def are_killed(cluster: Cluster, targets: Targets) -> Proof:
    """They do not run, SIGKILL is why, and not for want of memory; they do not answer."""

    def look() -> Proof:
        dead = probes.are(cluster, targets, Status="exited", ExitCode=KILLED, OOMKilled=False)
        return probes.together(dead, probes.are_silent(cluster, targets))

    return probes.eventually(look, HOLD_S)


def stop(cluster: Cluster, targets: Targets) -> None:
    """SIGTERM, and wait for the end."""
    began = time.monotonic()
    at_once(lambda node: cluster.container(node).stop(timeout=GRACE_S), targets)
    cluster.marks["stop_s"] = time.monotonic() - began


def are_stopped(cluster: Cluster, targets: Targets) -> Proof:
    """They ended by themselves, with 0, in time, and do not answer."""
    ended = probes.are(cluster, targets, Status="exited", ExitCode=0, OOMKilled=False)
    took_s = cluster.marks.get("stop_s")
    if took_s is None:
        return Proof(False, f"nobody was told to stop; {ended.detail}")
    in_time = Proof(took_s <= STOP_S + ENGINE_S, f"ended after {took_s:.1f} s")
    return probes.together(ended, in_time, probes.are_silent(cluster, targets))


def start_again(cluster: Cluster, targets: Targets) -> None:
    """Start what was stopped."""
    cluster.marks.clear()
    start(cluster, targets)


def roll(cluster: Cluster, targets: Targets) -> None:
    """Restart one after another, each when the one before is ready."""
    before = {node: cluster.state(node)["StartedAt"] for node in targets}
    ended: dict[int, tuple[int, float]] = {}
    cluster.marks["roll"] = (before, ended)
    for node in targets:
        began = time.monotonic()
        cluster.container(node).stop(timeout=GRACE_S)
        ended[node] = cluster.state(node)["ExitCode"], time.monotonic() - began
        cluster.container(node).start()
        cluster.wait_ready([node], probes.BACK_S)


def have_rolled(cluster: Cluster, targets: Targets) -> Proof:
    """Each ended with 0 in time, and was started anew."""
    before, ended = cluster.marks.get("roll", ({}, {}))
    now = {node: cluster.state(node)["StartedAt"] for node in targets}
    anew = [node for node in targets if node in before and before[node] != now[node]]
    shown = ", ".join(f"node {node} ended with {code} after {took_s:.1f} s" for node, (code, took_s) in ended.items())
    well = [node for node, (code, took_s) in ended.items() if code == 0 and took_s <= STOP_S + ENGINE_S]
    ok = sorted(anew) == sorted(well) == sorted(targets)
    return Proof(ok, f"{shown or 'nobody was told to stop'}; started anew: {sorted(anew)}")


def forget(cluster: Cluster, targets: Targets) -> None:
    """Nothing is to be undone: who was restarted runs."""
    cluster.marks.clear()


def keep_killing_first(cluster: Cluster, targets: Targets, over: threading.Event) -> Proof:
    """Kill the first target and start it again, over and over, mostly soon after it has helped to elect a leader.

    That is the moment at which a node that forgets its vote over a restart does harm.
    """
    node, *others = targets
    began, deaths, elections, term = cluster.state(node)["StartedAt"], 0, 0, 0
    for life in count():
        kill(cluster, (node,))
        deaths += cluster.state(node)["ExitCode"] == KILLED
        term = max(term, _term_led(cluster, others))
        start(cluster, (node,))
        deadline = time.monotonic() + LIFE_S
        while not (elected := _term_led(cluster, others) > term) and time.monotonic() < deadline and not over.is_set():
            time.sleep(LOOK_S)
        elections += elected
        if over.wait(spread(life, *AFTERWARDS_S)):
            break
    anew = cluster.state(node)["StartedAt"] != began
    lives = f"node {node} was killed and started {deaths} times; in {elections} of these lives a leader was elected"
    return Proof(anew and deaths > 0, lives)


def _term_led(cluster: Cluster, nodes: Iterable[int]) -> int:
    """The highest term in which one of them knows a leader; 0 when none knows one, or none answers."""
    said = at_once(lambda node: cluster.get(node, "/status", LOOK_TIMEOUT_S), nodes)
    return max((status["term"] for status in said if status and status["leader"] is not None), default=0)
