"""The command line of `python -m bench`, and what it may not ask for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from bench.peers.choice import NAMES
from bench.rounds import PARTS
from bench.scale.sweeps import BY_KEY

MORE = ("sdk", "backlog", "polls", "waiting", "worn")


def options(arguments: list[str] | None, about: str | None) -> argparse.Namespace:
    """What it says, with `peers` and `only` as lists of known names. SystemExit with one sentence."""
    found = _parser(about).parse_args(arguments)
    found.peers = [name for name in found.peers.split(",") if name]
    if found.scale and found.peers:
        raise SystemExit("--scale measures RMQ alone: leave --peers away.")
    if found.pictures and not found.scale:
        raise SystemExit("--pictures belongs to --scale.")
    _known("--peers", found.peers, NAMES)
    _known("--only, with --scale," if found.scale else "--only", found.only, BY_KEY if found.scale else [*PARTS, *MORE])
    found.only = found.only or list(BY_KEY if found.scale else [*PARTS, *(() if found.peers else MORE)])
    for name, scaled, otherwise, least in (("runs", 3, 5, 1), ("seconds", 2.0, 3.0, 0.1), ("backlog", 10**7, 10**6, 0)):
        if getattr(found, name) is None:
            setattr(found, name, scaled if found.scale else otherwise)
        if getattr(found, name) < least:
            raise SystemExit(f"--{name} is at least {least}, not {getattr(found, name)}.")
    return found


def _known(option: str, names: Iterable[str], known: Iterable[str]) -> None:
    if unknown := set(names) - set(known):
        raise SystemExit(f"{option} knows {', '.join(known)}, not {', '.join(sorted(unknown))}.")


def _parser(about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=about)
    parser.add_argument("--peers", default="", help=f"with commas: {', '.join(NAMES)}")
    parser.add_argument("--scale", action="store_true", help="how it scales, as pictures, in place of the figures")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="the pictures go there, too")
    parser.add_argument("--runs", type=int, help="of each load (default 5; with --scale 3)")
    parser.add_argument("--seconds", type=float, help="length of each load (default 3; with --scale 2)")
    parser.add_argument("--kills", type=int, default=20, help="faults of each kind, in all runs together (default 20)")
    parser.add_argument(
        "--backlog", type=int, help="messages that wait (default 1000000); with --scale at most (default 10000000)"
    )
    parser.add_argument("--pairs", type=int, default=5, help="turns of two, as a full and an empty topic (default 5)")
    parts, sweeps = ", ".join([*PARTS, *MORE]), ", ".join(BY_KEY)
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART",
        help=f"one part alone: {parts}; with --scale {sweeps}; may be repeated",
    )  # fmt: skip
    return parser
