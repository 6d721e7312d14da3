"""Where the node (`app`) and the judge of histories (`chaos`) are.

Theory: in the repository they are packages beside `rmq`. Many a project has an `app` of its own, which an installed
one would overwrite; so a wheel has them within `rmq`, in a folder that is no package and on nobody's path (`setup.py`).
Who needs them puts `ROOT` on the path of a process in which nothing of the user's is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_INSTALLED = _HERE / "_beside"
ROOT = _INSTALLED if _INSTALLED.is_dir() else _HERE.parent


def make_importable() -> None:
    """They are found before whatever else has their names."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
