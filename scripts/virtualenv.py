"""The virtual environment `.venv`: made when missing, completed when a requirements file changed.

Rules of this file: a stamp holds the digest of what was installed, so that a repeat costs nothing; `pip` is run
as a module, because scripts in a folder with a space in its path cannot be started.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from scripts.console import ROOT, Failure, quiet, run_logged

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
OLDEST = (3, 11)
CANDIDATES = ("python3", "python3.13", "python3.12", "python3.11", "python3.14", "python")


def ensure(requirements: str) -> Path:
    """Path of the environment's Python, with all of `requirements` (a file of the repository) installed."""
    wanted = _digests(requirements)
    installed = STAMP.read_text().split() if STAMP.exists() else []
    if set(wanted) <= set(installed) and _is_new_enough(str(PYTHON)):
        return PYTHON
    if not _is_new_enough(str(PYTHON)):
        python = _find_python()
        shutil.rmtree(VENV, ignore_errors=True)
        run_logged(
            [python, "-m", "venv", str(VENV)], "making .venv", "venv",
            failure="Making a virtual environment failed; on Debian and Ubuntu: apt-get install python3-venv.",
        )
        installed = []
    run_logged(
        [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "-r", requirements],
        f"installing {requirements}", "pip",
        failure="Installing the dependencies failed; is there a way to a Python package index?",
    )
    STAMP.write_text("\n".join(sorted({*installed, *wanted})) + "\n")
    return PYTHON


def _digests(requirements: str) -> list[str]:
    """Digest of the file and of those that it includes: each is a set that is then known to be installed."""
    content = (ROOT / requirements).read_bytes()
    included = [line.split()[1] for line in content.decode().splitlines() if line.startswith("-r ")]
    return [hashlib.sha256(content).hexdigest()] + [digest for name in included for digest in _digests(name)]


def _find_python() -> str:
    for name in (sys.executable, *CANDIDATES):
        path = shutil.which(name) if name else None
        if path and _is_new_enough(path):
            return path
    raise Failure(f"RMQ needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and none was found: install it and try again.")


def _is_new_enough(python: str) -> bool:
    code = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    return os.path.exists(python) and quiet([python, "-c", code]) is not None
