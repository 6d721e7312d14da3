"""The report of a growth: tables as Markdown, all values as JSON, a picture for each sweep. Pure, but for `save`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.report import FOLDER, Head, spread, table, write
from bench.scale.curves import Dot, Line, Panel, Picture, draw
from bench.scale.sweeps import PUBLISH, SWEEPS, TAKE, Place, Sample, Samples, Sweep

MIB = 1 << 20
TITLES = ("", "messages/s, median", "min - max", "p99 ms, median", "min - max", "leader", "followers", "load", "all")


def picture(sweep: Sweep, samples: Samples, foot: str) -> Picture:
    """Rate and p99 over what grows; of sizes MiB/s, too."""
    panels = [
        Panel("messages a second", _lines(sweep, samples, lambda value, each: each.rate)),
        Panel("p99 of a request, ms", _lines(sweep, samples, lambda value, each: each.p99_ms)),
    ]
    if sweep.key == "size":
        panels.insert(1, Panel("MiB a second", _lines(sweep, samples, lambda value, each: value * each.rate / MIB)))
    return Picture(sweep.title, sweep.axis, panels, foot)


def _lines(sweep: Sweep, samples: Samples, of: Callable[[int, Sample], float]) -> list[Line]:
    lines = []
    for name in (PUBLISH, TAKE):
        dots = []
        for place, found in _of(sweep, samples):
            if place.line == name:
                values = [of(place.value, each) for each in found]
                dots.append(Dot(place.value, min(values), statistics.median(values), max(values)))
        if dots:
            lines.append(Line(name, dots))
    return lines


def _of(sweep: Sweep, samples: Samples) -> Iterator[tuple[Place, list[Sample]]]:
    """What there is of one sweep, smallest value first."""
    yield from sorted((each for each in samples.items() if each[0].sweep == sweep.key), key=lambda each: each[0].value)


def markdown(head: Head, samples: Samples) -> str:
    """The tables."""
    parts = [head.lines()]
    parts += head.notes
    for sweep in SWEEPS:
        rows = [_row(place, found) for place, found in _of(sweep, samples)]
        if rows:
            parts.append("\n".join(table([sweep.axis, *TITLES], rows)))
    parts.append("The last four: cores in use, medians; by all followers together, and by all that ran on the machine.")
    return "\n\n".join(parts) + "\n"


def _row(place: Place, found: list[Sample]) -> list[str]:
    rates, latencies = [each.rate for each in found], [each.p99_ms for each in found]
    cores = (statistics.median(values) for values in list(zip(*found, strict=True))[2:])
    return [
        f"{place.value:,}", place.line, f"{statistics.median(rates):,.0f}", spread(rates, 0),
        f"{statistics.median(latencies):,.1f}", spread(latencies, 1), *(f"{each:.2f}" for each in cores),
    ]  # fmt: skip


def as_json(head: Head, samples: Samples) -> str:
    """All values."""
    points = [{**place._asdict(), "samples": [each._asdict() for each in found]} for place, found in samples.items()]
    return json.dumps({"head": head._asdict(), "points": points}, indent=1, ensure_ascii=False) + "\n"


def save(head: Head, samples: Samples, pictures: Path | None, folder: Path = FOLDER) -> Path:
    """Write all of it, and the pictures to `pictures`, too. -> the path of the JSON."""
    path = write(head, as_json(head, samples), markdown(head, samples), folder)
    foot = f"{head.machine}; {head.time}; {head.versions}, dot: median, bar: smallest to largest"
    for sweep in SWEEPS:
        if any(_of(sweep, samples)):
            drawn = draw(picture(sweep, samples, foot))
            path.with_name(f"{path.stem}-{sweep.key}.svg").write_text(drawn, encoding="utf-8")
            if pictures is not None:
                pictures.mkdir(parents=True, exist_ok=True)
                (pictures / f"scale-{sweep.key}.svg").write_text(drawn, encoding="utf-8")
    return path
