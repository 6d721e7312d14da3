"""A small process that outlives the harness, and cleans up after one that was killed.

    reaper = Reaper("sweep", "rmqchaos3")      … the harness may die here, in whatever way …      reaper.dismiss()

It waits at the end of a pipe that the harness holds open. When the pipe ends without a word, the harness is gone, and
`python -m chaos.clean` does the rest, again and again where it fails: a cluster in the midst of an election, an engine
that is still busy with what the harness asked of it. What it says of a failure stays in `log_of(project)` until it
succeeds. While another run has the name that does nothing, for that run has cleaned up.

Rules of this file: it is out of reach of a Ctrl-C meant for the harness, and needs next to nothing while it waits.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

REPOSITORY = Path(__file__).resolve().parents[1]
DISMISSED = b"dismissed"
DISMISS_S = 20.0
TRIES, PAUSE_S = 30, 2.0


def log_of(project: str) -> Path:
    """What the last attempts to clean up printed; it is there only while none has succeeded."""
    return Path(tempfile.gettempdir()) / f"{project}.reaper.log"


class Reaper:
    """Stands by from when it is made to `dismiss`."""

    def __init__(self, duty: Literal["sweep", "mend"], project: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.reaper", duty, project], cwd=REPOSITORY, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def dismiss(self) -> None:
        """All is clean: it may go."""
        self._process.communicate(DISMISSED, timeout=DISMISS_S)


def insist(command: Sequence[str], log: Path, pause_s: float = PAUSE_S) -> int:
    """Run `command` until it ends with anything but 1, TRIES times at most; its last exit code."""
    code = 1
    with log.open("wb") as said:
        for _ in range(TRIES):
            code = subprocess.run(command, stdout=said, stderr=said, check=False).returncode
            if code != 1:
                log.unlink(missing_ok=True)
                break
            time.sleep(pause_s)
    return code


def main() -> int:
    """Wait for the harness' last word; clean up when there was none."""
    if sys.stdin.buffer.read() == DISMISSED:
        return 0
    duty, project = sys.argv[1:]
    return insist([sys.executable, "-m", "chaos.clean", duty, project], log_of(project))


if __name__ == "__main__":
    sys.exit(main())
