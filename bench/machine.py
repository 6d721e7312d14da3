"""On what, with what, when and by which command something was measured: the head of a report."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report import Head


def now() -> str:
    """The time, as a report names it."""
    return datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")


def head(time: str, runs: int, names: Mapping[str, str], notes: Sequence[str]) -> Head:
    """The head of the report of what was begun at that time, by the command line of this process."""
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; {runs} runs"
    command = f"python -m bench {shlex.join(sys.argv[1:])}".strip()
    return Head(time, command, _machine(), versions, os.path.realpath(sys.executable), names, notes)


def _machine() -> str:
    """The processor, its cores, the memory and the system, as far as they can be told."""
    told = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) / 1e6 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    system = [line.partition("=")[2].strip('"') for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME")]
    parts = [*told[:1], f"{os.cpu_count()} cores", *(f"{each:.0f} GB" for each in memory), *system[:1]]
    return ", ".join([*parts, f"{platform.system()} {platform.release()} {platform.machine()}"])


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
