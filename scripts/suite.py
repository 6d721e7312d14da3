"""The whole test suite as four calls of pytest, one of which runs aside.

Theory. The tests that compute (the simulation, the models, the checker) need a processor and no clock. Those that watch
real nodes, or browsers, by the clock mostly wait. So the former run aside, from as early as can be, at a priority that
only takes what is left over; the latter run one call after the other, where one can watch them. Last come those that
count how much is done in a time. For them what runs aside stands still: whatever its priority, it halves what two
processors that share a core can do (chaos, calm: 385 operations a second alone, 155 to 195 beside it). What runs aside
writes into a file, which is printed at the end. A new folder of tests runs aside unless it is named here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.console import LOGS, ROOT, Progress, returncode, say

TALKING = ("tests/api", "tests/node", "tests/sdk", "tests/transport", "tests/chaos/test_report_browser.py")
WAITING = ("tests/processes", "tests/containers")
COUNTING = "tests/containers/test_chaos_list.py"
SIDE_BY_SIDE = ("-n", "2", "--dist", "worksteal")
PATIENCE = "--timeout=1200"
"""For what runs aside, on which others come first: seconds a test."""
LOG = LOGS / "tests-aside.log"
LOOK_S = 0.5


class Aside:
    """The tests that compute, from when this is made. A context: they are ended where it is left before."""

    def __init__(self, python: str) -> None:
        ignored = [f"--ignore={path}" for path in (*TALKING, *WAITING)]
        LOGS.mkdir(parents=True, exist_ok=True)
        say(f"The tests that compute run aside; their progress is in {LOG.relative_to(ROOT)}.")
        with open(LOG, "wb") as output:
            self._process = subprocess.Popen(
                [python, "-m", "pytest", *SIDE_BY_SIDE, PATIENCE, *ignored], cwd=ROOT, stdout=output,
                stderr=subprocess.STDOUT, preexec_fn=_yield_to_all,
            )  # fmt: skip

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._send(signal.SIGKILL)
        self._process.wait()

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """They take no time at all within the block."""
        self._send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._send(signal.SIGCONT)

    def passed(self) -> bool:
        """Wait for their end, and print what they said. Whether all passed."""
        with Progress("the tests that compute") as line:
            while self._process.poll() is None:
                line.show(_last_line(LOG))
                time.sleep(LOOK_S)
        print(LOG.read_text(encoding="utf-8", errors="replace"), flush=True)
        return self._process.returncode == 0

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def run(python: str, meanwhile: Callable[[], None]) -> bool:
    """Run every test, and `meanwhile` first, while only those aside run. Whether all tests passed."""
    pytest = [python, "-m", "pytest"]
    with Aside(python) as aside:
        meanwhile()
        codes = [
            returncode([*pytest, *SIDE_BY_SIDE, *TALKING]),
            returncode([*pytest, *WAITING, f"--ignore={COUNTING}"]),
        ]
        with aside.standing_still():
            codes.append(returncode([*pytest, COUNTING]))
        return aside.passed() and not any(codes)


def _yield_to_all() -> None:
    os.setpgid(0, 0)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return lines[-2].strip("x.s ") if len(lines) > 1 else ""
