"""Those who work on leased messages, those who publish them, and what they do in the end: each is one user's loop.

    work publisher    plain messages, some of them for later
    group publisher   messages of a handful of groups, which all share
    mortal publisher  messages some of which nobody can work on
    worker            receives on a short lease, holds, and then acks, gives back, extends, comes too late or vanishes

Theory. What makes leases hard is who does not keep to them, so a worker draws for each message what it will do with it.
A message that cannot be worked on (`is_bad`) is always given back, until it is a dead letter; on the topic of dead
letters, and in the drain, such messages are like all others.

Rules of this file: as in `agents`. Every operation has a key and is retried until it is answered; what was given up
may have happened, and its tokens are never used again, so that it is the last that is known of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from chaos.clients.agents import MINE, Agent, publish
from chaos.clients.tries import Caller, Request

WORK, GROUPED, MORTAL, GRAVE = f"{MINE}work", f"{MINE}grouped", f"{MINE}mortal", f"{MINE}grave"
"""Plain and delayed messages; groups; messages that may die, and where they go then."""
TOPICS: tuple[tuple[str, dict[str, Any]], ...] = (
    (WORK, {}), (GROUPED, {}), (GRAVE, {}), (MORTAL, {"max_deliveries": 3, "dead_letter_topic": GRAVE}),
)  # fmt: skip
"""With their settings, in the order in which they are to be made."""
LEASE_S, DRAIN_LEASE_S = 2.0, 5.0
"""Short: a fault lasts as long, so that leases end while nobody leads, while leaders change, while a node is away."""
RECEIVE_MAX, BATCH_MAX, GROUPS, BAD_EVERY = 4, 3, 6, 5
HOLD_S, LATE_S = (0.0, 0.15), (1.0, 2.6)
DELAYS_S = (0.3, 0.8, 1.5)
LOOK_EVERY_S = 0.1

Fate = Literal["ack", "nack", "nack later", "extend", "late", "vanish"]
FATES: tuple[tuple[Fate, int], ...] = (
    ("ack", 74), ("nack", 6), ("nack later", 5), ("extend", 6), ("late", 3), ("vanish", 6)
)  # fmt: skip
"""What is done with a message, in how many of a hundred cases."""


class Held(NamedTuple):
    """A message that was handed out."""

    value: str
    token: str


def is_bad(value: str) -> bool:
    """Whether nobody can work on it: every fifth of each publisher."""
    return int(value.rsplit("-", 1)[-1]) % BAD_EVERY == 0


async def work_publisher(agent: Agent, over: asyncio.Event) -> None:
    """One publish in four is for later."""

    def later(values: list[str]) -> list[dict[str, Any]]:
        delay_s = agent.rng.choice((0.0, 0.0, 0.0, agent.rng.choice(DELAYS_S)))
        return [{"body": value, "delay_s": delay_s} if delay_s else {"body": value} for value in values]

    await _publisher(agent, over, WORK, later)


async def group_publisher(agent: Agent, over: asyncio.Event) -> None:
    """Each message goes into any of the groups."""

    def grouped(values: list[str]) -> list[dict[str, Any]]:
        return [{"body": value, "group": f"group-{agent.rng.randrange(GROUPS)}"} for value in values]

    await _publisher(agent, over, GROUPED, grouped)


async def mortal_publisher(agent: Agent, over: asyncio.Event) -> None:
    """Some of them are bad."""
    await _publisher(agent, over, MORTAL, lambda values: [{"body": value} for value in values])


async def _publisher(
    agent: Agent, over: asyncio.Event, topic: str, messages: Callable[[list[str]], list[dict[str, Any]]]
) -> None:
    """Unique values, one at a time or a few at once."""
    caller, count = agent.caller(), 0
    while not over.is_set():
        size = agent.rng.choice((1, 1, BATCH_MAX))
        values = [f"{agent.name}-{count + i}" for i in range(size)]
        count += size
        attempt = await publish(agent, caller, topic, messages(values))
        await agent.pace(attempt.start)
    await caller.close()


async def worker(agent: Agent, over: asyncio.Event, *, topic: str) -> None:
    """Takes a few at a time; odd ones wait up to a second for the first, and name their key in the body."""
    caller = agent.caller()
    while not over.is_set():
        held = await take(agent, caller, topic, RECEIVE_MAX, LEASE_S, wait_s=agent.node % 2, named=agent.node % 2 == 1)
        await work(agent, caller, topic, held or [])
        await asyncio.sleep(agent.every_s * agent.rng.uniform(0.5, 1.5))
    await caller.close()


async def work(agent: Agent, caller: Caller, topic: str, held: Sequence[Held]) -> None:
    """Do with each what chance says: the quick ones first, those who come late last."""
    rng = agent.rng
    names, weights = zip(*FATES, strict=True)
    fates: dict[str, list[str]] = {name: [] for name in names}
    for each in held:
        bad = topic == MORTAL and is_bad(each.value)
        fates[rng.choice(("nack", "nack later")) if bad else rng.choices(names, weights)[0]].append(each.token)
    if held:
        await asyncio.sleep(rng.uniform(*HOLD_S))
    known = await settle(agent, caller, "extend", topic, fates["extend"], lease_s=rng.choice((0.5, LEASE_S, 3.0)))
    await settle(agent, caller, "ack", topic, fates["ack"])
    await settle(agent, caller, "nack", topic, fates["nack"])
    await settle(agent, caller, "nack", topic, fates["nack later"], delay_s=rng.choice(DELAYS_S))
    if fates["late"]:
        await asyncio.sleep(rng.uniform(*LATE_S))
    await settle(agent, caller, "ack", topic, [*fates["late"], *(fates["extend"] if known else ())])


async def take(
    agent: Agent, caller: Caller, topic: str, at_most: int, lease_s: float, *, wait_s: int = 0, named: bool = False
) -> list[Held] | None:
    """One receive on a lease, with a key, recorded; `named`: as the attempt_id. None where the answer is not known."""
    body: dict[str, Any] = {"max": at_most, "wait_s": wait_s, "lease_s": lease_s, "auto_ack": False}
    key = agent.key("take")
    if named:
        body["attempt_id"] = key
    request = Request("POST", f"/v1/topics/{topic}/messages:receive", body, key, bare=named)
    attempt = await caller.call(request, longer_s=wait_s)
    taken = attempt.last.json()["messages"] if attempt.outcome == "ok" else []
    agent.record(
        "receive", topic, attempt, keyed=True, max=at_most, lease_s=lease_s, values=[each["body"] for each in taken],
        sequences=[each["sequence"] for each in taken], tokens=[each["token"] for each in taken],
        deliveries=[each["deliveries"] for each in taken], groups=[each["group"] for each in taken],
    )  # fmt: skip
    return [Held(each["body"], each["token"]) for each in taken] if attempt.outcome == "ok" else None


async def settle(
    agent: Agent, caller: Caller, kind: Literal["ack", "nack", "extend"], topic: str, tokens: Sequence[str],
    **seconds: float,
) -> bool:  # fmt: skip
    """One operation on what is held, with a key, recorded; nothing where no tokens are given. Whether it is known what
    came of it."""
    if not tokens:
        return True
    request = Request("POST", f"/v1/topics/{topic}/messages:{kind}", {"tokens": tokens, **seconds}, agent.key(kind))
    attempt = await caller.call(request)
    results = attempt.last.json()["results"] if attempt.outcome == "ok" else []
    codes = [None if each["ok"] else each["code"] for each in results]
    agent.record(kind, topic, attempt, keyed=True, tokens=list(tokens), codes=codes, **seconds)
    return attempt.outcome != "unknown"


async def count(agent: Agent, caller: Caller, topic: str) -> int | None:
    """How many messages are stored, recorded. None where the answer is not known; then it was not asked."""
    attempt = await caller.call(Request("GET", f"/v1/topics/{topic}"))
    found = attempt.outcome == "ok"
    left = attempt.last.json()["messages"] if found else None
    agent.record("count", topic, attempt._replace(outcome="ok" if found else "fail"), left=left)
    return left


async def drain(agent: Agent, caller: Caller, topic: str, at_most: int, over: Callable[[], bool]) -> bool:
    """Take and ack until nothing is left, leased and delayed messages included, or until time is `over`; which."""
    while not over():
        held = await take(agent, caller, topic, at_most, DRAIN_LEASE_S)
        await settle(agent, caller, "ack", topic, [each.token for each in held or ()])
        if held == [] and await count(agent, caller, topic) == 0:
            return True
        if not held:
            await asyncio.sleep(LOOK_EVERY_S)
    return False
