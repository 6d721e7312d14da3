"""`rmq peek`: look at messages where they stand, without touching them."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from rmq.command import bodies
from rmq.command.shell import WHOLE_MAX, Shell, Topic, command, option

Start = Annotated[int, option("--from", "N", "The first message's number.", min=0, max=WHOLE_MAX)]
Count = Annotated[int, option("--count", "N", "So many at most, 20 if not said.", min=1, max=WHOLE_MAX)]
Group = Annotated[str, option("--group", "NAME", "States are those for this group: default if not said.")]
Header = Annotated[list[str] | None, option("--header", "NAME=VALUE", "Only those that carry it; may be repeated.")]
BODY_WIDTH = 60


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "peek")(peek)


def peek(
    shell: Shell, topic: Topic,
    start: Start = 0, count: Count = 20, group: Group = "default", header: Header = None,
) -> None:  # fmt: skip
    """Look at messages in their order; nothing is taken."""
    wanted = bodies.headers(header)
    found = list(islice(shell.client.peek(topic, start=start, subscription=group, headers=wanted), count))
    rows = [
        (each.sequence, each.state, each.deliveries, each.published_at, each.group, bodies.short(each.body, BODY_WIDTH))
        for each in found
    ]
    shell.out.table([">NUMBER", "STATE", ">DELIVERIES", "PUBLISHED", "GROUP", "BODY"], rows, found)
