"""The clients themselves: each `…er` below is one user's loop, one operation at a time, at its own pace.

    publisher          POST /v1/…/messages with a key, retried until answered: its n-th value is "p3-17"
    consumer           POST /v1/…/messages:receive with a key, likewise; half of them wait for a message
    classic publisher  PUT /message without a key: one try
    classic consumer   GET /message/{topic} without a key: it removes a message, answered or not
    creator            PUT /topic: several race for each name
    reader             GET /topic, patiently and always from one node: where a stale answer would come from
    poller             GET /status of one node

Those who lease messages stand in `workers`.

Rules of this file: an operation is recorded when it is over, whatever came of it; a payload is never used twice, nor is
a key, by whichever run; a loop ends when told to, after its operation.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

import httpx

from chaos.clients.lean import LeanTransport
from chaos.clients.tries import Attempt, Caller, Request, send
from chaos.history import Kind, Op, Status
from chaos.recorder import Recorder

MINE = "rmq-chaos."
"""How the names of all topics of a run begin."""
STREAM, CLASSIC = f"{MINE}stream", f"{MINE}classic"
"""The topic of those with keys, and that of those without."""
RECEIVE_MAX, BATCH_MAX = 10, 20
"""A batch of so many lies in a pack (`app.broker.packs`), of which a receive takes a part."""
PATIENT_S = 8.0
"""A reader waits so long: longer than a pause lasts, so that what a node answers on waking is heard."""
POLL_EVERY_S, POLL_TIMEOUT_S = 0.1, 0.5


class Access(NamedTuple):
    """How agents get to the cluster.

    `run`: how this run's keys begin. `shared`: others use the cluster, too, so that topics not of this run are none of
    its business. `transport`: how requests travel, for tests.
    """

    urls: Sequence[str]
    run: str = "run"
    shared: bool = False
    transport: httpx.AsyncBaseTransport | None = None

    def http(self) -> httpx.AsyncClient:
        """Connections for somebody who sees to time limits himself."""
        return httpx.AsyncClient(timeout=None, trust_env=False, transport=self.transport or LeanTransport())


class Agent:
    """What all have in common: name, cluster, pace, and where to write down what came of an operation."""

    def __init__(self, name: str, recorder: Recorder, access: Access, node: int, every_s: float, seed: int) -> None:
        self.name = name
        self.recorder = recorder
        self.access = access
        self.node = node % len(access.urls)
        self.every_s = every_s
        self.rng = random.Random(f"{seed} {name}")
        self._asked = 0

    def caller(self) -> Caller:
        """Its way to the cluster."""
        return Caller(self.access.urls, self.node, self.recorder.now, self.rng, transport=self.access.transport)

    def key(self, what: str) -> str:
        """A key that nobody has used."""
        self._asked += 1
        return f"{self.access.run}-{what}-{self.name}-{self._asked}"

    async def pace(self, since: float) -> None:
        """Wait until it is time for the next operation, `every_s` apart on average."""
        await asyncio.sleep(max(0.0, since + self.every_s * self.rng.uniform(0.5, 1.5) - self.recorder.now()))

    def record(self, kind: Kind, topic: str, attempt: Attempt, **more: Any) -> None:
        """Write an operation down."""
        error = None if attempt.outcome == "ok" else attempt.last.code
        op = Op(
            kind=kind, client=self.name, node=attempt.node, tries=attempt.tries, start=attempt.start, end=attempt.end,
            outcome=attempt.outcome, topic=topic, error=error, **more,
        )  # fmt: skip
        self.recorder.add(op)


Loop = Callable[[Agent, asyncio.Event], Coroutine[Any, Any, None]]
"""What an agent does, from the start to the end of the load."""


async def publisher(agent: Agent, over: asyncio.Event) -> None:
    """Unique values with sequence numbers of its own, one at a time or a few at once."""
    caller, count = agent.caller(), 0
    while not over.is_set():
        size = agent.rng.choice((1, 1, 1, 1, 1, 1, 1, BATCH_MAX))
        attempt = await publish(agent, caller, STREAM, [{"body": f"{agent.name}-{count + i}"} for i in range(size)])
        count += size
        await agent.pace(attempt.start)
    await caller.close()


async def publish(agent: Agent, caller: Caller, topic: str, messages: Sequence[dict[str, Any]]) -> Attempt:
    """One publish with a key, recorded; the messages have one delay, or none."""
    json = messages[0] if len(messages) == 1 else {"messages": messages}
    attempt = await caller.call(Request("POST", f"/v1/topics/{topic}/messages", json, agent.key("publish")))
    stored = attempt.last.json()["messages"] if attempt.outcome == "ok" else []
    groups = [message["group"] for message in messages if "group" in message]
    agent.record(
        "publish", topic, attempt, keyed=True, values=[message["body"] for message in messages], groups=groups,
        sequences=[message["sequence"] for message in stored], delay_s=messages[0].get("delay_s", 0.0),
    )  # fmt: skip
    return attempt


async def consumer(agent: Agent, over: asyncio.Event) -> None:
    """Takes up to ten at a time; odd ones wait up to a second for the first."""
    caller, wait_s = agent.caller(), agent.node % 2
    while not over.is_set():
        await receive(agent, caller, STREAM, RECEIVE_MAX, wait_s)
        await asyncio.sleep(agent.every_s * agent.rng.uniform(0.5, 1.5))
    await caller.close()


async def receive(agent: Agent, caller: Caller, topic: str, at_most: int, wait_s: int = 0) -> list[str] | None:
    """One receive with a key, recorded. The values, or None where the answer is not known."""
    body = {"max": at_most, "wait_s": wait_s, "auto_ack": True}
    request = Request("POST", f"/v1/topics/{topic}/messages:receive", body, agent.key("receive"))
    attempt = await caller.call(request, longer_s=wait_s)
    taken = attempt.last.json()["messages"] if attempt.outcome == "ok" else []
    values = [message["body"] for message in taken]
    sequences = [message["sequence"] for message in taken]
    agent.record("receive", topic, attempt, keyed=True, max=at_most, values=values, sequences=sequences)
    return None if attempt.outcome != "ok" else values


async def classic_publisher(agent: Agent, over: asyncio.Event) -> None:
    """One try each, without a key."""
    caller, count = agent.caller(), 0
    while not over.is_set():
        value = f"{agent.name}-{count}"
        count += 1
        attempt = await caller.call(Request("PUT", "/message", {"topic": CLASSIC, "message": value}))
        sequences = [int(attempt.last.headers["rmq-sequence"])] if attempt.outcome == "ok" else []
        agent.record("publish", CLASSIC, attempt, values=[value], sequences=sequences)
        await agent.pace(attempt.start)
    await caller.close()


async def classic_consumer(agent: Agent, over: asyncio.Event) -> None:
    """The destructive read, without a key."""
    caller = agent.caller()
    while not over.is_set():
        attempt = await caller.call(Request("GET", f"/message/{CLASSIC}"))
        found = attempt.outcome == "ok" and attempt.last.json()["success"]
        values = [attempt.last.json()["message"]] if found else []
        sequences = [int(attempt.last.headers["rmq-sequence"])] if found else []
        agent.record("receive", CLASSIC, attempt, max=1, values=values, sequences=sequences)
        await agent.pace(attempt.start)
    await caller.close()


async def creator(agent: Agent, over: asyncio.Event) -> None:
    """Several of these go through the same names at the same pace, so that they race for each."""
    caller, began = agent.caller(), agent.recorder.now()
    while not over.is_set():
        name = f"{MINE}topic-{int((agent.recorder.now() - began) / agent.every_s)}"
        attempt = await caller.call(Request("PUT", "/topic", {"topic": name}))
        created: bool | None = True if attempt.outcome == "ok" else None
        if attempt.last.code == "topic_taken":
            # A refusal that tells something: the topic is there.
            attempt, created = attempt._replace(outcome="ok"), False
        agent.record("create", name, attempt, created=created)
        await asyncio.sleep(agent.every_s - (agent.recorder.now() - began) % agent.every_s)
    await caller.close()


async def reader(agent: Agent, over: asyncio.Event) -> None:
    """Lists the topics, asking one node alone, with long patience."""
    async with agent.access.http() as http:
        while not over.is_set():
            start = agent.recorder.now()
            await list_topics(agent, http)
            await agent.pace(start)


async def list_topics(agent: Agent, http: httpx.AsyncClient) -> bool:
    """One list from the agent's node, recorded; whether it came. A read that is not answered did not happen."""
    start = agent.recorder.now()
    answer = await send(http, agent.access.urls[agent.node], Request("GET", "/topic"), PATIENT_S)
    found = answer.known == "ok"
    attempt = Attempt("ok" if found else "fail", answer, agent.node, 1, start, agent.recorder.now())
    listed = answer.json()["topics"] if found else []
    names = [name for name in listed if name.startswith(MINE) or not agent.access.shared]
    agent.record("list", "", attempt, names=names)
    return found


async def poller(agent: Agent, over: asyncio.Event) -> None:
    """Asks one node for its status, all the time."""
    async with agent.access.http() as http:
        while not over.is_set():
            await poll(agent.recorder, http, agent.access.urls[agent.node], agent.node)
            await asyncio.sleep(agent.every_s)


async def poll(recorder: Recorder, http: httpx.AsyncClient, url: str, node: int) -> Status | None:
    """One status, recorded; None when the node does not answer. A node that is silent is forgotten as a leader."""
    start = recorder.now()
    answer = await send(http, url, Request("GET", "/status"), POLL_TIMEOUT_S)
    if answer.known != "ok":
        recorder.statuses.pop(node, None)
        return None
    said = answer.json()
    status = Status(
        node=node, start=start, at=recorder.now(), role=said["role"], term=said["term"], leader=said["leader"],
        last_log_index=said["last_log_index"], commit_index=said["commit_index"],
        applied_index=said["applied_index"], state_index=said["state_hash_index"], state_hash=said["state_hash"],
        pid=said["pid"],
    )  # fmt: skip
    recorder.add(status)
    return status
