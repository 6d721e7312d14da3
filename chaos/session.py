"""A session: scenarios one after another, each run, judged from its history, and put into the report.

Rules of this file: the report is written anew after each scenario, so that an interrupted night leaves what it had;
what could not be carried out is inconclusive and says why; nothing is ever run again by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from chaos import run as course
from chaos.clients.tries import EXPECTED
from chaos.display import Display, Progress
from chaos.faults import FAULTS
from chaos.history import HistoryError, Run, read
from chaos.reporting import writing
from chaos.reporting.cases import HISTORY, Case, examine
from chaos.reporting.summary import verdict_of
from chaos.reporting.verdict import Demands, exit_code
from chaos.run import Task
from chaos.scenarios import find

DEMANDS = Demands(
    healthy=frozenset(name for name, fault in FAULTS.items() if fault.healthy_majority), expected=EXPECTED
)


async def run_all(tasks: Sequence[Task], root: Path) -> int:
    """Run all and write the report into `root`. The exit code: 0 only when every one passed."""
    console = Console()
    progress = Progress(len(tasks), time.monotonic)
    cases: list[Case] = []
    with Display(progress, console):
        for task in tasks:
            cases.append(await run_one(task, progress, root))
            writing.write(root, cases)
    word = verdict_of(cases)
    console.print(f"{word}: {root / 'report.html'}", highlight=False, soft_wrap=True)
    return exit_code(word)


async def run_one(task: Task, progress: Progress, root: Path) -> Case:
    """Run one and judge it."""
    progress.scenario(task.scenario.name, task.seed, task.seconds)
    troubles = []
    try:
        await course.run(task, progress)
    except Exception as error:  # whatever ended it, the history up to there is judged, and the verdict says why
        troubles.append(f"The run broke off: {type(error).__name__}: {error}")
    planned = course.about(task)
    case = await asyncio.to_thread(
        examine, task.directory, root, planned, task.scenario.text, DEMANDS, troubles
    )
    progress.result(task.scenario.name, case.verdict.word, next(iter(case.verdict.reasons), ""))
    return case


def check_again(directory: Path) -> int:
    """Judge the history in a scenario's folder once more, and print the verdict. FileNotFoundError, HistoryError."""
    if not (directory / HISTORY).exists():
        raise FileNotFoundError(f"There is no {HISTORY} in {directory}: name the folder of one scenario.")
    planned = next(read(directory / HISTORY))
    if not isinstance(planned, Run):
        raise HistoryError(f"{directory / HISTORY} does not begin with what was run.")
    case = examine(directory, directory, planned, find(planned.scenario).text, DEMANDS)
    print(f"{case.run.scenario}, seed {case.run.seed}: {case.verdict.word}")
    for reason in case.verdict.reasons:
        print(f"  {reason}")
    for anomaly in case.report.anomalies:
        print(f"  {anomaly.rule}: {anomaly.text} (lines {', '.join(map(str, anomaly.lines))})")
    return exit_code(case.verdict.word)
