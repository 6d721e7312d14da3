"""The virtual environment `.venv`: made when missing, completed when a requirements file changed.

Rules of this file: a stamp holds the digest of what was installed, so that a repeat costs nothing; `pip` is run
as a module, because scripts in a folder with a space in its path cannot be started.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from scripts import interpreter
from scripts.console import ROOT, quiet, run_logged

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"


def ensure(requirements: str) -> Path:
    """Path of the environment's Python, with all of `requirements` (a file of the repository) installed."""
    wanted = _digests(requirements)
    installed = STAMP.read_text().split() if STAMP.exists() else []
    if set(wanted) <= set(installed) and _is_new_enough(str(PYTHON)):
        return PYTHON
    if not _is_new_enough(str(PYTHON)):
        python = interpreter.choose()
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


def _is_new_enough(python: str) -> bool:
    code = f"import sys; sys.exit(sys.version_info < {interpreter.OLDEST})"
    return os.path.exists(python) and quiet([python, "-c", code]) is not None
