"""Which Python the environment is made of.

Theory: how an interpreter was compiled decides more than most of what we could do: the same Python 3.11 with and
without profile-guided optimization, which `pyenv` leaves out and distributions do not, are 1.2 times apart in what RMQ
does (docs/performance.md). No setting tells for sure how one was built, so each is asked to do a little work. Another
build takes the place of the one that runs this only where packages for that fit it as well (its ABI is the same), it
has all that RMQ needs, and it is clearly faster: by the median of some turns, since a busy machine slows down now the
one and now the other. Whoever names one (`make PYTHON=…`) gets that one.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from scripts.console import Failure, Progress, quiet, say

OLDEST = (3, 11)
CANDIDATES = ("python3", "python3.13", "python3.12", "python3.11", "python3.14", "python")
_NEEDS = (
    f"RMQ needs Python {OLDEST[0]}.{OLDEST[1]} or newer that can make environments"
    " (on Debian and Ubuntu: apt-get install python3-venv)"
)
WORTH = 1.1
"""So many times as fast another build has to be."""
TURNS = 5
TIMEOUT_S = 10.0
"""For one probe, which takes 0.2 s."""

_MARK = "rmq-probe"
_PROBE = f"""
import ctypes, ensurepip, platform, sqlite3, ssl, sys, sysconfig, time, venv, zlib

def work():
    seen, total = {{}}, 0
    for number in range(40_000):
        seen[number & 255] = (number, total)
        total += len(str(number)) + len(seen)

def timed():
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun

abi = sysconfig.get_config_var("SOABI") or sys.implementation.name
work_s = min(timed() for _ in range(9))
print("{_MARK}", platform.python_version(), abi.replace(" ", "-"), work_s, sys.executable)
"""


class Interpreter(NamedTuple):
    """A Python that can make environments. `abi`: whatever has the same takes the same packages; `work_s`: what the
    work above took it at best."""

    version: str
    abi: str
    work_s: float
    path: str

    @property
    def is_new_enough(self) -> bool:
        """Whether RMQ runs on it."""
        return tuple(int(part) for part in self.version.split(".")[:2]) >= OLDEST


def choose() -> str:
    """Path of the Python to make the environment of. Raises Failure where there is none that is new enough."""
    if os.environ.get("PYTHON"):
        found = probe(sys.executable)
        if found and found.is_new_enough:
            return found.path
        raise Failure(f"{_NEEDS}, and {sys.executable} is not: name another with PYTHON=…, or none.")
    with Progress("looking for Python") as line:
        first = _first()
        best, gain = first, WORTH
        for path in _others(first):
            line.show(path)
            other = probe(path)
            found = _gain(other, first) if other and other.abi == first.abi else 0.0
            if other and found >= gain:
                best, gain = other, found
    if best is not first:
        faster = f"{gain:.1f} times as fast as {first.path} ({first.version})"
        say(f"{best.path} ({best.version}) is {faster}, and taken; PYTHON={first.path} decides otherwise")
    return best.path


def probe(path: str) -> Interpreter | None:
    """What this Python can do; None where it lacks something, or is none."""
    told = quiet([path, "-c", _PROBE], timeout_s=TIMEOUT_S) or ""
    for line in told.splitlines():
        words = line.split(maxsplit=4)
        if len(words) == 5 and words[0] == _MARK and os.access(words[4], os.X_OK):
            return Interpreter(words[1], words[2], float(words[3]), words[4])
    return None


def _gain(one: Interpreter, other: Interpreter) -> float:
    """How many times as fast as the other it is; 0 where one of them does not answer any more."""
    turns = [(probe(one.path), probe(other.path)) for _ in range(TURNS)]
    return median(theirs.work_s / ours.work_s if ours and theirs else 0.0 for ours, theirs in turns)


def _first() -> Interpreter:
    """The one that runs this, or the first new enough on the path."""
    for name in (sys.executable, *CANDIDATES):
        path = shutil.which(name) if name else None
        found = probe(path) if path else None
        if found and found.is_new_enough:
            return found
    raise Failure(f"{_NEEDS}, and none was found.")


def _others(first: Interpreter) -> Iterator[str]:
    """Whatever else calls itself this version, or just Python, anywhere on the path, each file once."""
    major, minor, *_ = first.version.split(".")
    seen = {os.path.realpath(first.path)}
    for directory in os.get_exec_path():
        for name in (f"python{major}.{minor}", f"python{major}"):
            path = shutil.which(name, path=directory)
            if path and os.path.realpath(path) not in seen:
                seen.add(os.path.realpath(path))
                yield path
