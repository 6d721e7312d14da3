"""One scenario that was run: read its history, judge it, and hold all that a report says about it.

    case = examine(directory, root, planned, text, demands)

Rules of this file: what is judged is what stands in the file, read from the disk again for each purpose, so that a
history of any length needs no memory here. A torn history is judged up to the tear, and cannot pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from chaos.checker import Report, check
from chaos.figures import Figures, measure
from chaos.history import HistoryError, Record, Run, read
from chaos.reporting.timeline import Timeline, trace
from chaos.reporting.verdict import Demands, Verdict, judge

HISTORY = "history.jsonl"
LINES_MAX, LINE_CHARS = 200, 2_000
"""Lines of the history that a report quotes, and the characters of each."""

T = TypeVar("T")


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario, judged.

    `text`: what was done, one line. `files`: its files, as paths from the report's folder, with slashes.
    `lines`: the lines of the history that anomalies name, as they stand there, by number.
    """

    run: Run
    text: str
    demands: Demands
    figures: Figures
    timeline: Timeline
    report: Report
    verdict: Verdict
    files: list[str]
    lines: dict[int, str]

    @property
    def command(self) -> str:
        """What repeats it."""
        run = self.run
        return f"make chaos SCENARIO={run.scenario} SEED={run.seed} SECONDS={run.seconds:g} NODES={run.nodes}"


def examine(
    directory: Path, root: Path, planned: Run, text: str, demands: Demands, troubles: Sequence[str] = ()
) -> Case:
    """Judge the run that left its files in `directory`, somewhere below the report's folder `root`.

    `planned`: what was meant to be run, for a history that does not say. `troubles`: sentences about what could not be
    done; with one of them a run cannot pass. Never raises for what a history holds or lacks.
    """
    path = directory / HISTORY
    torn: dict[str, None] = {}
    report = _over(path, check, torn)
    figures, timeline = _over(path, measure, torn), _over(path, trace, torn)
    return Case(
        run=_over(path, lambda records: _run(records, planned), torn), text=text, demands=demands, figures=figures,
        timeline=timeline, report=report, verdict=judge(report, figures, demands, [*troubles, *torn]),
        files=sorted(file.relative_to(root).as_posix() for file in directory.rglob("*") if file.is_file()),
        lines=_quote(path, {line for anomaly in report.anomalies for line in anomaly.lines}),
    )  # fmt: skip


def _over(path: Path, see: Callable[[Iterable[Record]], T], torn: dict[str, None]) -> T:
    """What `see` makes of the history, or of none where the history contradicts itself; `torn` takes the sentence."""
    try:
        return see(_readable(path, torn))
    except HistoryError as error:
        torn[str(error)] = None
        return see(())


def _readable(path: Path, torn: dict[str, None]) -> Iterator[Record]:
    try:
        yield from read(path)
    except HistoryError as error:
        torn[str(error)] = None
    except OSError as error:
        torn[f"There is no history: {error.strerror or error}."] = None


def _run(records: Iterable[Record], planned: Run) -> Run:
    return next((record for record in records if isinstance(record, Run)), planned)


def _quote(path: Path, numbers: set[int]) -> dict[int, str]:
    wanted = set(sorted(numbers)[:LINES_MAX])
    if not wanted:
        return {}
    with path.open("rb") as file:
        found = {number: line for number, line in enumerate(file, 1) if number in wanted}
    return {number: line.decode(errors="replace").strip()[:LINE_CHARS] for number, line in found.items()}
