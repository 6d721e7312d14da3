"""`python -m bench`: RMQ's figures against its goals, and with --peers those of others beside them.

The first parts go round in runs, with a table at the end; the others print what they find as they go.
"""

from __future__ import annotations

import argparse
import signal
import sys

import uvloop

from bench.backlog import backlog
from bench.cluster import LocalCluster
from bench.figures import Figures
from bench.machine import head, now
from bench.peers.choice import NAMES, chosen
from bench.peers.peer import Peer
from bench.polls import polls
from bench.report import markdown, save
from bench.rounds import PARTS, Plan, measure
from bench.waiting import waiting

MORE = ("backlog", "polls", "waiting")


def main() -> None:
    """Parse the command line and run."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    names = [name for name in options.peers.split(",") if name]
    if unknown := set(names) - set(NAMES):
        raise SystemExit(f"--peers knows {', '.join(NAMES)}, not {', '.join(sorted(unknown))}.")
    wanted = options.only or [*PARTS, *(() if names else MORE)]
    parts = frozenset(wanted) & PARTS.keys()
    if parts:
        _rounds(options, names, parts)
    more = {
        "backlog": lambda cluster: backlog(cluster, options.backlog),
        "polls": lambda cluster: polls(cluster, options.pairs, options.seconds),
        "waiting": lambda cluster: waiting(cluster, options.backlog, options.pairs),
    }
    for name in MORE:
        if name in wanted:
            print(f"\n{name}:")
            with LocalCluster() as cluster:
                uvloop.run(more[name](cluster))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--peers", default="", help=f"with commas: {', '.join(NAMES)}")
    parser.add_argument("--runs", type=int, default=5, help="of each load (default 5)")
    parser.add_argument("--seconds", type=float, default=3, help="length of each load (default 3)")
    parser.add_argument("--kills", type=int, default=20, help="faults of each kind, in all runs together (default 20)")
    parser.add_argument("--backlog", type=int, default=1_000_000, help="messages that wait (default 1000000)")
    parser.add_argument("--pairs", type=int, default=5, help="turns of a full and an empty topic (default 5)")
    parser.add_argument("--only", action="append", choices=(*PARTS, *MORE), help="one part alone; may be repeated")
    return parser.parse_args()


def _rounds(options: argparse.Namespace, names: list[str], parts: frozenset[str]) -> None:
    peers, figures, notes, time = chosen(names), Figures(), list[str](), now()
    plan = Plan(options.runs, options.seconds, options.kills, options.backlog, parts)
    try:
        measure(peers, plan, figures, notes)
    finally:
        _tell(peers, plan, figures, notes, time)


def _tell(peers: list[Peer], plan: Plan, figures: Figures, notes: list[str], time: str) -> None:
    """The report of what there is, also where the measurement broke off."""
    seen = {key.peer for key in figures.values}
    told = head(time, plan.runs, {peer.key: peer.name for peer in peers if peer.key in seen}, notes)
    print(f"\n{markdown(told, figures)}")
    print(f"All values: {save(told, figures)}")


if __name__ == "__main__":
    main()
