"""`rmq cluster …`: the nodes, who leads, how far each one is; hand the leadership over."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rmq import errors
from rmq.command import exits
from rmq.command.output import grid
from rmq.command.shell import Shell, command, option
from rmq.topics import Cluster, Member

app = typer.Typer(no_args_is_help=True, help="The nodes of the cluster.")
To = Annotated[int | None, option("--to", "NODE", "Left out: the most advanced one.", min=0)]
Every = Annotated[float, option("--every", "S", "Between two looks, 0.5 if not said.", min=0.1)]
Looks = Annotated[int | None, option("--count", "N", "Stop after so many looks.", min=1)]
COLUMNS = [">NODE", "ROLE", ">TERM", ">FIRST", ">LAST", ">COMMITTED", ">APPLIED", ">LAG", "STATE", "URL"]
_STYLES = {"Leader": "bold green", "Follower": "", "Candidate": "yellow"}


@command(app, "status")
def status(shell: Shell) -> None:
    """Every node: role, term, positions in the log, and by how many entries it is behind the leader."""
    found = shell.client.cluster()
    if shell.out.as_json:
        shell.out.fields(found, {})
        return
    shell.out.show(table(found, shell.out.is_terminal))


@command(app, "transfer")
def transfer(shell: Shell, to: To = None) -> None:
    """Hand the leadership to another node, before this one is stopped, say."""
    leader = shell.client.transfer_leadership(to)
    shell.out.done({"leader": leader}, f"Node {leader} leads.")


@command(app, "watch")
def watch(shell: Shell, every: Every = 0.5, count: Looks = None) -> None:
    """The same, again and again: a live table at a terminal, a JSON object a line with --json. Ctrl-C ends."""
    looks = 0
    with Live(console=shell.out.console, auto_refresh=False, transient=False, screen=False) as live:
        while True:
            try:
                found: Cluster | errors.Error = shell.client.cluster()
            except errors.Unavailable as error:
                found = error
            _show(shell, live, found)
            looks += 1
            if looks == count:
                return
            time.sleep(every)


def _show(shell: Shell, live: Live, found: Cluster | errors.Error) -> None:
    if isinstance(found, errors.Error):
        if shell.out.for_people:
            live.update(Text(exits.sentence(found), style="red"), refresh=True)
        else:
            raise found
    elif shell.out.for_people:
        rest = Text(f"term {found.term}, as node {found.node} sees it; Ctrl-C ends", style="dim")
        live.update(Group(table(found, True), rest), refresh=True)
    elif shell.out.as_json:
        shell.out.line(found, str)
    else:
        shell.out.show(table(found, False))


def table(found: Cluster, is_terminal: bool) -> Table:
    """A line for each node."""
    return grid(COLUMNS, [_row(member) for member in found.members], is_terminal)


def _row(member: Member) -> list[object]:
    role = Text(member.role or "-", style=_STYLES.get(member.role or "", "dim"))
    return [
        member.node, role, member.term, member.first_log_index, member.last_log_index, member.commit_index,
        member.applied_index, member.lag, _state(member), member.url,
    ]  # fmt: skip


def _state(member: Member) -> Text:
    if not member.reachable:
        return Text("unreachable", style="red")
    if member.disk_full:
        return Text("disk full", style="red")
    return Text("ready", style="green") if member.ready else Text("not ready", style="yellow")
