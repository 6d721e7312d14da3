"""The simulated world: virtual time, and everything that happens in it, in one order that the seed decides.

What runs is the production code: RaftCore, GroupRunner, write_all, SnapshotFiles, Compaction, restore_core,
SegmentedLog and the broker's Machine. What is replaced is the outermost shell: asyncio, threads, sockets, files, and
the files of SQLite.

    plan      what this run is like            checks    what must hold after every event
    node      a machine and its process        ending    what must hold once all is healed and drained
    network   links                            coverage  how often each rare situation was reached
    faults    what befalls them                clients   who uses the queue

Rules: one random generator; no set or hash order decides anything; virtual microseconds are integers.
"""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any

from app.raft.messages import Message
from tests.raft.words import of_message
from tests.sim.checks import Checks, Violation
from tests.sim.clients import TOPICS, Client
from tests.sim.coverage import Coverage
from tests.sim.disk import SimCrash
from tests.sim.ending import check_ending
from tests.sim.faults import Faults
from tests.sim.machine import small_bounds
from tests.sim.network import Network
from tests.sim.node import SimNode
from tests.sim.plan import MS, SECOND, Plan, draw
from tests.sim.threads import ProcessEnds
from tests.sim.work import DEAD, WORK

LAST_EVENTS = 60
ANY_LIFE = -1
DRAIN_S = 12
"""So long after everything has been healed the cluster must have a leader, have answered all, and be of one state."""
CONVERGENCE = "after healing, the cluster elects a leader and converges in time"
CRASHED = "the production code fails by itself"


@dataclass(slots=True)
class Outcome:
    """How a run ended. `violation`: "" or the invariant that was broken."""

    seed: int
    violation: str = ""
    what: str = ""
    last_events: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    events: int = 0
    virtual_us: int = 0
    committed: int = 0


