"""The tools behind `make`: all set-up, then the tool, whose own output is the progress.

Rules of this file: where a tool is missing it is installed as root, else said; on CI nothing may be left out,
so a missing engine is a failure there. The last line of `make test` is pytest's own.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

from scripts import base_image, containers, virtualenv
from scripts.console import ROOT, Failure, say

STYLE_FAILED = "ruff or mypy found something to mend; `.venv/bin/ruff check --fix .` does much of it."
BY_THE_CLOCK = ("processes", "containers")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def test() -> None:
    """Everything: lint, then every test. Failure when one of them fails."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    _ensure_browser()
    reason = containers.why_not()
    if reason and os.environ.get("CI"):
        raise Failure(f"{reason[0].upper()}{reason[1:]}, and CI must run the container tests too.")
    if reason:
        say(f"{reason[0].upper()}{reason[1:]}: the container tests are left out.")
    else:
        containers.build()
    style = _style(python)
    codes = [_returncode([python, "-m", "pytest", *part]) for part in _parts()]
    if any(codes):
        raise Failure("A test failed.")
    if style:
        raise Failure(f"The tests pass, and {STYLE_FAILED}")


def _parts() -> list[list[str]]:
    """What pytest is called with: ARGS, or all tests in two calls, since real time disturbs real processes.

    Computing tests run side by side; those that watch processes and containers by the clock run alone.
    """
    chosen = shlex.split(os.environ.get("ARGS", ""))
    if chosen:
        return [chosen]
    ignored = [f"--ignore=tests/{name}" for name in BY_THE_CLOCK]
    return [["-n", "2", "--dist", "worksteal", *ignored], [f"tests/{name}" for name in BY_THE_CLOCK]]


def lint() -> None:
    """Style and types."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    if _style(python):
        raise Failure(STYLE_FAILED)


def _style(python: str) -> bool:
    """Whether ruff, or mypy on the node's own code, finds something."""
    codes = [_returncode([python, "-m", "ruff", "check", "."]), _returncode([python, "-m", "mypy"])]
    return any(codes)


def sim() -> None:
    """The simulated world over SEEDS seeds."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    _call([python, "-m", "tests.sim", "--seeds", os.environ.get("SEEDS") or "500"], "The simulation failed.")


def bench() -> None:
    """The load script against three local nodes."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    _call([python, "-m", "bench"], "The measurement failed.")


def chaos() -> None:
    """The chaos harness; what is set in the environment goes to its command line."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    command = [python, "-m", "chaos"]
    for name in ("scenario", "seed", "seconds", "nodes", "planted", "check", "attach"):
        if os.environ.get(name.upper()):
            command += [f"--{name}", os.environ[name.upper()]]
    command += [f"--{name}" for name in ("list", "regressions") if os.environ.get(name.upper())]
    raise SystemExit(_returncode(command))


def chaos_clean() -> None:
    """What chaos runs have left; with ATTACH what they have broken."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    project = os.environ.get("ATTACH")
    raise SystemExit(_returncode([python, "-m", "chaos.clean", *(["mend", project] if project else [])]))


def _ensure_browser() -> None:
    """A browser that the tests find by CHROMIUM."""
    if not _browser():
        try:
            base_image.install_packages("chromium")
        except Failure as failure:
            if os.environ.get("CI"):
                raise
            say(f"{failure} The browser tests are left out.")
    os.environ.setdefault("CHROMIUM", _browser())


def _browser() -> str:
    return next((path for path in map(shutil.which, BROWSERS) if path), "")


def _call(command: list[str], failure: str) -> None:
    if _returncode(command):
        raise Failure(failure)


def _returncode(command: list[str]) -> int:
    """Run it to its end. On Ctrl-C, which it has got, too, it is waited for: it may have to clean up."""
    interrupted = False
    with subprocess.Popen(command, cwd=ROOT) as process:
        while process.poll() is None:
            try:
                process.wait()
            except KeyboardInterrupt:
                interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode
