"""`python -m rmq` and `rmq`: the command, or how to get it."""

from __future__ import annotations

import io
import sys


def main() -> int:
    """The command's exit code."""
    try:
        from rmq.command.main import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rmq"):
            raise
        print(f"The command needs {error.name}: pip install '.[cli]' in RMQ's folder", file=sys.stderr)
        return 2
    for name, stream in (("input", sys.stdin), ("output", sys.stdout), ("error", sys.stderr)):
        if stream is None:
            # A connection could get its number, and be written to.
            print(f"rmq: Standard {name} is closed: where it is not wanted, let it be /dev/null.", file=sys.stderr)
            return 2
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
