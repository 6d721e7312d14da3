"""Which Python the environment is made of.

Theory: how an interpreter was compiled decides more than most of what we could do: the same Python 3.11 with and
without profile-guided optimization, which `pyenv` leaves out and distributions do not, are 1.2 times apart in what RMQ
does (docs/performance.md). No setting tells for sure how one was built, so each is asked to do a little work. Another
build takes the place of the one that runs this only where it is of the same version, can make environments, and is
clearly faster. Whoever names one (`make PYTHON=…`) gets that one.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import NamedTuple

from scripts.console import Failure, quiet, say

OLDEST = (3, 11)
CANDIDATES = ("python3", "python3.13", "python3.12", "python3.11", "python3.14", "python")
_NEEDS = (
    f"RMQ needs Python {OLDEST[0]}.{OLDEST[1]} or newer that can make environments"
    " (on Debian and Ubuntu: apt-get install python3-venv)"
)
WORTH = 1.1
"""So many times as fast another build has to be."""

_PROBE = """
import ensurepip, sys, time, venv

def work():
    seen, total = {}, 0
    for number in range(40_000):
        seen[number & 255] = (number, total)
        total += len(str(number)) + len(seen)

def timed():
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun

print(*sys.version_info[:2], min(timed() for _ in range(9)), sys.executable)
"""


class Interpreter(NamedTuple):
    """A Python that can make environments; `work_s`: what the work above took it at best."""

    version: tuple[int, int]
    work_s: float
    path: str


def choose() -> str:
    """Path of the Python to make the environment of. Raises Failure where there is none that is new enough."""
    if os.environ.get("PYTHON"):
        found = probe(sys.executable)
        if found and found.version >= OLDEST:
            return found.path
        raise Failure(f"{_NEEDS}, and {sys.executable} is not: name another with PYTHON=…, or none.")
    first = _first()
    others = (probe(path) for path in _builds(first.version))
    rivals = [other for other in others if other and other.version == first.version]
    best = min(rivals, key=lambda rival: rival.work_s, default=first)
    if first.work_s < WORTH * best.work_s:
        return first.path
    faster = f"{first.work_s / best.work_s:.1f} times as fast as {first.path}, another build of the same version"
    say(f"python for .venv: {best.path}, {faster} (with PYTHON={first.path} it is that one)")
    return best.path


def probe(path: str) -> Interpreter | None:
    """What this Python can do; None where it cannot make environments, or is no Python."""
    told = quiet([path, "-c", _PROBE])
    if told is None:
        return None
    major, minor, work_s, executable = told.split(maxsplit=3)
    return Interpreter((int(major), int(minor)), float(work_s), executable)


def _first() -> Interpreter:
    """The one that runs this, or the first new enough on the path."""
    for name in (sys.executable, *CANDIDATES):
        path = shutil.which(name) if name else None
        found = probe(path) if path else None
        if found and found.version >= OLDEST:
            return found
    raise Failure(f"{_NEEDS}, and none was found.")


def _builds(version: tuple[int, int]) -> Iterator[str]:
    """Whatever calls itself this version, or just Python, anywhere on the path."""
    major, minor = version
    for directory in dict.fromkeys(os.get_exec_path()):
        for name in (f"python{major}.{minor}", f"python{major}"):
            path = shutil.which(name, path=directory)
            if path:
                yield path