class World:
    """See the module. `on_trace` gets every line of the trace as it happens."""

    def __init__(self, plan: Plan, on_trace: Callable[[str], None] | None = None):
        self.plan = plan
        self.rng = Random(f"world {plan.seed}")
        self.now_us = 0
        self.events = 0
        self.closing = False
        self.clients_done = 0
        self._heap: list[tuple[int, int, SimNode | None, int, Callable, tuple]] = []
        self._sequence = 0
        self._recent: deque[tuple[int, int, str, Any]] = deque(maxlen=LAST_EVENTS)
        self._on_trace = on_trace
        self.coverage = Coverage(self)
        self.checks = Checks(self)
        self.network = Network(self)
        self.nodes = [SimNode(self, node) for node in range(plan.nodes)]
        self.clients = [Client(self, number) for number in range(plan.clients)]
        self.faults = Faults(self)

    def schedule(self, delay_us: int, node: SimNode | None, call: Callable, *args: Any) -> None:
        """Call it so long from now; with a node, only if it still lives the life it lives now."""
        self._sequence += 1
        life = 0 if node is None else node.life
        heappush(self._heap, (self.now_us + delay_us, self._sequence, node, life, call, args))

    def send(self, delay_us: int, node: SimNode, call: Callable, *args: Any) -> None:
        """Call it so long from now, if the node is up then, in whatever life."""
        self._sequence += 1
        heappush(self._heap, (self.now_us + delay_us, self._sequence, node, ANY_LIFE, call, args))

    def count(self, situation: str) -> None:
        """A situation was reached."""
        self.coverage.counts[situation] += 1

    def trace(self, node: int, what: str, detail: Any) -> None:
        """Remember an event."""
        self._recent.append((self.now_us, node, what, detail))
        if self._on_trace is not None:
            self._on_trace(_line(self._recent[-1]))

    def last_events(self) -> list[str]:
        """The end of the trace."""
        return [_line(event) for event in self._recent]

    def run(self) -> None:
        """Live through it all. Raises Violation."""
        for node in self.nodes:
            node.start()
        for client in self.clients:
            self.schedule(int(self.rng.random() * SECOND), None, client.begin)
        self.faults.begin()
        self._run_until(self.plan.seconds * SECOND, lambda: False)
        self._heal()
        self._replace_a_disk()
        end_us = self.now_us + DRAIN_S * SECOND
        self.closing = True
        self._converge(end_us, lambda: self.clients_done == len(self.clients), "a client got no answer")
        self._drain(end_us)
        self._converge(end_us, self._agree, "the nodes' states and logs differ")
        check_ending(self)

    def _replace_a_disk(self) -> None:
        """Now that all is well again: the cluster must bring an empty disk up to date without another election."""
        node = self.rng.choice(self.nodes)
        self._run_until(self.now_us + int(self.rng.uniform(0.3, 1.5) * SECOND), lambda: False)
        if self.rng.random() < 0.4 and self.faults.replace_disk(node):
            node.start_again()

    def _drain(self, end_us: int) -> None:
        for topic in (*TOPICS, WORK, DEAD):
            while not self._ask(end_us, self.clients[0].drain, topic) or self._holds(topic):
                if self.clients[0].came_back_empty():
                    self._run_until(self.now_us + 50 * MS, lambda: False)
                    self._ask(end_us, self.clients[0].revive, topic)

    def _ask(self, end_us: int, operation: Callable[[str], None], topic: str) -> bool:
        """Let a client do one more operation; whether its answer holds no messages."""
        done = self.clients_done
        operation(topic)
        self._converge(end_us, lambda: self.clients_done > done, "a drain got no answer")
        return self.clients[0].came_back_empty()

    def _holds(self, topic: str) -> bool:
        """Whether there are messages that cannot be handed out yet: leased, or delayed."""
        found = [node.machine.topic(topic) for node in self.nodes]
        return any(info is not None and info.messages > 0 for info in found)

    def _converge(self, end_us: int, done: Callable[[], bool], otherwise: str) -> None:
        if not self._run_until(end_us, done):
            raise Violation(CONVERGENCE, f"{otherwise}; {'; '.join(node.summary() for node in self.nodes)}")

    def _agree(self) -> bool:
        end = self.checks.committed
        return all(n.up and n.machine.applied_index == end == n.core.log.last_index for n in self.nodes)

    def _run_until(self, end_us: int, done: Callable[[], bool]) -> bool:
        heap = self._heap
        while heap[0][0] <= end_us:
            when, _, node, life, call, args = heappop(heap)
            self.now_us = when
            self.events += 1
            if node is None:
                call(*args)
            elif node.up and (life == node.life or life == ANY_LIFE):
                try:
                    node.take(call, args)
                except SimCrash as crash:
                    node.power_off(crash)
                except ProcessEnds as fault:
                    self.count("process ended by a disk error")
                    node.kill(fault)
            if done():
                return True
        return False

    def _heal(self) -> None:
        self.trace(-1, "heals", None)
        self.faults.stop()
        self.network.heal()
        for node in self.nodes:
            node.fs.full = node.starved = False
            node.fs.crash_at = None
            node.fs._failing.clear()
            if node.paused:
                node.resume()
            if node.up:
                node.disk.stalled_until_us = 0
            else:
                node.start()


def _line(event: tuple[int, int, str, Any]) -> str:
    when, node, what, detail = event
    who = "world " if node < 0 else f"node {node}"
    if isinstance(detail, Message):
        text = f"{of_message(detail)}, {detail.sender} to {detail.to}"  # type: ignore[arg-type]  # Of all that are sent.
    else:
        text = "" if detail is None else str(detail)
    return f"{when / SECOND:11.6f} {who} {what} {text if len(text) < 300 else text[:300] + '…'}"


def simulate(seed: int, seconds: int = 60, on_trace: Callable[[str], None] | None = None) -> Outcome:
    """Run one seed to its end, or to the first violation."""
    outcome = Outcome(seed)
    world = World(draw(seed, seconds), on_trace)
    collecting = gc.isenabled()
    gc.disable()
    try:
        with small_bounds():
            world.run()
    except Violation as violation:
        outcome.violation, outcome.what = violation.invariant, str(violation)
    except Exception as error:
        outcome.violation, outcome.what = CRASHED, _where(error)
    finally:
        if collecting:
            gc.enable()
    if outcome.violation:
        outcome.last_events = world.last_events()
    outcome.counts = world.coverage.finish()
    outcome.events, outcome.virtual_us, outcome.committed = world.events, world.now_us, world.checks.committed
    for node in world.nodes:
        node._close()
    return outcome


def _where(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


__all__ = ["MS", "Outcome", "World", "simulate"]
