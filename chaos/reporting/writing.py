"""Write the report: verdict.json and report.html, beside the folders of the scenarios.

Rules of this file: a reader never sees half a file; a report may be written again after each scenario.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chaos.reporting.cases import Case
from chaos.reporting.page import page
from chaos.reporting.summary import document


def write(root: Path, cases: Sequence[Case]) -> None:
    """Write both files into `root`, in place of earlier ones. Raises OSError."""
    _replace(root / "verdict.json", document(cases))
    _replace(root / "report.html", page(cases).encode())


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.replace(path)
