"""The report: the tables of a run as Markdown, and all its values as JSON. Pure, but for what writes.

The first table holds what RMQ does against its goals, the second what is no rate, the third the peers beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figures, median, ratio
from bench.goals import RMQ, goals_of, ratio_wanted, verdict
from bench.loads import LOADS

FOLDER = Path(__file__).parent / "report"
OTHERS = {
    "follower": ("through a follower / the leader, 64 clients", "ratio"),
    "kill": ("kill -9 of the leader to the next acknowledgement", "ms"),
    "pause": ("pause of the leader (SIGSTOP), likewise", "ms"),
    "memory-idle": ("memory of three nodes, idle", "mb"),
    "memory-loaded": ("memory of three nodes, messages waiting", "mb"),
    "cpu": ("CPU of all nodes for 10,000 publishes, 64 clients", "s"),
    "elections": ("elections during a load", "count"),
}
"""What is measured beside the rates, and its unit."""
COLUMNS = {
    "one client": (("one",), "rate"),
    "64 clients": (("many",), "rate"),
    "pipelined or batched publish": (("batches", "pipelined"), "rate"),
    "pipelined publish": (("pipelined",), "rate"),
    "consume one by one": (("take-one", "take-chained"), "rate"),
    "consume pipelined or batched": (("take-batches", "take-streamed"), "rate"),
    "publish and consume at once": (("both", "both-streamed"), "rate"),
    "the same, pipelined": (("both-pipelined",), "rate"),
    "kill -9 leader, ms": (("kill",), "ms"),
    "memory idle, MB": (("memory-idle",), "mb"),
    "CPU for 10,000 publishes, s": (("cpu",), "s"),
}
"""Of the comparison: the figures of which the larger one counts."""


class Head(NamedTuple):
    """Where and how it was measured. `python`: the path of the one that ran it all; `names`: of the peers, by key;
    `notes`: what was left out, and why."""

    time: str
    command: str
    machine: str
    versions: str
    python: str
    names: Mapping[str, str]
    notes: Sequence[str] = ()

    def lines(self) -> str:
        """What a report begins with."""
        return f"`{self.command}`, {self.time}  \n{self.machine}  \n{self.versions}; {self.python}"


def markdown(head: Head, figures: Figures) -> str:
    """The whole report."""
    parts = [head.lines()]
    parts += [f"Left out: {note}" for note in head.notes]
    parts += ["\n".join(lines) for lines in (_rates(figures), _others(figures), _peers(head, figures)) if lines]
    return "\n\n".join(parts) + "\n"


def as_json(head: Head, figures: Figures) -> str:
    """All values."""
    values = [{**key._asdict(), "values": found} for key, found in figures.values.items()]
    return json.dumps({"head": head._asdict(), "figures": values}, indent=1, ensure_ascii=False) + "\n"


def save(head: Head, figures: Figures, folder: Path = FOLDER) -> Path:
    """Write both. -> the path of the JSON."""
    return write(head, as_json(head, figures), markdown(head, figures), folder)


def write(head: Head, values: str, tables: str, folder: Path = FOLDER) -> Path:
    """The values as JSON, the tables beside it. -> the path of the JSON."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{head.time.replace(':', '').replace(' ', '-')}.json"
    path.write_text(values, encoding="utf-8")
    path.with_suffix(".md").write_text(tables, encoding="utf-8")
    return path


def _rates(figures: Figures) -> list[str]:
    rows = []
    for load in LOADS:
        for size in load.sizes_bytes:
            rates = figures.of(RMQ, load.key, size, "rate")
            if not rates:
                continue
            p50, p99 = (median(figures.of(RMQ, load.key, size, unit)) for unit in ("p50_ms", "p99_ms"))
            goals = goals_of(load.key, size)
            cells = [load.what, f"{size:,} B", f"{median(rates):,.0f}", spread(rates, 0), f"{p50:.2f}", f"{p99:.2f}"]
            rows.append([*cells, ", ".join(map(str, goals)), verdict(goals, figures)])
    return table(["RMQ", "size", "messages/s, median", "min - max", "p50 ms", "p99 ms", "goal", ""], rows)


def _others(figures: Figures) -> list[str]:
    rows = []
    for what, (text, unit) in OTHERS.items():
        values = figures.of(RMQ, what, 0, unit)
        if values:
            goals = goals_of(what, 0)
            digits = 2 if unit in ("ratio", "s") else 0
            shown = f"{median(values):,.{digits}f}"
            cells = [text, f"{shown} {'' if unit in ('ratio', 'count') else unit.upper() if unit == 'mb' else unit}"]
            goal = ", ".join(map(str, goals))
            rows.append([*cells, spread(values, digits), str(len(values)), goal, verdict(goals, figures)])
    return table(["RMQ", "median", "min - max", "of", "goal", ""], rows)


def _peers(head: Head, figures: Figures) -> list[str]:
    """A block for each size: what each peer does, and RMQ's figure divided by it."""
    lines: list[str] = []
    if len(head.names) < 2:
        return lines
    for size in (100, 1000):
        rows = [[name, *_cells(figures, peer, size)] for peer, name in head.names.items()]
        lines += [*table([f"{size:,} B", *COLUMNS], rows), ""]
    lines.append("In brackets: RMQ's figure divided by the peer's, the median of the runs' ratios; for 100 B behind it")
    lines.append("what the goal is as such a ratio. Of rates more is better; of times, memory and CPU less.")
    return lines


def _cells(figures: Figures, peer: str, size: int) -> Iterator[str]:
    for whats, unit in COLUMNS.values():
        at = size if unit == "rate" else 0
        theirs, ours = figures.best(peer, whats, at, unit), figures.best(RMQ, whats, at, unit)
        if not theirs:
            yield "-"
            continue
        shown = f"{median(theirs):,.{2 if unit == 's' else 0}f}" + (f", max {max(theirs):,.0f}" if unit == "ms" else "")
        compared = None if peer == RMQ else ratio(ours, theirs)
        wanted = ratio_wanted(peer, whats) if size == 100 else None
        goal = "" if wanted is None else f", goal {wanted:.2f}"
        yield shown if compared is None else f"{shown} ({compared:.2f}{goal})"


def spread(values: Sequence[float], digits: int) -> str:
    """The smallest and the largest."""
    return f"{min(values):,.{digits}f} - {max(values):,.{digits}f}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; none where it has no rows."""
    lines = [titles, ["---"] * len(titles), *rows] if rows else []
    return ["| " + " | ".join(cells) + " |" for cells in lines]
