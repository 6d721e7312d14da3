"""`rmq verify`: use the cluster while it is being broken, and say whether anything was lost, doubled or out of order.

Theory. Publishers and consumers write down what they asked and what they were answered; then the checker of the chaos
tests judges that history, as it judges those of `make chaos` (docs/chaos.md). Faults are up to the user: `docker kill`,
`docker pause`, pulling a cable. What the run proves is what the sentences at its end say, and no more.

    0    nothing is wrong
    1    something is: each kind with examples
    4    there was no cluster, or it did not come back: nothing is claimed
    130  Ctrl-C came twice; the first one ends the load, and the verdict is on what was seen until then

Rules of this file: the checker, and what it needs, is imported when the command runs and not before.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmq.beside import make_importable
from rmq.command import exits, scratch
from rmq.command.exits import UsageError
from rmq.command.shell import Shell, command, option
from rmq.policy import Nodes
from rmq.wire import urls_or_default

if TYPE_CHECKING:
    from rmq.command.verifying.words import Result

Seconds = Annotated[float, option("--seconds", "S", "The load's length, 30 if not said.", min=1, max=86_400)]
Clients = Annotated[int, option("--clients", "N", "Publishers, and as many consumers: 4 if not said.", min=1, max=200)]
Keep = Annotated[Path | None, option("--keep", "FILE", "Keep the history, a JSON object a line.")]
CODES = {"passed": exits.DONE, "wrong": exits.WRONG, "inconclusive": exits.UNAVAILABLE}


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "verify")(verify)


def verify(shell: Shell, seconds: Seconds = 30.0, clients: Clients = 4, keep: Keep = None) -> None:
    """Use the cluster while you break it, then judge: was anything lost, doubled, out of order? Ctrl-C ends early."""
    with tempfile.TemporaryDirectory(prefix="rmq-verify-") as directory:
        result = _run(shell, seconds, clients, keep, Path(directory) / "history.jsonl")
        from rmq.command.verifying import words

        if shell.out.as_json:
            shell.out.fields(words.as_json(result), {})
        else:
            for line in words.lines(result):
                shell.out.console.print(line)
    if code := CODES[result.verdict]:
        raise typer.Exit(code)


def _run(shell: Shell, seconds: float, clients: int, keep: Path | None, scrap: Path) -> Result:
    make_importable()
    try:
        from chaos.checker import check
        from chaos.history import read
        from rmq.command.verifying import course, words
        from rmq.command.verifying.notes import Notes
    except ModuleNotFoundError as error:
        raise UsageError(f"verify needs {error.name}: pip install '.[cli]' in RMQ's folder.") from None

    plan = course.Plan(Nodes(urls_or_default(shell.urls)).urls, seconds, clients, shell.retry.total_s)
    out = shell.out
    looks = out.remarks.is_terminal and not out.remarks.is_dumb_terminal
    try:
        notes = Notes(keep or scrap)
    except OSError as error:
        raise UsageError(f"{keep} cannot be written ({error.strerror}): name another file.") from None
    with notes:
        live = out.remarks if looks else None
        seen = scratch.run(lambda enough: course.run(plan, notes, enough, live), patient=True)
    return words.Result(plan, notes, seen, check(read(keep or scrap)), keep)
