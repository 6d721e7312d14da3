"""The whole test suite as four calls of pytest, one of which runs aside.

Theory. The tests that compute (the simulation, the models, the checker) need a processor and no clock. Those that watch
real nodes, or browsers, by the clock mostly wait. So the former run aside, from as early as can be, at a priority that
only takes what is left over; the latter run one call after the other, where one can watch them, and those that need
containers while the images are built aside come second. Last come those that count how much is done in a time. For them
what runs aside stands still: whatever its priority, it halves what two processors that share a core can do (chaos,
calm: 385 operations a second alone, 155 to 195 beside it). What runs aside writes into a file, which is printed at its
end. A new folder of tests runs aside unless it is named here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scripts.console import LOGS, ROOT, Failure, Progress, returncode, say

TALKING = ("tests/api", "tests/node", "tests/sdk", "tests/transport", "tests/chaos/test_report_browser.py")
WAITING = ("tests/processes", "tests/containers")
COUNTING = "tests/containers/test_chaos_list.py"
SIDE_BY_SIDE = ("-n", "2", "--dist", "worksteal")
PATIENCE = "--timeout=3600"
"""For what runs aside, on which others come first: seconds a test."""
LOOK_S = 0.5
MEMORY, MEMORY_BYTES = "/dev/shm", 4 << 30
"""A file system in memory, and the room that it must have to be used."""


class Aside:
    """A command that runs from when this is made, into a log. A context: it is ended where that is left before."""

    def __init__(self, label: str, command: Sequence[str], log: str, begin: Callable[[], None]) -> None:
        self._label, self._log = label, LOGS / f"{log}.log"
        LOGS.mkdir(parents=True, exist_ok=True)
        say(f"Aside: {label}; the progress is in {self._log.relative_to(ROOT)}.")
        with open(self._log, "wb") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, preexec_fn=begin
            )

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._send(signal.SIGKILL)
        self._process.wait()

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """It takes no time at all within the block."""
        self._send(signal.SIGSTOP)
        try:
            yield
        finally:
            self._send(signal.SIGCONT)

    def succeeds(self) -> bool:
        """Wait for its end, and print what it said."""
        with Progress(self._label) as line:
            while self._process.poll() is None:
                line.show(_last_line(self._log))
                time.sleep(LOOK_S)
        print(self._log.read_text(encoding="utf-8", errors="replace"), flush=True)
        return self._process.returncode == 0

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def run(python: str, build: Sequence[str], first: Callable[[], None]) -> bool:
    """Run every test, and `first` before all but those that compute. `build`: the command that builds the images, if
    any. Whether all passed; Failure when the images cannot be built."""
    pytest = [python, "-m", "pytest"]
    ignored = [f"--ignore={path}" for path in (*TALKING, *WAITING)]
    computing = [*pytest, *SIDE_BY_SIDE, PATIENCE, *ignored]
    with contextlib.ExitStack() as stack:
        aside = stack.enter_context(Aside("the tests that compute", computing, "tests-aside", _yield_to_all))
        first()
        images = stack.enter_context(Aside("building the images", build, "images", os.setsid)) if build else None
        codes = [returncode([*pytest, *SIDE_BY_SIDE, *TALKING], _in_memory())]
        if images is not None and not images.succeeds():
            raise Failure("The images that the container tests need cannot be built; the reason stands above.")
        codes.append(returncode([*pytest, *WAITING, f"--ignore={COUNTING}"]))
        with aside.standing_still():
            codes.append(returncode([*pytest, COUNTING]))
        return aside.succeeds() and not any(codes)


def _in_memory() -> dict[str, str]:
    """Where tests that are not about disks keep their nodes' files: images are built on the disk meanwhile, and a sync
    may take seconds."""
    try:
        room = os.statvfs(MEMORY)
    except OSError:
        return {}
    return {"TMPDIR": MEMORY} if room.f_bavail * room.f_frsize >= MEMORY_BYTES else {}


def _yield_to_all() -> None:
    os.setpgid(0, 0)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return lines[-2].strip("x.s ") if len(lines) > 1 else ""
