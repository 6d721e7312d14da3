"""`rmq bench`: how fast this cluster publishes, and how fast it hands out, as this machine sees it.

Theory. First all messages are published, then all are received and acked; both are measured by themselves. Percentiles
are exact: the n-th of all operations in order of what they took. The client is a Python program: with `await` it is
mostly its own speed and the way to the nodes that are measured, with `session` the cluster.
"""

from __future__ import annotations

import asyncio
import enum
from math import ceil
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rmq import errors
from rmq.aio import AsyncClient
from rmq.command import benching, scratch
from rmq.command.benching import Load, Taken
from rmq.command.exits import UsageError
from rmq.command.shell import WHOLE_MAX, Shell, command, option


class Mode(enum.StrEnum):
    """How a client publishes."""

    AWAIT = "await"
    BATCH = "batch"
    SESSION = "session"


Name = Annotated[
    str | None, typer.Argument(metavar="TOPIC", help="A name for it; nothing may have it yet.", show_default=False)
]
Messages = Annotated[int, option("--messages", "N", "So many in all, 5,000 if not said.", min=1, max=WHOLE_MAX)]
Size = Annotated[int, option("--size", "BYTES", "Of each, 100 if not said.", min=0, max=900_000)]
Clients = Annotated[int, option("--clients", "N", "So many at once, 8 if not said.", min=1, max=1000)]
HowTo = Annotated[Mode, typer.Option("--mode", help="Each awaited, many in a request, or without waiting.")]
Batch = Annotated[int, option("--batch", "N", "Messages in a batch, 100 if not said.", min=1, max=1000)]
Consume = Annotated[bool, typer.Option("--consume/--no-consume", help="Receive and ack them, too.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "bench")(bench)


def bench(
    shell: Shell, topic: Name = None, messages: Messages = 5000, size: Size = 100, clients: Clients = 8,
    mode: HowTo = Mode.AWAIT, batch: Batch = 100, consume: Consume = True,
) -> None:  # fmt: skip
    """Measure publishing and consuming, through a topic of its own that is deleted at the end."""
    name = topic or scratch.new_name("bench")
    batch = 1 if mode is Mode.AWAIT else batch

    async def work(_: asyncio.Event) -> dict[str, Any]:
        async with AsyncClient(shell.urls, retry=shell.retry) as client, scratch.OwnTopics(client.urls) as own:
            if topic and await _exists(client, topic):
                raise UsageError(f"There is a topic {topic} already: bench takes one of its own, and deletes it.")
            await own.create(client, name)
            said = {"cluster": client.urls, "messages": messages, "size": size, "clients": clients, "mode": mode.value}
            said["batch"] = batch
            if not shell.out.as_json:
                print(f"{messages:,} messages of {size:,} bytes, {clients} clients, {_how(mode, batch)}: "
                      f"{', '.join(client.urls)}", flush=True)  # fmt: skip
            with _progress(shell) as progress:
                bar = progress.add_task("publish", total=messages)
                load = Load(
                    client, name, messages, size, clients, batch, mode is Mode.SESSION,
                    lambda count: progress.advance(bar, count),
                )  # fmt: skip
                said["publish"] = figures(load, await benching.publish(load))
                said["receive_and_ack"] = None
                if consume:
                    progress.reset(bar, description="receive and ack")
                    said["receive_and_ack"] = figures(load, await benching.consume(load))
            return said

    found = scratch.run(work)
    if shell.out.as_json:
        shell.out.fields(found, {})
        return
    rows = [_row(what.replace("_", " "), found[what]) for what in ("publish", "receive_and_ack") if found[what]]
    shell.out.table(["", ">MSGS/S", ">MIB/S", ">P50 MS", ">P99 MS", ">P99.9 MS", "OF"], rows, [])


def figures(load: Load, taken: Taken) -> dict[str, float]:
    """What it comes to. Percentiles are by the nearest rank."""
    in_order, rate = sorted(taken.each_s), load.messages / taken.all_s
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p99_9_ms": 0.999}
    at = {name: in_order[ceil(share * len(in_order)) - 1] for name, share in shares.items()}
    return {
        "seconds": round(taken.all_s, 3), "messages_per_s": round(rate, 1),
        "mib_per_s": round(rate * load.size / (1 << 20), 3), "operations": len(in_order),
        **{name: round(1000 * seconds, 3) for name, seconds in at.items()},
    }  # fmt: skip


def _row(what: str, found: dict[str, Any]) -> list[object]:
    latencies = [f"{found[name]:,.2f}" for name in ("p50_ms", "p99_ms", "p99_9_ms")]
    return [what, f"{found['messages_per_s']:,.0f}", f"{found['mib_per_s']:,.2f}", *latencies,
            f"{found['operations']:,} operations in {found['seconds']:.1f} s"]  # fmt: skip


def _how(mode: Mode, batch: int) -> str:
    return f"mode {mode}" if mode is Mode.AWAIT else f"mode {mode}, up to {batch} in a batch"


def _progress(shell: Shell) -> Progress:
    """A bar where somebody looks."""
    looks = shell.out.remarks.is_terminal and not shell.out.remarks.is_dumb_terminal
    columns = TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=shell.out.remarks, transient=True, disable=not looks)


async def _exists(client: AsyncClient, topic: str) -> bool:
    try:
        await client.topic(topic)
    except errors.TopicNotFound:
        return False
    return True
