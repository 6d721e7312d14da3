"""`python3 -m scripts COMMAND`: what the Makefile calls. Exit code 1 and one sentence when it cannot go on."""

from __future__ import annotations

import shutil
import sys

from scripts import base_image, containers, processes, testing
from scripts.console import STATE, Failure, say


def run() -> None:
    """The cluster in containers, or as local processes where there is no engine."""
    if processes.running():
        say("RMQ was started as local processes (`make stop` first if you want containers).")
        return processes.start()
    reason = containers.why_not()
    if not reason:
        try:
            return containers.start()
        except base_image.NoBaseImage as missing:
            reason = str(missing).rstrip(".")
    say(f"{reason[0].upper()}{reason[1:]}: starting the three nodes as local processes instead.")
    return processes.start()


def local() -> None:
    """The cluster as local processes, engine or not."""
    if not containers.why_not() and containers.running():
        raise Failure("RMQ runs as containers on these ports: `make stop` first, then `make local`.")
    processes.start()


def stop() -> None:
    """End either kind; the data stays."""
    stopped = [processes.stop(), containers.stop()]
    say("RMQ is stopped; its data is kept." if any(stopped) else "RMQ was not running.")


def clean() -> None:
    """End either kind and forget the data."""
    processes.stop()
    containers.stop(volumes=True)
    shutil.rmtree(STATE, ignore_errors=True)
    say("RMQ's data is gone: volumes and .rmq.")


COMMANDS = {
    "run": run, "local": local, "stop": stop, "clean": clean,
    "build": containers.build_all, "test": testing.test, "lint": testing.lint,
    "sim": testing.sim, "bench": testing.bench, "chaos": testing.chaos,
    "chaos-clean": testing.chaos_clean,
}


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        say(f"Write one of: {', '.join(COMMANDS)}.")
        return 2
    try:
        COMMANDS[name]()
    except Failure as failure:
        print(f"make {name}: {failure}" if "\n" not in str(failure) else str(failure), file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
