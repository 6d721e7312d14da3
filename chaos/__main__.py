"""`python -m chaos`: run scenarios, judge them, write the report. Exit code 0 only when every one of them passes.

    0  all passed            2  a word on the command line makes no sense; nothing was run
    1  one failed, or is inconclusive, or could not be run
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path

from chaos import hunt, planted, session
from chaos.alone import InUse
from chaos.attached import Refused, attach
from chaos.engine import EngineError
from chaos.history import HistoryError
from chaos.regressions import REGRESSIONS
from chaos.run import Task, usable
from chaos.scenarios import DEFAULT, FULL_S, Scenario, UnknownScenario, find, nodes_of
from scripts import containers
from scripts.console import Failure

REPORTS = Path(__file__).resolve().parent / "report"
LEAST_SECONDS = 20.0


def main() -> int:
    """Parse the command line and run."""
    options = _options()
    if options.list:
        _list()
        return 0
    try:
        return _run(options)
    except (UnknownScenario, planted.UnknownPlant, FileNotFoundError, Refused) as error:
        print(error, file=sys.stderr)
        return 2
    except (Failure, HistoryError, planted.Rotted, EngineError, InUse) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: the scenario that was running is not judged.", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.check:
        return session.check_again(options.check)
    root = REPORTS / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    if options.planted:
        planted.find(options.planted)
        _need_engine()
        return hunt.hunt(options.planted, root, options.seed)
    if options.attach:
        _need_engine()
        return asyncio.run(session.run_all(_borrowed(options, root), root))
    tasks = _tasks(options, root)
    _need_engine()
    if not options.image:
        containers.build()
    return asyncio.run(session.run_all(tasks, root))


def _need_engine() -> None:
    reason = containers.why_not()
    if reason:
        raise Failure(f"{reason}: chaos breaks containers, so it needs a Docker engine with Compose.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Break a cluster of containers, and judge it.")
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    parser.add_argument("--scenario", metavar="NAME[,NAME]", help="these alone (default: all)")
    parser.add_argument("--seed", type=int, help="repeat this schedule (default: a new one)")
    parser.add_argument("--seconds", type=float, default=FULL_S, help=f"length of each (default {FULL_S:.0f})")
    parser.add_argument("--nodes", type=int, choices=(3, 5), help="nodes (default: as many as the scenario needs)")
    parser.add_argument("--image", help="an image that is there already (default: build this folder's)")
    parser.add_argument("--attach", metavar="PROJECT", help="borrow this running Compose project's cluster")
    parser.add_argument("--beside-other-topics", action="store_true", help="borrow it though it has topics of others")
    parser.add_argument("--planted", metavar="NAME", help="plant this fault, or `all`, in a throwaway image")
    parser.add_argument("--regressions", action="store_true", help="the schedules that once turned red")
    parser.add_argument("--check", metavar="DIR", type=Path, help="judge the history in this folder once more")
    options = parser.parse_args()
    if options.seconds < LEAST_SECONDS:
        parser.error(f"--seconds must be at least {LEAST_SECONDS:.0f}: less proves nothing.")
    return options


def _list() -> None:
    for scenario in DEFAULT:
        print(f"{scenario.name:<17} {scenario.nodes} nodes  {scenario.text}")
    for plant in planted.PLANTS:
        print(f"PLANTED={plant.name:<15} {plant.scenario}: {plant.text}")


def _tasks(options: argparse.Namespace, root: Path) -> list[Task]:
    image = options.image or containers.IMAGE
    if options.regressions:
        return [
            Task(find(each.scenario), each.seed, each.seconds, each.nodes, image, root / f"{each.scenario}-{each.seed}")
            for each in REGRESSIONS
        ]
    return [
        Task(each, _seed(options), options.seconds, nodes_of(each, options.nodes), image, root / each.name)
        for each in _chosen(options) or DEFAULT
    ]


def _borrowed(options: argparse.Namespace, root: Path) -> list[Task]:
    """The same on somebody's cluster, without the faults that are not for it."""
    cluster = attach(options.attach, beside_others=options.beside_other_topics)
    if options.nodes not in (None, cluster.size):
        raise Refused(f"{options.attach} has {cluster.size} nodes: leave --nodes out.")
    cluster.look()
    image = cluster.image(0)
    cluster.close()
    fit = set(usable(cluster.size, borrowed=True))
    possible = [each for each in DEFAULT if each.nodes <= cluster.size and fit & set(each.faults)]
    chosen = _chosen(options) or possible
    for each in chosen:
        if each not in possible:
            raise UnknownScenario(f"{each.name} needs more nodes than {options.attach} has, or a cluster of its own.")
    return [
        Task(
            each, _seed(options), options.seconds, cluster.size, image, root / each.name, options.attach,
            options.beside_other_topics,
        )
        for each in chosen
    ]  # fmt: skip


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    return [find(name) for name in options.scenario.split(",")] if options.scenario else []


def _seed(options: argparse.Namespace) -> int:
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1_000_000)
    return int(options.seed)


if __name__ == "__main__":
    sys.exit(main())
