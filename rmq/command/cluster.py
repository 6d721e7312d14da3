"""`rmq cluster …`: the nodes, who leads, how far each one is; hand the leadership over."""

from __future__ import annotations

import asyncio
import sys
from time import monotonic
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rmq.command.looking import Looker
from rmq.command.output import grid
from rmq.command.picture import Picture, Row, of_answers
from rmq.command.shell import WHOLE_MAX, Shell, command, option

app = typer.Typer(no_args_is_help=True, help="The nodes of the cluster.")
To = Annotated[int | None, option("--to", "NODE", "Left out: the most advanced one.", min=0, max=WHOLE_MAX)]
Every = Annotated[float, option("--every", "S", "Between two looks, 0.5 if not said.", min=0.1)]
Looks = Annotated[int | None, option("--count", "N", "Stop after so many looks.", min=1, max=WHOLE_MAX)]
COLUMNS = [">NODE", "ROLE", ">TERM", ">FIRST", ">LAST", ">COMMITTED", ">APPLIED", ">LAG", "STATE", "URL"]
_STYLES = {"Leader": "bold green", "Follower": "", "Candidate": "yellow"}


@command(app, "status")
def status(shell: Shell) -> None:
    """Every node: role, term, positions in the log, and by how many entries it is behind the leader."""
    found = asyncio.run(_once(shell))
    if found.error is not None:
        # Nobody answers soon; a call is patient.
        found = of_answers([shell.client.cluster()], {})
    if shell.out.as_json:
        shell.out.fields(found, {})
        return
    shell.out.show(table(found, shell.out.is_terminal))
    if differ := diverged(found):
        print(f"rmq: {differ}", file=sys.stderr)


@command(app, "transfer")
def transfer(shell: Shell, to: To = None) -> None:
    """Hand the leadership to another node, before this one is stopped, say."""
    leader = shell.client.transfer_leadership(to)
    shell.out.done({"leader": leader}, f"Node {leader} leads.")


@command(app, "watch")
def watch(shell: Shell, every: Every = 0.5, count: Looks = None) -> None:
    """The same, again and again, also while nobody answers: a live table at a terminal, a JSON object a line with
    --json. Ctrl-C ends."""
    asyncio.run(_again(shell, every, count))


async def _once(shell: Shell) -> Picture:
    async with Looker(shell.client.urls) as looker:
        return await looker.look()


async def _again(shell: Shell, every_s: float, count: int | None) -> None:
    looks, due = 0, monotonic()
    async with Looker(shell.client.urls) as looker:
        with Live(console=shell.out.console, auto_refresh=False, transient=False, screen=False) as live:
            while True:
                _show(shell, live, await looker.look(every_s))
                looks += 1
                if looks == count:
                    return
                due = max(due + every_s, monotonic())
                await asyncio.sleep(due - monotonic())


def _show(shell: Shell, live: Live, found: Picture) -> None:
    if shell.out.for_people:
        live.update(Group(table(found, True), *_remarks(found)), refresh=True)
    elif shell.out.as_json:
        shell.out.line(found, str)
    else:
        shell.out.show(table(found, False))
        if found.error is not None:
            print(f"rmq: {found.error}", file=sys.stderr)


def _remarks(found: Picture) -> list[Text]:
    remarks = [Text(differ, style="bold red")] if (differ := diverged(found)) else []
    if silent := [f"node {each.node} for {each.silent_s:.0f} s" for each in found.members if each.silent_s]:
        # On a narrow terminal the table has no room for it.
        remarks.append(Text(f"No answer from {', '.join(silent)}", style="red"))
    if found.error is None:
        return [*remarks, Text(f"term {found.term}, as node {found.node} sees it; Ctrl-C ends", style="dim")]
    return [*remarks, Text(f"No node answers. {found.error}", style="red"), Text("Ctrl-C ends", style="dim")]


def diverged(found: Picture) -> str:
    """What there is to say of replicas whose states are not the same; nothing where there are none."""
    differ = [str(each.node) for each in found.members if each.state_differs]
    if not differ:
        return ""
    one = f"node {differ[0]} has another state than the others"
    who = f"nodes {', '.join(differ)} have different states" if differ[1:] else one
    return f"The replicas have diverged: {who} at the same entry of the log. Keep the data of all."


def table(found: Picture, is_terminal: bool) -> Table:
    """A line for each node."""
    return grid(COLUMNS, [_row(member) for member in found.members], is_terminal)


def _row(member: Row) -> list[object]:
    role = Text(member.role or "-", style=_STYLES.get(member.role or "", "dim"))
    return [
        member.node, role, member.term, member.first_log_index, member.last_log_index, member.commit_index,
        member.applied_index, member.lag, _state(member), member.url,
    ]  # fmt: skip


def _state(member: Row) -> Text:
    if not member.reachable:
        age = f" for {member.silent_s:.0f} s" if member.silent_s else ""
        return Text(f"no answer{age}", style="red")
    if member.state_differs:
        return Text("differs", style="bold red")
    if member.disk_full:
        return Text("disk full", style="red")
    return Text("ready", style="green") if member.ready else Text("not ready", style="yellow")
