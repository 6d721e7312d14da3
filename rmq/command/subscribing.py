"""`rmq sub`: consume. A message is acked when it has been written and flushed; what was not comes again.

Rules of this file: a reader that goes away (`| head`) loses nothing, for what it did not get is not acked.
"""

from __future__ import annotations

import sys
from threading import TIMEOUT_MAX
from typing import Annotated

import typer
from rich.text import Text

from rmq import errors
from rmq.command import bodies
from rmq.command.shell import WHOLE_MAX, Shell, Topic, command, option
from rmq.messages import Message
from rmq.session import Session

Group = Annotated[str, option("--group", "NAME", "The group to consume for: default if not said.")]
Count = Annotated[int | None, option("--count", "N", "Stop after so many.", min=1, max=WHOLE_MAX)]
Idle = Annotated[float | None, option("--idle", "S", "Stop when none has come for so long.", min=0, max=TIMEOUT_MAX)]
Lease = Annotated[float | None, option("--lease", "S", "What is not acked by then comes again.", min=0)]
Raw = Annotated[bool, typer.Option("--raw", help="Bodies as they are, nothing in between.", show_default=False)]
CREDIT = 200
"""Messages on their way at once."""
FLUSH_S = 5.0
"""Who is stopped still says which messages are done, for so long at most."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "sub")(sub)


def sub(
    shell: Shell, topic: Topic,
    group: Group = "default", count: Count = None, idle: Idle = None, lease: Lease = None, raw: Raw = False,
) -> None:  # fmt: skip
    """Take messages as they come, write each, ack it. Ends with Ctrl-C."""
    shell.client.topic(topic)
    shell.out.remark(f"Waiting for messages of {topic}; Ctrl-C ends.")
    taken = 0
    credit = CREDIT if count is None else min(CREDIT, count)
    with shell.client.session() as session:
        try:
            for message in session.consume(topic, credit=credit, subscription=group, lease_s=lease, idle_s=idle):
                _write(shell, message, raw)
                session.ack(message)
                taken += 1
                if taken == count:
                    break
        finally:
            _end(session)


def _end(session: Session) -> None:
    """Say which messages are done. Raises OutcomeUnknown where nobody answers."""
    try:
        session.flush(FLUSH_S)
    except TimeoutError:
        text = f"Nobody answered the last acks within {FLUSH_S:g} s: those messages come again where they do not count."
        raise errors.OutcomeUnknown(text, code="no_answer") from None


def _write(shell: Shell, message: Message, raw: bool) -> None:
    if raw:
        sys.stdout.buffer.write(bodies.written(message.body))
        sys.stdout.buffer.flush()
        return
    if shell.out.for_people:
        shell.out.console.print(heading(message))
    shell.out.line(message, lambda: bodies.shown(message.body))


def heading(message: Message) -> Text:
    """What stands beside a body, for people."""
    parts = [f"#{message.sequence}", f"{message.published_at:%H:%M:%S}"]
    if message.group is not None:
        parts.append(f"group {message.group}")
    if message.deliveries > 1:
        parts.append(f"delivery {message.deliveries}")
    parts += [f"{name}={value}" for name, value in message.headers.items()]
    return Text("  ".join(parts), style="dim")
