"""`python -m bench`: RMQ's figures against its goals, with --peers those of others beside them; or how it scales.

The first parts go round in runs, with a table at the end; the others print what they find as they go.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

import uvloop

from bench.backlog import backlog
from bench.cluster import LocalCluster
from bench.figures import Figures
from bench.machine import head, now
from bench.options import MORE, options
from bench.peers.choice import chosen
from bench.peers.peer import Peer
from bench.polls import polls
from bench.report import markdown, save
from bench.rounds import PARTS, Plan, measure
from bench.scale import report as scaled
from bench.scale import run as scale
from bench.scale.sweeps import Samples
from bench.sdk import sdk
from bench.waiting import waiting
from bench.worn import worn


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run."""
    wanted = options(arguments, __doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if wanted.scale:
        return _scale(wanted)
    if parts := frozenset(wanted.only) & PARTS.keys():
        _rounds(wanted, parts)
    more: dict[str, Callable[[LocalCluster], None]] = {
        "sdk": lambda cluster: sdk(cluster, wanted.runs, wanted.seconds),
        "backlog": lambda cluster: uvloop.run(backlog(cluster, wanted.backlog)),
        "polls": lambda cluster: uvloop.run(polls(cluster, wanted.pairs, wanted.seconds)),
        "waiting": lambda cluster: uvloop.run(waiting(cluster, wanted.backlog, wanted.pairs)),
        "worn": lambda cluster: uvloop.run(worn(cluster, wanted.pairs)),
    }
    for name in MORE:
        if name in wanted.only:
            print(f"\n{name}:")
            with LocalCluster() as cluster:
                more[name](cluster)


def _scale(wanted: argparse.Namespace) -> None:
    """The report is of what there is, also where the measurement broke off."""
    samples: Samples = {}
    notes, time = list[str](), now()
    try:
        scale.grow(scale.Plan(wanted.runs, wanted.seconds, wanted.backlog, wanted.only), samples, notes)
    finally:
        told = head(time, wanted.runs, {}, notes)
        print(f"\n{scaled.markdown(told, samples)}")
        print(f"All values and pictures: {scaled.save(told, samples, wanted.pictures)}")


def _rounds(wanted: argparse.Namespace, parts: frozenset[str]) -> None:
    peers, figures, notes, time = chosen(wanted.peers), Figures(), list[str](), now()
    plan = Plan(wanted.runs, wanted.seconds, wanted.kills, wanted.backlog, parts)
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
