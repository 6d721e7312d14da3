"""The command as a user runs it: through pipes, and at a terminal (a pty) with keys that are typed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0


class Ran(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    of_ours = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if name not in of_ours}
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **more}


def piped(*arguments: str, given: str = "", **environment: str) -> Ran:
    """Run `rmq …` with pipes on all sides."""
    done = subprocess.run(
        [sys.executable, "-m", "rmq", *arguments], input=given, capture_output=True, text=True, timeout=PATIENCE_S,
        env=_environment(environment), cwd=ROOT, check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


class Terminal:
    """A running `rmq …` at a terminal of so many columns. `screen`: all that it wrote so far."""

    def __init__(self, *arguments: str, columns: int = 140, **environment: str) -> None:
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rmq", *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
            env=_environment(environment), cwd=ROOT, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        self._heard = b""

    @property
    def screen(self) -> str:
        return self._heard.decode("utf-8", "replace")

    def wait_for(self, text: str) -> None:
        """Until it has written this."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.screen:
            assert time.monotonic() < deadline and self._hear(), f"{text!r} was not written: {self.screen!r}"

    def type(self, keys: str) -> None:
        """Type this; \\x03 is Ctrl-C, \\x04 Ctrl-D."""
        os.write(self._own, keys.encode())

    def end(self) -> int:
        """Wait for its end; the exit code."""
        while self._hear():
            pass
        code = self._process.wait(PATIENCE_S)
        os.close(self._own)
        return code

    def _hear(self) -> bool:
        """Read what is there within the time; False when nothing can come any more."""
        readable, _, _ = select.select([self._own], [], [], PATIENCE_S)
        assert readable, f"it neither wrote nor ended: {self.screen!r}"
        with contextlib.suppress(OSError):
            if heard := os.read(self._own, 65536):
                self._heard += heard
                return True
        return False


def at_terminal(*arguments: str, **environment: str) -> Ran:
    """Run `rmq …` at a terminal where nobody types."""
    terminal = Terminal(*arguments, **environment)
    code = terminal.end()
    return Ran(code, terminal.screen, "")
