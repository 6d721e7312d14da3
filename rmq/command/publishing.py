"""`rmq pub`: publish what was typed, what comes in, or many made from a template.

One message is one request. Lines and numbers go through a session: each is on its way the moment it is there, none
waits for the one before, and they are stored in their order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from rmq.command import bodies, many
from rmq.command.bodies import Form
from rmq.command.exits import UsageError
from rmq.command.shell import WHOLE_MAX, Shell, Topic, command, option
from rmq.messages import NewMessage, Published

BODY_BYTES_MAX = 64 << 20
"""Of one message: a node takes less, and says so."""
Body = Annotated[
    str | None, typer.Argument(metavar="BODY", help="Left out: standard input, to its end.", show_default=False)
]
Lines = Annotated[bool, typer.Option("--lines", help="Each line of standard input is a message.", show_default=False)]
Count = Annotated[int, option("--count", "N", "So many messages of this body.", min=1, max=WHOLE_MAX)]
Template = Annotated[bool, typer.Option("--template", help="Fill in {{n}}, {{time}}, {{id}}.", show_default=False)]
BodyForm = Annotated[Form, typer.Option("--form", help="What the body is.")]
Header = Annotated[list[str] | None, option("--header", "NAME=VALUE", "May be repeated.")]
Group = Annotated[str | None, option("--message-group", "NAME", "Its messages are worked on one after the other.")]
DedupId = Annotated[str | None, option("--dedup-id", "ID", "Stored once within the topic's window.")]
Delay = Annotated[float | None, option("--delay", "S", "Not handed out before.")]
Ttl = Annotated[float | None, option("--ttl", "S", "Gone if nobody took it by then.")]
Priority = Annotated[int | None, option("--priority", "0-9", "9 goes first, where the topic has priorities.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "pub")(pub)


def pub(
    shell: Shell, topic: Topic,
    body: Body = None, lines: Lines = False, count: Count = 1, template: Template = False, form: BodyForm = Form.TEXT,
    header: Header = None, group: Group = None, dedup_id: DedupId = None, delay: Delay = None, ttl: Ttl = None,
    priority: Priority = None,
) -> None:  # fmt: skip
    """Publish; when this ends with 0, every message is on the disks of a majority."""
    if lines and body is not None:
        raise UsageError("--lines reads messages from standard input: leave the body out.")
    if dedup_id is not None and (lines or count > 1) and not (template and "{{" in dedup_id):
        raise UsageError("One --dedup-id for many messages would store one: use --template and {{n}} in it.")

    headers = bodies.headers(header) or None

    def message(raw: bytes, number: int) -> NewMessage:
        unique = dedup_id
        if template:
            raw = bodies.fill(raw, number)
            unique = dedup_id and os.fsdecode(bodies.fill(os.fsencode(dedup_id), number))
        return NewMessage(
            body=bodies.read(raw, form), headers=headers, group=group, dedup_id=unique, delay_s=delay, ttl_s=ttl,
            priority=priority,
        )  # fmt: skip

    if lines:
        many.publish(shell, topic, (message(line, number) for number, line in enumerate(_lines(shell), 1)), "line")
        return
    raw = _standard_input(shell) if body is None else body.encode("utf-8", "surrogateescape")
    if count > 1:
        many.publish(shell, topic, (message(raw, number) for number in range(1, count + 1)), "message")
        return
    stored = shell.client.publish(topic, message(raw, 1))
    twice = ", which was there already" if stored.duplicate else ""
    shell.out.done(stored_as_json(stored), f"Message {stored.sequence} of {topic}{twice}.")


def stored_as_json(stored: Published) -> dict[str, Any]:
    """As the HTTP API says it."""
    return {"id": stored.id, "sequence": stored.sequence, "duplicate": stored.duplicate}


def _lines(shell: Shell) -> Iterator[bytes]:
    if sys.stdin.isatty():
        shell.out.remark("A message a line; Ctrl-D ends.")
    for line in sys.stdin.buffer:
        yield line.rstrip(b"\r\n")


def _standard_input(shell: Shell) -> bytes:
    if sys.stdin.isatty():
        shell.out.remark("The body, up to Ctrl-D.")
    raw = sys.stdin.buffer.read(BODY_BYTES_MAX + 1)
    if len(raw) > BODY_BYTES_MAX:
        raise UsageError(f"Standard input is more than {BODY_BYTES_MAX:,} bytes, too much for a message: add --lines.")
    return raw.removesuffix(b"\n")
