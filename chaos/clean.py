"""`make chaos-clean`: remove what runs have left that could not do it themselves.

    python -m chaos.clean                  clusters, planted images and scratch directories of all runs
    python -m chaos.clean sweep PROJECT    one run's cluster
    python -m chaos.clean mend PROJECT     somebody's cluster: heal what is broken, delete the topics of runs

Rules of this file: a run that still goes on is left alone, and said to be.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from docker.errors import APIError

from chaos import attached, engine
from chaos.alone import Alone, InUse
from chaos.cluster import ClusterError
from chaos.override import FILES
from chaos.own import PROJECT
from chaos.planted import IMAGES, SCRATCH
from chaos.reaper import log_of

TEMPORARY = Path(tempfile.gettempdir())
USAGE = "Write `python -m chaos.clean`, or `sweep PROJECT` or `mend PROJECT` after it."


def sweep(project: str) -> int:
    """Remove a run's cluster and its files; how much of it there was. InUse while it goes on."""
    alone = Alone(project)
    try:
        return engine.sweep(project) + _remove(f"{project}-*")
    finally:
        alone.release()


def sweep_all() -> int:
    """Remove the clusters of all runs, planted images, scratch directories; how much there was."""
    count = sum(sweep(f"{PROJECT}{size}") for size in FILES) + _remove(f"{SCRATCH}*")
    for log in TEMPORARY.glob(log_of("*").name):
        log.unlink(missing_ok=True)
    for image in engine.client().images.list(IMAGES):
        engine.client().images.remove(str(image.id), force=True)
        count += 1
    return count


def mend(project: str) -> None:
    """Heal somebody's cluster. Refused, ClusterError, InUse."""
    attached.attach(project, beside_others=True).mend()


def _remove(pattern: str) -> int:
    found = list(TEMPORARY.glob(pattern))
    for each in found:
        shutil.rmtree(each, ignore_errors=True)
    return len(found)


def main(words: list[str]) -> int:
    """0 when all is clean, 1 with a sentence when it may be so at the next try, 2 when trying again changes nothing."""
    try:
        match words:
            case []:
                print(f"Removed: {sweep_all()} containers, networks, volumes, images and directories of chaos runs.")
            case ["sweep", project]:
                sweep(project)
            case ["mend", project]:
                mend(project)
                print(f"{project} is whole, without topics of chaos runs.")
            case _:
                print(USAGE, file=sys.stderr)
                return 2
    except (InUse, attached.Refused) as error:
        print(error, file=sys.stderr)
        return 2
    except (ClusterError, engine.EngineError, APIError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
