"""The course of a run: begin, load, finish, drain, the nodes' last states.

    begin      how many nodes are there? make the topics. Where that does not work there is no run
    load       clients use the cluster while somebody breaks it
    finish     each client ends the operation that it is in
    drain      everything is taken out and acked, until nothing is left; then the topics are listed, and deleted

Theory. Only the drain makes a verdict: before it, a message that nobody has seen again may still wait somewhere. So it
goes on as long as something comes, and gives up when nothing has come for a while: then the run is inconclusive.

Rules of this file: no more is asked of the cluster than the user's nodes that were named; what is not seen is not
written down, and the checker says what is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, NamedTuple

from rich.console import Console

import rmq
from chaos.history import Final, Phase, Run, Status
from rmq import errors
from rmq.aio import AsyncClient
from rmq.aio_connections import AsyncConnections
from rmq.command import scratch
from rmq.command.verifying.clients import DRAIN_LEASE_S, MOST_DRAINED, Agent, Names, Poller
from rmq.command.verifying.live import Line, show
from rmq.command.verifying.notes import Notes
from rmq.policy import Retry

PATIENCE, PATIENT_S = 3, 6.0
"""So many times the time for a call the drain waits for something to come; but longer than any lease here."""
FINAL_S, LOOK_EVERY_S = 5.0, 0.1
GONE = "topic_not_found"


class Plan(NamedTuple):
    """What to do: `clients` publishers and as many consumers, for `seconds`; `call_s`: how long a call is tried."""

    urls: Sequence[str]
    seconds: float
    clients: int
    call_s: float


class Seen(NamedTuple):
    """What the history does not say. `trouble`: why not everything could be taken out; None where it was."""

    nodes: int
    trouble: str | None


async def run(plan: Plan, notes: Notes, enough: asyncio.Event, live: Console | None) -> Seen:
    """The whole course; `enough` ends the load early. Raises Error where it cannot begin."""
    brief = scratch.BRIEF
    async with AsyncClient(plan.urls, retry=brief) as first, scratch.OwnTopics(plan.urls) as own:
        name = scratch.new_name("verify")
        names = Names(f"{name}-fifo", f"{name}-leases")
        agent = Agent("first", first, names, notes)
        nodes = await _begin(plan, agent, first, own, names, notes)
        async with contextlib.AsyncExitStack() as stack:
            retry = Retry(total_s=plan.call_s, attempt_s=2.0, connect_s=1.0, longest_s=0.25)
            clients = [
                await stack.enter_async_context(AsyncClient(_turned(plan.urls, place), retry=retry))
                for place in range(len(plan.urls))
            ]
            connections = AsyncConnections(None, True)
            stack.push_async_callback(connections.close)
            pollers = [Poller(url, connections, notes) for url in plan.urls]
            notes.begin_load()
            beside = [poller.run() for poller in pollers]
            if live is not None:
                beside.append(show(Line(notes, plan.seconds), live))
            async with _beside(beside):
                await _load(plan, clients, names, notes, enough)
                _phase(notes, "drain")
                drainer = Agent("drain", clients[0], names, notes)
                trouble = await _drain(drainer, notes, max(PATIENT_S, PATIENCE * plan.call_s))
                if trouble is None:
                    await _last_states(pollers, notes)
                if trouble is None or drainer.error == GONE:
                    await drainer.list_topics()
                _phase(notes, "end")
    return Seen(nodes, trouble)


async def _begin(
    plan: Plan, agent: Agent, client: AsyncClient, own: scratch.OwnTopics, names: Names, notes: Notes
) -> int:
    """-> how many nodes there are. Raises Error."""
    try:
        nodes = len((await client.cluster()).members)
        started_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        notes.add(
            Run(
                scenario="verify", seed=0, seconds=plan.seconds, nodes=nodes, started_at=started_at, image="",
                version=rmq.__version__,
            )
        )  # fmt: skip
        for name in names:
            await agent.create(name, own.create(client, name))
    except errors.OutcomeUnknown as error:
        # For the user it is the same as no answer: there is nothing to verify.
        raise errors.Unavailable(error.detail, code=error.code) from None
    return nodes


async def _load(plan: Plan, clients: Sequence[AsyncClient], names: Names, notes: Notes, enough: asyncio.Event) -> None:
    over = asyncio.Event()
    users: list[Coroutine[Any, Any, None]] = []
    for number in range(plan.clients):
        client = clients[number % len(clients)]
        users.append(Agent(f"p{number}", client, names, notes).publisher(over))
        users.append(Agent(f"c{number}", client, names, notes).consumer(over, wait_s=float(number % 2)))
    _phase(notes, "warm")
    async with _beside(users) as tasks, _beside([_wait(enough)]) as (stopped,):
        # A user ends before `over` only by a mistake of this program's, and that is raised.
        await asyncio.wait([stopped, *tasks], timeout=plan.seconds, return_when=asyncio.FIRST_COMPLETED)
        over.set()
        notes.end_load()
        await asyncio.gather(*tasks)


async def _drain(agent: Agent, notes: Notes, patience_s: float) -> str | None:
    """Take everything out. -> why that was not possible."""
    since, left = notes.now(), None
    is_fifo_empty = False
    while True:
        if not is_fifo_empty:
            taken = await agent.take(MOST_DRAINED)
            is_fifo_empty = taken == []
        else:
            taken = await agent.lease(MOST_DRAINED, DRAIN_LEASE_S)
            await agent.settle("ack", taken or ())
            if taken == [] and (left := await agent.count()) == 0:
                return None
        if agent.error == GONE:
            return "one of its topics is gone, though it was not deleted here"
        if taken:
            since = notes.now()
        elif notes.now() - since > patience_s:
            break
        elif taken is None or left:
            await asyncio.sleep(LOOK_EVERY_S)
    if left and taken is not None:
        return f"{left:,} messages are still stored {patience_s:g} s later, and are handed out to nobody"
    return f"the cluster did not come back within {patience_s:g} s"


async def _last_states(pollers: Sequence[Poller], notes: Notes) -> None:
    """Wait until all nodes have applied the same, and write their states down; in the end, of those that answer."""
    deadline = notes.now() + FINAL_S
    while True:
        found = [status for status in await asyncio.gather(*(poller.poll() for poller in pollers)) if status]
        is_late = notes.now() > deadline
        if len({status.state_index for status in found}) == 1 and (is_late or len(found) == len(pollers)):
            for status in found:
                _final(notes, status)
            return
        if is_late:
            return
        await asyncio.sleep(LOOK_EVERY_S)


def _final(notes: Notes, status: Status) -> None:
    notes.add(Final(node=status.node, applied_index=status.state_index, state_hash=status.state_hash))


def _phase(notes: Notes, name: Any) -> None:
    if name != "warm":
        notes.doing = name
    notes.add(Phase(name=name, at=notes.now()))


def _turned(urls: Sequence[str], by: int) -> list[str]:
    """Another node first."""
    return [*urls[by:], *urls[:by]]


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


@contextlib.asynccontextmanager
async def _beside(work: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks that go on inside, and are cancelled at the end. What one of them died of is raised there."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
