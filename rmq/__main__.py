"""`python -m rmq` and `rmq`: the command, or how to get it."""

from __future__ import annotations

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
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
