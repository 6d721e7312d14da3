"""Scenes: sequences of faults that chance alone would hardly ever put together, played among all the other faults.

A scene is a generator that yields how many milliseconds to wait; it may be disturbed by anything, and then ends early.
Nothing in it is required to succeed: it only leads the cluster to a place where a mistake would show.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.broker.commands import Ack, Acks, NewMessage, Publish, Receive, Receives, encode
from app.broker.results import Each, Received, decode
from app.raft import AnyMessage
from app.raft.messages import AppendEntries
from tests.sim.clients import TOPICS
from tests.sim.plan import SECOND
from tests.sim.work import WORK

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.world import World

Scene = Iterator[int]
POLL_MS = 4
PATIENCE = 500
"""Polls before a scene is given up."""


def leader_of(world: World) -> SimNode | None:
    """The leader of the latest term that is up and running."""
    leaders = [node for node in world.nodes if node.leads() and not node.paused]
    return max(leaders, key=lambda node: node.core.term, default=None)


def figure_8(world: World) -> Scene:
    """The paper's Fig. 8: an entry of an old term reaches a majority, and is replaced all the same.

    `first` writes an entry that nobody gets. `second` wins without it and tells nobody of its own. `first` wins again
    and replicates the old entry, but nothing of its new term. Then it goes, and `second` comes back and wins.
    """
    first = leader_of(world)
    if first is None or len(world.nodes) < 3:
        return
    network, term = world.network, first.core.term
    network.split({first.id})
    body = f'"figure 8 {world.now_us} {"x" * 1100}"'.encode()
    first.runner.submit(encode(Publish(TOPICS[0], [NewMessage(body)])), False, lambda _: None)
    index = first.core.log.last_index + 1

    def of_later_terms(message: AnyMessage) -> bool:
        return isinstance(message, AppendEntries) and message.term > term

    network.gag = of_later_terms
    for _ in range(PATIENCE):
        second = leader_of(world)
        if second is not None and second.core.term > term:
            break
        yield POLL_MS
    else:
        return
    later = second.core.term
    yield 20
    second.pause(10 * SECOND)

    def of_its_own_term(message: AnyMessage) -> bool:
        return (
            isinstance(message, AppendEntries)
            and message.term > later
            and any(entry.term > term for entry in message.entries)
        )

    network.gag = of_its_own_term
    network.connect_all()
    for _ in range(PATIENCE):
        holders = sum(node.shadow.holds_now(index, term) for node in world.nodes if node is not second)
        if holders > len(world.nodes) // 2:
            break
        yield POLL_MS
    yield 30
    first.power_off(None)
    network.gag = None
    if second.paused:
        second.resume()


def wiped_ally(world: World) -> Scene:
    """Entries stand on a bare majority; one of its disks is replaced, the others of it go away for a while.

    Those that lag would make a majority together with the empty disk, if it were to vote.
    """
    nodes, rng, faults = world.nodes, world.rng, world.faults
    leader = leader_of(world)
    majority = len(nodes) // 2 + 1
    if leader is None or len(nodes) < 3 or len(nodes) % 2 == 0:
        return
    followers = [node for node in nodes if node is not leader]
    rng.shuffle(followers)
    laggards, holders = followers[majority - 1 :], followers[: majority - 1]
    world.network.connect_all()
    world.network.split({node.id for node in laggards})
    committed = world.checks.committed
    for _ in range(PATIENCE):
        if world.checks.committed > committed + 1:
            break
        yield POLL_MS
    if not faults.replace_disk(holders[0]):
        return
    for node in [leader, *holders[1:]]:
        node.pause(2 * SECOND)
    world.network.connect_all()
    yield 60
    holders[0].start_again()
    yield 1500
    for node in [leader, *holders[1:]]:
        if node.paused:
            node.resume()


def overtaken_leader(world: World) -> Scene:
    """A leader that is cut off writes a long log that nobody follows; what it lacks is compacted away meanwhile.

    So it gets a snapshot that ends within its own log; soon after, its process ends and starts again.
    """
    lost = leader_of(world)
    if lost is None or len(world.nodes) < 3:
        return
    world.network.connect_all()
    world.network.split({lost.id})
    burst = 100 + world.rng.randrange(300)
    for number in range(burst):
        body = f'"overtaken {world.now_us} {number}"'.encode()
        lost.runner.submit(encode(Publish(TOPICS[1], [NewMessage(body)])), False, lambda _: None)
    begun = world.checks.committed
    for _ in range(4 * PATIENCE):
        yield POLL_MS
        leader = leader_of(world)
        if leader is not None and leader is not lost and leader.core.log.base_index > begun:
            break
    world.network.connect_all()
    for _ in range(PATIENCE):
        yield POLL_MS
        if not lost.up:
            return
        if lost.machine.applied_index > begun and not lost.shadow.installing:
            break
    yield world.rng.randrange(200)
    if world.rng.random() < 0.5:
        lost.power_off(None)
    else:
        lost.kill()


def forgotten_leases(world: World) -> Scene:
    """Messages of one batch are leased to many, a node is started again, and then all is acked in one command.

    What was handed out that node only finds in its tables, the others remember it, too: all must do the same with it.
    """
    leader = leader_of(world)
    if leader is None:
        return
    name, answers = f"forgotten {world.now_us}", []
    batch = [NewMessage(f'"{name} {place}"'.encode()) for place in range(40)]
    receives = [
        Receive(WORK, max=3, auto_ack=False, lease_ms=8000, key=f"{name} {number}", final=True) for number in range(12)
    ]
    leader.runner.submit(encode(Publish(WORK, batch)), False, lambda _: None)
    leader.runner.submit(encode(Receives(receives)), False, answers.append)
    for _ in range(PATIENCE):
        yield POLL_MS
        if answers:
            break
    told = decode(answers[0]) if answers and isinstance(answers[0], bytes) else None
    if not isinstance(told, Each):
        return
    given = [each.messages for each in map(decode, told.answers) if isinstance(each, Received)]
    acks = [Ack(WORK, [each.token for each in messages if each.token]) for messages in given if messages]
    yield 100
    node = world.rng.choice(world.nodes)
    node.kill()
    yield 60
    node.start_again()
    for _ in range(PATIENCE):
        yield POLL_MS
        leader = leader_of(world)
        if leader is not None and node.up and acks:
            world.count("acks of what a node had forgotten")
            leader.runner.submit(encode(Acks(acks)), False, lambda _: None)
            return
