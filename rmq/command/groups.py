"""`rmq group …`: groups of consumers, each with every message of the topic; the HTTP API calls them subscriptions."""

from __future__ import annotations

from typing import Annotated

import typer

from rmq.command.shell import Shell, Topic, Yes, command, number, option

app = typer.Typer(no_args_is_help=True, help="Groups of consumers: each gets every message of the topic.")
Start = Annotated[str, option("--start", "earliest|latest|N", "The first message it gets: latest if not said.")]
WORDS = "earliest", "latest"
Name = Annotated[str, typer.Argument(metavar="GROUP", show_default=False)]


@command(app, "ls")
def ls(shell: Shell, topic: Topic) -> None:
    """All groups of a topic, with their counts."""
    found = shell.client.subscriptions(topic)
    rows = [(each.name, each.start, each.ready, each.leased, each.delayed, each.dead) for each in found]
    shell.out.table(["GROUP", ">START", ">READY", ">LEASED", ">DELAYED", ">DEAD"], rows, found)


@command(app, "create")
def create(shell: Shell, topic: Topic, name: Name, start: Start = "latest") -> None:
    """Make a group, which gets every message from its start on."""
    place = start if start in WORDS else number("--start", start, int, *WORDS)
    first = shell.client.create_subscription(topic, name, place)
    shell.out.done(
        {"topic": topic, "name": name, "start": first}, f"Group {name} gets messages of {topic} from number {first} on."
    )


@command(app, "rm")
def rm(shell: Shell, topic: Topic, name: Name, yes: Yes = False) -> None:
    """Delete a group; what it alone had kept goes with it."""
    shell.confirm(f"Delete the group {name} of {topic}, and the messages that it alone has kept?", yes)
    shell.client.delete_subscription(topic, name)
    shell.out.done({"topic": topic, "name": name, "deleted": True}, f"Group {name} of {topic} is gone.")
