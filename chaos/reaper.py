"""A small process that outlives the harness, and cleans up after one that was killed.

    reaper = Reaper("sweep", "rmqchaos3")      … the harness may die here, in whatever way …      reaper.dismiss()

It waits at the end of a pipe that the harness holds open. When the pipe ends without a word, the harness is gone, and
`python -m chaos.clean` does the rest; while another run has the name that does nothing, for that run has cleaned up.

Rules of this file: it is out of reach of a Ctrl-C meant for the harness, and needs next to nothing while it waits.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

REPOSITORY = Path(__file__).resolve().parents[1]
DISMISSED = b"dismissed"
DISMISS_S = 20.0


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


def main() -> int:
    """Wait for the harness' last word; clean up when there was none."""
    if sys.stdin.buffer.read() == DISMISSED:
        return 0
    return subprocess.run([sys.executable, "-m", "chaos.clean", *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
