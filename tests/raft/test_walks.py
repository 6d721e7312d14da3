"""Random walks: everything a script can do, in any order, and then peace. A failing walk prints its transcript.

`pytest tests/raft/test_walks.py --walks 2000` takes more of them. The simulated world in tests/sim drives the whole
node; a walk drives cores alone, so it is short enough to be read when it fails.
"""

from __future__ import annotations

import random

import pytest

from app.raft import NotLeader, Role
from tests.raft.script import Script

STEPS = 400


class Walk:
    """One walk. At most a minority of disks is lost before the last loss is made good."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        nodes = self.random.choice([3, 3, 5])
        self.s = Script(nodes, admitted=False, window=4, message_bytes=self.random.choice([1, 1000]), stall_ticks=60)
        self.nodes = list(range(1, nodes + 1))
        self.proposed = 0

    def run(self) -> None:
        s = self.s
        actions = [self.deliver] * 30 + [self.tick] * 10 + [self.propose] * 4 + [self.unstall] * 4
        actions += [self.restart, self.heal, self.compact, self.lose, self.repeat] * 2
        actions += [self.stall, self.crash, self.cut, self.isolate, self.wipe, self.transfer, self.read]
        actions += [self.lost_stream, self.pause]
        for _ in range(STEPS):
            self.random.choice(actions)()
        s.say("Peace.")
        s.heal()
        for node in self.nodes:
            if s.nodes[node].core is None:
                s.restart(node)
            s.unstall(node)
        s.pass_time(600)
        self.settled()

    def settled(self) -> None:
        s = self.s
        leaders = [node for node in self.nodes if s.role(node) == Role.LEADER]
        assert len(leaders) == 1, f"leaders after 600 quiet ticks: {leaders}"
        s.propose(leaders[0], "last")
        s.pass_time(20)
        assert {s.commands(node) for node in self.nodes} == {s.commands(leaders[0])}
        assert s.commands(leaders[0]).endswith("last")
        configuration = s.core(leaders[0]).log.committed_configuration
        assert all(configuration.incarnation(n) == s.nodes[n].disk.incarnation for n in self.nodes)

    def alive(self) -> int | None:
        alive = [node for node in self.nodes if self.s.nodes[node].core is not None]
        return self.random.choice(alive) if alive else None

    def deliver(self) -> None:
        for _ in range(self.random.randint(1, 6)):
            if self.s.flight:
                late = self.random.random() < 0.2
                self.s.deliver(self.random.choice(self.s.flight) if late else self.s.flight[0])

    def tick(self) -> None:
        if (node := self.alive()) is not None:
            self.s.tick(node, self.random.choice([1, 5, 5, 5, 10, 20]))

    def propose(self) -> None:
        if (node := self.alive()) is not None and self.s.role(node) == Role.LEADER:
            self.propose_at(node)

    def propose_at(self, node: int) -> None:
        self.proposed += 1
        try:
            self.s.propose(node, f"c{self.proposed}")
        except NotLeader:
            pass

    def lose(self) -> None:
        if self.s.flight:
            self.s.drop(self.random.choice(self.s.flight))

    def repeat(self) -> None:
        if self.s.flight:
            twice = self.random.choice(self.s.flight)
            self.s.deliver(twice)
            self.s.flight.insert(self.random.randint(0, len(self.s.flight)), twice)

    def stall(self) -> None:
        if (node := self.alive()) is not None:
            self.s.stall(node)

    def unstall(self) -> None:
        if (node := self.alive()) is not None:
            if self.random.random() < 0.5:
                self.s.persist(node)
            else:
                self.s.unstall(node)

    def crash(self) -> None:
        if (node := self.alive()) is not None:
            self.s.crash(node)

    def restart(self) -> None:
        down = [node for node in self.nodes if self.s.nodes[node].core is None]
        if down:
            self.s.restart(self.random.choice(down))

    def compact(self) -> None:
        if (node := self.alive()) is None:
            return
        new = self.s.nodes[node].state.index > self.s.core(node).log.base_index
        if new and not self.s.nodes[node].disk.busy:
            self.s.compact(node)

    def cut(self) -> None:
        self.s.cut(f"{self.random.choice(['*', *self.nodes])}>{self.random.choice(['*', *self.nodes])}")

    def isolate(self) -> None:
        """A leader loses its followers, and goes on taking proposals."""
        leaders = [node for node in self.nodes if self.s.nodes[node].core and self.s.role(node) == Role.LEADER]
        for node in leaders:
            self.s.cut(f"{node}>*", f"*>{node}")
            self.propose_at(node)

    def pause(self) -> None:
        """Time for an election, with no other fault meanwhile."""
        self.s.pass_time(self.random.choice([20, 60, 100]))

    def heal(self) -> None:
        self.s.heal()

    def wipe(self) -> None:
        """Only when every durable state names all disks as they are: then this is the one loss to be made good."""
        for _ in range(10):
            self.compact()
        disks = [node.disk for node in self.s.nodes.values()]
        names = {node: state.disk.incarnation for node, state in self.s.nodes.items()}
        if all(disk.durable.base.configuration.incarnation(node) == names[node] for disk in disks for node in names):
            self.s.wipe(self.random.choice(self.nodes))

    def transfer(self) -> None:
        if (node := self.alive()) is not None and self.s.role(node) == Role.LEADER:
            try:
                self.s.transfer(node, self.random.choice([n for n in self.nodes if n != node]))
            except NotLeader:
                pass

    def read(self) -> None:
        if (node := self.alive()) is not None and self.s.role(node) == Role.LEADER:
            try:
                self.s.read(node, self.random.randint(1, 99))
            except NotLeader:
                pass

    def lost_stream(self) -> None:
        if (node := self.alive()) is not None:
            self.s.peer_lost(node, self.random.choice(self.nodes))


@pytest.mark.parametrize("block", range(4))
def test_walks(block: int, request: pytest.FixtureRequest) -> None:
    walks = request.config.getoption("--walks", default=40)
    for seed in range(block * walks // 4, (block + 1) * walks // 4):
        walk = Walk(seed)
        try:
            walk.run()
        except AssertionError as error:
            pytest.fail(f"walk {seed}: {error}\n" + "\n".join(walk.s.lines[-120:]))
