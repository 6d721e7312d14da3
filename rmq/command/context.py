"""`rmq context …`: clusters by name."""

from __future__ import annotations

from typing import Annotated

import typer

from rmq.command.config import Contexts
from rmq.command.shell import Shell, command

app = typer.Typer(no_args_is_help=True, help="Clusters by name.")
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@command(app, "add")
def add(
    shell: Shell, name: Name, nodes: Annotated[str, typer.Argument(metavar="URL[,URL]", show_default=False)]
) -> None:
    """Name a cluster, or change where it is. The first one is used at once."""
    contexts = Contexts()
    contexts.add(name, nodes)
    used = contexts.current == name
    shell.out.done(
        {"name": name, "urls": contexts.urls[name], "current": used},
        f"{name}: {', '.join(contexts.urls[name])}" + ("" if used else f" (`rmq context use {name}` to use it)"),
    )


@command(app, "ls")
def ls(shell: Shell) -> None:
    """All of them; a star marks the current one."""
    contexts = Contexts()
    items = [{"name": name, "urls": urls, "current": name == contexts.current} for name, urls in contexts.urls.items()]
    rows = [("*" if name == contexts.current else "", name, ", ".join(urls)) for name, urls in contexts.urls.items()]
    shell.out.table(["", "NAME", "NODES"], rows, items)


@command(app, "use")
def use(shell: Shell, name: Name) -> None:
    """Talk to this one from now on."""
    Contexts().use(name)
    shell.out.done({"name": name, "current": True}, f"Commands talk to {name} now.")


@command(app, "rm")
def rm(shell: Shell, name: Name) -> None:
    """Forget one; the cluster itself is not touched."""
    Contexts().remove(name)
    shell.out.done({"name": name, "removed": True}, f"{name} is forgotten.")
