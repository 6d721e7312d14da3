"""All commands together, and what becomes of errors: one sentence on standard error, and an exit code (`exits`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import rmq
from rmq.command import (
    bench,
    cluster,
    context,
    dead_letters,
    exits,
    groups,
    peeking,
    publishing,
    subscribing,
    topics,
    verify,
)
from rmq.command.shell import AsJson, Context, Shared, Timeout, Url

app = typer.Typer(
    name="rmq", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 verify found a fault, 2 usage, 3 refused, 4 not available, 5 outcome unknown, "
    "6 partly done.",
)  # fmt: skip
app.add_typer(topics.app, name="topic")
publishing.register(app)
subscribing.register(app)
peeking.register(app)
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(groups.app, name="group")
app.add_typer(cluster.app, name="cluster")
app.add_typer(context.app, name="context")
bench.register(app)
verify.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rmq {rmq.__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context, url: Url = None, context: Context = None, json: AsJson = False, timeout: Timeout = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it.")] = False,
) -> None:  # fmt: skip
    """RMQ, the Raft Message Queue: topics, messages and the cluster, from a terminal or a script."""
    ctx.obj = Shared(url, context, json, timeout)


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    try:
        code = app(list(arguments), prog_name="rmq", standalone_mode=False)
        return code if isinstance(code, int) else exits.DONE
    except typer.TyperException as error:
        said = str(getattr(error, "format_message", error.__str__)())
        if said.startswith("Usage: "):
            # No command was named: this is the help, and its lines are to stay.
            print(said, file=sys.stderr)
            return exits.USAGE
        return _fail(_usage(error, said), exits.USAGE)
    except exits.Partly as error:
        return _fail(str(error), error.code)
    except exits.UsageError as error:
        return _fail(str(error), exits.USAGE)
    except (ValueError, TypeError) as error:
        if error.__traceback__ is None or not _is_from_client(error):
            raise
        return _fail(f"{error}.", exits.USAGE)
    except rmq.Error as error:
        return _fail(exits.sentence(error), exits.of(error))
    except (KeyboardInterrupt, typer.Abort):
        return exits.INTERRUPTED
    except exits.CannotWrite as error:
        _write_no_more()
        return _fail(str(error), exits.UNAVAILABLE)
    except exits.ReaderGone:
        _write_no_more()
        return exits.BROKEN_PIPE


def _write_no_more() -> None:
    """What is written and not yet out cannot go; python would complain of it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: typer.TyperException, said: str) -> str:
    """What typer says, in one line, and where help is."""
    ctx = getattr(error, "ctx", None)
    return f"{' '.join(said.split()).rstrip('.')}: see `{ctx.command_path if ctx else 'rmq'} --help`."


def _is_from_client(error: BaseException) -> bool:
    """Whether the client refused an argument, which is the user's doing and no fault of the command."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return str(name).startswith("rmq.") and not str(name).startswith("rmq.command")


def _fail(sentence: str, code: int) -> int:
    print(f"rmq: {sentence}", file=sys.stderr)
    return code
