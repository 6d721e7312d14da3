"""What the commands print: a line for a fact, a line that moves while something takes its time.

Rules of this file: on a terminal the moving line is redrawn in place; elsewhere it is printed anew now and
then, so that a log shows life without being flooded. The output of a long command goes to a file, and its end
is shown when the command fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".rmq"
LOGS = STATE / "logs"
REDRAW_S, REPEAT_S = 0.2, 15.0
TAIL_LINES = 20


class Failure(Exception):
    """A command cannot go on. Its text is the sentence to print."""


def say(text: str = "") -> None:
    print(text, flush=True)


class Progress:
    """One moving line: `with Progress("building the image") as line: line.show("step 3")`."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.started = time.monotonic()
        self._printed = 0.0
        self._live = sys.stdout.isatty()

    def __enter__(self) -> Progress:
        self.show()
        return self

    def show(self, detail: str = "") -> None:
        """Draw the line with the time so far and `detail`."""
        now = time.monotonic()
        text = f"{self.label} … {now - self.started:.0f} s {detail}".rstrip()
        if self._live:
            print(f"\r\033[K{text[:110]}", end="", flush=True)
        elif not self._printed or now - self._printed >= REPEAT_S:
            self._printed = now
            say(text)

    def __exit__(self, kind: object, *_: object) -> None:
        end = "\r\033[K" if self._live else ""
        say(f"{end}{self.label} … {'stopped after' if kind else 'done in'} {time.monotonic() - self.started:.1f} s")


def run_logged(
    command: Sequence[str],
    label: str,
    log: str,
    *,
    timeout_s: float = 900,
    env: Mapping[str, str] | None = None,
    failure: str = "",
) -> None:
    """Run `command` in the repository with a progress line, output to `.rmq/logs/<log>.log`.

    Failure with `failure` (or a general sentence) and the end of that output when it does not exit with 0.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{log}.log"
    try:
        with open(path, "wb") as output, Progress(label) as line:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT,
            )
            try:
                _wait(process, line, command[0], timeout_s)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if process.returncode:
                raise Failure
    except Failure as stopped:
        reason = str(stopped) or failure or f"{command[0]} failed."
        raise Failure(f"{tail(path)}\n{reason} The whole output is in {path.relative_to(ROOT)}.") from None


def _wait(process: subprocess.Popen[bytes], line: Progress, name: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise Failure(f"{name} took more than {timeout_s:.0f} s.")
        line.show()
        time.sleep(REDRAW_S)


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented; empty when there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 16384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join("    " + line for line in text.splitlines()[-lines:])


def quiet(command: Sequence[str], *, timeout_s: float = 30, env: Mapping[str, str] | None = None) -> str | None:
    """Standard output of a short command, or None when it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, timeout=timeout_s, check=True, env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()


def returncode(command: list[str], environment: Mapping[str, str] | None = None) -> int:
    """Run it to its end, with these variables besides. On Ctrl-C, which it has got, too, it is waited for: it may have
    to clean up."""
    interrupted = False
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(environment or {})}) as process:
        while process.poll() is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode
