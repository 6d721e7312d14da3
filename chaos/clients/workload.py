"""Who uses the cluster, and the end of it: started before the first fault, stopped after the last heal, then drained.

Rules of this file: the table says it all; the load is far below what the cluster can do, so that a pause in the
acknowledgements is the fault's and not the queue's; after the drain every topic was seen empty.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import httpx

from chaos.clients import agents, workers
from chaos.clients.agents import Access, Agent, Loop
from chaos.clients.tries import Caller, Request
from chaos.history import Final, Topic
from chaos.recorder import Recorder

DRAIN_MAX = 500
NAMES = 480
"""Topics that the creators race for in a run, whatever its length: each list holds all that are there."""


class Crew(NamedTuple):
    """`members` agents that run `loop`, each about every `every_s`; 0 members: one for each node."""

    prefix: str
    loop: Loop
    members: int
    every_s: float


CREWS = (
    Crew("p", agents.publisher, 8, 0.035),
    Crew("c", agents.consumer, 6, 0.080),
    Crew("classic-p", agents.classic_publisher, 3, 0.060),
    Crew("classic-c", agents.classic_consumer, 3, 0.060),
    Crew("work-p", workers.work_publisher, 2, 0.200),
    Crew("worker", partial(workers.worker, topic=workers.WORK), 3, 0.080),
    Crew("group-p", workers.group_publisher, 2, 0.400),
    Crew("group-worker", partial(workers.worker, topic=workers.GROUPED), 3, 0.060),
    Crew("mortal-p", workers.mortal_publisher, 1, 0.200),
    Crew("mortal-worker", partial(workers.worker, topic=workers.MORTAL), 2, 0.100),
    Crew("grave-worker", partial(workers.worker, topic=workers.GRAVE), 1, 0.250),
    Crew("creator", agents.creator, 3, 0.0),
    Crew("reader", agents.reader, 0, 0.150),
    Crew("poller", agents.poller, 0, agents.POLL_EVERY_S),
)


class Workload:
    """All clients of one run, on nodes at `urls`. `seconds`: how long the run will be. `shared`, `transport`: see
    Access."""

    def __init__(
        self, recorder: Recorder, urls: Sequence[str], seed: int, seconds: float, shared: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._recorder, self._seed, self._seconds = recorder, seed, seconds
        # Keys outlive the topics of a run that went before, with the same seed, on the same cluster.
        self._access = Access(urls, secrets.token_hex(4), shared, transport)
        self._over, self._all_over = asyncio.Event(), asyncio.Event()
        self._clients: list[asyncio.Task[None]] = []
        self._pollers: list[asyncio.Task[None]] = []

    async def create_topics(self) -> None:
        """Make the topics that messages go through. RuntimeError when the cluster does not answer."""
        agent = self._agent("first", 0, 0.0)
        caller = agent.caller()
        for topic, settings in ((agents.STREAM, {}), (agents.CLASSIC, {}), *workers.TOPICS):
            # Idempotent, and nobody else makes these: an answer that it is there means that an earlier try made it.
            attempt = await caller.call(Request("PUT", f"/v1/topics/{topic}", settings, agent.key("create")))
            if attempt.outcome != "ok":
                raise RuntimeError(f"The topic {topic} could not be created: {attempt.last.code}.")
            agent.record("create", topic, attempt, created=True)
            if settings:
                self._recorder.add(Topic(name=topic, **settings))
        await caller.close()

    def watch(self) -> None:
        """Start the polls of /status; they go on until `stop_watching`."""
        self._pollers = self._start(lambda crew: crew.loop is agents.poller, self._all_over)

    def start(self) -> None:
        """Start everyone else."""
        self._clients = self._start(lambda crew: crew.loop is not agents.poller, self._over)

    async def stop(self) -> None:
        """Let every client finish its operation. Raises what a client died of."""
        self._over.set()
        await asyncio.gather(*self._clients)

    async def stop_watching(self) -> None:
        """End the polls."""
        self._all_over.set()
        await asyncio.gather(*self._pollers)

    async def abandon(self) -> None:
        """End whoever still runs, in the midst of what it does: a run that breaks off writes nothing after its end."""
        tasks = [*self._clients, *self._pollers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def check(self) -> None:
        """Raise what a client died of, if one did: a run with fewer users than promised counts for nothing."""
        for task in (*self._clients, *self._pollers):
            if task.done():
                task.result()

    async def drain(self, timeout_s: float) -> bool:
        """Take out all that waits, is leased or delayed; whether nothing was left in any topic.

        A topic that dead letters come from is emptied before the one that they go to.
        """
        deadline = time.monotonic() + timeout_s

        def over() -> bool:
            return time.monotonic() > deadline

        agent = self._agent("drain", 0, 0.0)
        caller = agent.caller()
        try:
            for topic in (agents.STREAM, agents.CLASSIC):
                if not await self._empty(agent, caller, topic, over):
                    return False
            for topic in (workers.WORK, workers.GROUPED, workers.MORTAL, workers.GRAVE):
                if not await workers.drain(agent, caller, topic, DRAIN_MAX, over):
                    return False
        finally:
            await caller.close()
        return True

    @staticmethod
    async def _empty(agent: Agent, caller: Caller, topic: str, over: Callable[[], bool]) -> bool:
        while not over():
            if await agents.receive(agent, caller, topic, DRAIN_MAX) == []:
                return True
        return False

    async def settle(self, timeout_s: float) -> bool:
        """Wait until all nodes have applied the same; write down each one's final list of topics and final state.

        Whether they got there in time.
        """
        deadline = time.monotonic() + timeout_s
        async with self._access.http() as http:
            for node in range(len(self._access.urls)):
                agent = self._agent(f"last{node}", node, 0.0)
                while time.monotonic() < deadline:
                    if await agents.list_topics(agent, http):
                        break
                    await asyncio.sleep(0.2)
            while time.monotonic() < deadline:
                polls = (agents.poll(self._recorder, http, url, node) for node, url in enumerate(self._access.urls))
                found = [status for status in await asyncio.gather(*polls) if status]
                if len(found) == len(self._access.urls) and len({status.state_index for status in found}) == 1:
                    for status in found:
                        self._recorder.add(
                            Final(node=status.node, applied_index=status.state_index, state_hash=status.state_hash)
                        )
                    return True
                await asyncio.sleep(0.2)
        return False

    def _start(self, chosen: Callable[[Crew], bool], over: asyncio.Event) -> list[asyncio.Task[None]]:
        loop = asyncio.get_running_loop()
        return [
            loop.create_task(crew.loop(self._agent(f"{crew.prefix}{number}", number, crew.every_s), over))
            for crew in CREWS
            if chosen(crew)
            for number in range(crew.members or len(self._access.urls))
        ]

    def _agent(self, name: str, node: int, every_s: float) -> Agent:
        every_s = every_s or max(0.1, self._seconds / NAMES)
        return Agent(name, self._recorder, self._access, node, every_s, self._seed)
