"""`rmq dlq …`: messages that were handed out too often, or were too old: where they are, and another chance for them.

A topic with a `dead_letter_topic` sends them there; where it has none, or that one is full, they stand still where they
are, in the state "dead". Both are found here.
"""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from rmq.command import bodies
from rmq.command.shell import WHOLE_MAX, Shell, Topic, command, option, topics_by_name
from rmq.messages import Peeked

app = typer.Typer(no_args_is_help=True, help="Dead letters: where they are, and another chance for them.")
OneTopic = Annotated[str | None, typer.Argument(metavar="TOPIC", autocompletion=topics_by_name)]
Count = Annotated[int, option("--count", "N", "So many at most, 20 if not said.", min=1, max=WHOLE_MAX)]
Most = Annotated[int | None, option("--max", "N", "So many at most.", min=1, max=WHOLE_MAX)]
To = Annotated[str | None, option("--to", "TOPIC", "Not where they came from, but here.")]
BODY_WIDTH = 40


@command(app, "ls")
def ls(shell: Shell, topic: OneTopic = None, count: Count = 20) -> None:
    """Topics with dead letters, or the dead letters of one."""
    if topic is None:
        _topics(shell)
        return
    found = list(islice((each for each in shell.client.peek(topic) if _is_dead(each)), count))
    rows = []
    for each in found:
        origin = each.dead_letter
        came = (origin.topic, origin.deliveries, origin.at) if origin else (each.topic, each.deliveries, None)
        rows.append((each.sequence, each.state, *came, bodies.short(each.body, BODY_WIDTH)))
    shell.out.table([">NUMBER", "STATE", "FROM", ">DELIVERIES", "DIED", "BODY"], rows, found)


def _is_dead(message: Peeked) -> bool:
    return message.dead_letter is not None or message.state == "dead"


def _topics(shell: Shell) -> None:
    """Every topic that somebody's dead letters go to, and every one where dead messages stand still."""
    topics = list(shell.client.topics())
    sources: dict[str, list[str]] = {}
    for each in topics:
        if each.settings.dead_letter_topic is not None:
            sources.setdefault(each.settings.dead_letter_topic, []).append(each.name)
    items: list[dict[str, Any]] = []
    for each in topics:
        still = sum(group.dead for group in each.subscriptions)
        if each.name in sources or still:
            waiting = each.messages if each.name in sources else 0
            items.append({"topic": each.name, "from": sources.get(each.name, []), "messages": waiting, "dead": still})
    rows = [(each["topic"], ", ".join(each["from"]) or None, each["messages"], each["dead"]) for each in items]
    shell.out.table(["TOPIC", "DEAD LETTERS OF", ">MESSAGES", ">STAND STILL"], rows, items)


@command(app, "redrive")
def redrive(shell: Shell, topic: Topic, most: Most = None, to: To = None) -> None:
    """Another chance: dead letters go back to where they came from, those that stand still are ready again."""
    done = shell.client.redrive(topic, max=most, to=to)
    kept = f"; {done.kept:,} found no place and stay" if done.kept else ""
    counts = {"topic": topic, "moved": done.moved, "kept": done.kept}
    shell.out.done(counts, f"{done.moved:,} have another chance{kept}.")
