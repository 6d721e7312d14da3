"""The tools behind `make`: all set-up, then the tool, whose own output is the progress.

Rules of this file: where a tool is missing it is installed as root, else said; on CI nothing may be left out,
so a missing engine is a failure there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys

from scripts import base_image, containers, peers, suite, virtualenv
from scripts.console import Failure, returncode, say

STYLE_FAILED = "ruff or mypy found something to mend; `.venv/bin/ruff check --fix .` does much of it."
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def test() -> None:
    """Everything: lint, then every test, or those that ARGS names. Failure when one of them fails."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    has_engine = _has_engine()
    style = False

    def prepare() -> None:
        nonlocal style
        _ensure_browser()
        style = _style(python)

    chosen = shlex.split(os.environ.get("ARGS", ""))
    if chosen:
        if has_engine:
            containers.build_all()
        prepare()
        passed = returncode([python, "-m", "pytest", *chosen]) == 0
    else:
        passed = suite.run(python, [sys.executable, "-m", "scripts", "build"] if has_engine else [], prepare)
    if not passed:
        raise Failure("A test failed.")
    if style:
        raise Failure(f"The tests pass, and {STYLE_FAILED}")


def _has_engine() -> bool:
    """Whether container tests can run. Failure on CI where they cannot."""
    reason = containers.why_not()
    if reason and os.environ.get("CI"):
        raise Failure(f"{reason[0].upper()}{reason[1:]}, and CI must run the container tests too.")
    if reason:
        say(f"{reason[0].upper()}{reason[1:]}: the container tests are left out.")
    return not reason


def lint() -> None:
    """Style and types."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    if _style(python):
        raise Failure(STYLE_FAILED)


def _style(python: str) -> bool:
    """Whether ruff, or mypy on the node's own code, finds something."""
    codes = [returncode([python, "-m", "ruff", "check", "."]), returncode([python, "-m", "mypy"])]
    return any(codes)


def sim() -> None:
    """The simulated world over SEEDS seeds."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    _call([python, "-m", "tests.sim", "--seeds", os.environ.get("SEEDS") or "500"], "The simulation failed.")


def bench() -> None:
    """The loads against three local nodes; with PEERS against those of others, too; with SCALE how RMQ scales.

    ARGS goes to its command line.
    """
    python = str(virtualenv.ensure("requirements-dev.txt"))
    named = os.environ.get("PEERS", "")
    peers.ensure(named.split(","))
    options = ([f"--peers={named}"] if named else []) + (["--scale"] if os.environ.get("SCALE") else [])
    options += shlex.split(os.environ.get("ARGS", ""))
    _call([python, "-m", "bench", *options], "The measurement failed.")


def chaos() -> None:
    """The chaos harness; what is set in the environment goes to its command line."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    command = [python, "-m", "chaos"]
    for name in ("scenario", "seed", "seconds", "nodes", "planted", "check", "attach"):
        if os.environ.get(name.upper()):
            command += [f"--{name}", os.environ[name.upper()]]
    command += [f"--{name}" for name in ("list", "regressions") if os.environ.get(name.upper())]
    raise SystemExit(returncode(command))


def chaos_clean() -> None:
    """What chaos runs have left; with ATTACH what they have broken."""
    python = str(virtualenv.ensure("requirements-dev.txt"))
    project = os.environ.get("ATTACH")
    raise SystemExit(returncode([python, "-m", "chaos.clean", *(["mend", project] if project else [])]))


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
    if returncode(command):
        raise Failure(failure)
