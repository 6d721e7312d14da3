"""What every command gets: a `Shell`, made from the options that all of them share.

    @command(app, "ls")
    def ls(shell: Shell, prefix: Annotated[str, typer.Option(help="…")] = "") -> None:
        shell.out.table(…, shell.client.topics(prefix))

The shared options may stand before the command or behind it: `rmq --json topic ls`, `rmq topic ls --json`.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from rmq.client import Client
from rmq.command.config import chosen
from rmq.command.exits import CannotWrite, ReaderGone, UsageError
from rmq.command.output import Output
from rmq.policy import Retry

TIMEOUT_S = 10.0
WHOLE_MAX = (1 << 53) - 1
"""The largest number that the API takes, and that is exact in all of JSON."""
SHOWN_CHARACTERS = 40
"""Of a text that is no number, in a sentence."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
F = TypeVar("F", bound=Callable[..., None])
N = TypeVar("N", int, float)

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL[,URL]", help="Nodes to talk to; else RMQ_URL.", show_default=False),
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="A cluster of `rmq context ls`; else RMQ_CONTEXT.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for programs.", show_default=False)]
Timeout = Annotated[
    float | None,
    typer.Option("--timeout", metavar="S", min=0, help=f"How long to try a call, {TIMEOUT_S:g} s if not said."),
]


@dataclasses.dataclass(frozen=True)
class Shared:
    """The options that all commands have."""

    url: str | None = None
    context: str | None = None
    json: bool = False
    timeout: float | None = None

    def over(self, other: Shared) -> Shared:
        """These, and where nothing is said the other's."""
        mine = dataclasses.asdict(self)
        said = {name: value for name, value in mine.items() if value is not None and value is not False}
        return dataclasses.replace(other, **said)


class Shell:
    """The client is made when it is first asked for. A context: it closes the client."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.out = Output(shared.json)

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        if "client" in self.__dict__:
            self.client.close()

    @functools.cached_property
    def urls(self) -> str | list[str] | None:
        """The nodes to talk to; None: those of `make run`."""
        return chosen(self._shared.url, self._shared.context)

    @property
    def retry(self) -> Retry:
        """How long to try."""
        return Retry(total_s=TIMEOUT_S if self._shared.timeout is None else self._shared.timeout)

    @functools.cached_property
    def client(self) -> Client:
        """The cluster. UsageError for what is no URL."""
        try:
            return Client(self.urls, retry=self.retry)
        except ValueError as error:
            raise UsageError(f"{error}.") from None

    def confirm(self, question: str, yes: bool) -> None:
        """Ask before something is lost; where nobody can be asked, --yes must have been said."""
        if yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{question} Nobody can be asked here: add --yes.")
        if not typer.confirm(question, err=True):
            raise UsageError("Nothing was done.")


_HINTS = {"url": Url, "context": Context, "json": AsJson, "timeout": Timeout}
_SHARED = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(Shared(), name), annotation=hint)
    for name, hint in _HINTS.items()
]


def command(app: typer.Typer, name: str) -> Callable[[F], F]:
    """Make a function a command: its first parameter is the shell, the shared options are added to its own."""

    def register(function: F) -> F:
        hints = get_type_hints(function, include_extras=True)
        own = [
            each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for each in list(inspect.signature(function).parameters.values())[1:]
        ]
        context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [context, *own, *_SHARED]

        def run(ctx: typer.Context, **given: Any) -> None:
            shared = Shared(**{name: given.pop(name) for name in _HINTS})
            try:
                with Shell(shared.over(ctx.find_root().obj or Shared())) as shell:
                    function(shell, **given)
                    sys.stdout.flush()
            except BrokenPipeError:
                raise ReaderGone from None
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                text = f"What comes out cannot be written ({error.strerror}): make room, or write it elsewhere."
                raise CannotWrite(text) from None

        run.__doc__ = function.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name)(run)
        return function

    return register


def topics_by_name(incomplete: str) -> list[str]:
    """For the completion of a topic's name: what there is, or nothing when that takes long."""
    try:
        with Client(chosen(None, None), retry=Retry(total_s=0, attempt_s=1, connect_s=0.5)) as client:
            return [topic.name for topic in client.topics(incomplete)]
    except Exception:  # a completion that fails completes nothing, and says nothing into the line being typed
        return []


def option(name: str, metavar: str, help: str, **more: Any) -> Any:
    """An option that has a value."""
    return typer.Option(name, metavar=metavar, help=help, show_default=False, **more)


def number(option: str, text: str, kind: Callable[[str], N], *words: str) -> N:
    """The value of an option that may also be one of these words. UsageError for what is no such number, or one with
    more digits than Python reads."""
    try:
        return kind(text)
    except ValueError:
        said = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
        either = " or ".join(["a number", *(f"`{word}`" for word in words)])
        raise UsageError(f"{option} is {either}, not {said!r}.") from None


Topic = Annotated[str, typer.Argument(metavar="TOPIC", show_default=False, autocompletion=topics_by_name)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]
