"""What a run shows while it goes on: a few live lines on a terminal, plain lines elsewhere.

    Progress   what is going on, as the runner tells it: no drawing, no output, no clock but the one it is given
    Display    draws it: on a terminal in place, four times a second at most; else a line every 5 s and for each change

Theory. The runner calls Progress from one event loop; each call tells the display, which draws there and then or not at
all. No thread, so nothing can be drawn while it changes. Results are printed once and scroll away above.

Rules of this file: a display must never end a run: where its output is gone it falls silent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_EVERY_S = 5.0
LIVE_EVERY_S = 0.25
STYLES = {"passed": "green", "failed": "bold red", "inconclusive": "yellow"}

Event: TypeAlias = Literal["scenario", "phase", "fault", "tick", "result"]


class Result:
    """How a scenario ended: `name`, `word` (passed, failed, inconclusive), `reason` (the first, or empty)."""

    def __init__(self, name: str, word: str, reason: str) -> None:
        self.name, self.word, self.reason = name, word, reason


class Progress:
    """What is going on. `count` scenarios in all; `now`: a monotonic clock in seconds.

    Who wants to hear of changes sets `heard`; it is called with what kind of change it was.
    """

    def __init__(self, count: int, now: Callable[[], float]) -> None:
        self.count = count
        self.number, self.name, self.seed, self.seconds = 0, "", 0, 0.0
        self.doing = ""
        self.active: str | None = None
        self.targets: tuple[int, ...] = ()
        self.acknowledged_per_s = 0.0
        self.leader: int | None = None
        self.term: int | None = None
        self.results: list[Result] = []
        self.heard: Callable[[Event], None] = lambda event: None
        self._now = now
        self._began = self._scenario_began = now()

    @property
    def gone_s(self) -> float:
        """Since the beginning."""
        return self._now() - self._began

    @property
    def scenario_gone_s(self) -> float:
        """Since this scenario's beginning."""
        return self._now() - self._scenario_began

    def scenario(self, name: str, seed: int, seconds: float) -> None:
        """The next one begins; `seconds` is the length asked for."""
        self.number += 1
        self.name, self.seed, self.seconds = name, seed, seconds
        self._scenario_began = self._now()
        self.doing = "start"
        self._calm()
        self.heard("scenario")

    def phase(self, name: str) -> None:
        """Its next part begins. The clock of a scenario's length starts with the first one that clients run in."""
        self.doing = name
        if name == "warm":
            self._scenario_began = self._now()
        self.heard("phase")

    def fault(self, name: str | None, targets: Sequence[int]) -> None:
        """This one is active now; None: all is healed."""
        self.active, self.targets = name, tuple(targets)
        self.heard("fault")

    def tick(self, acknowledged_per_s: float, leader: int | None, term: int | None) -> None:
        """How it goes: call it once a second or more often."""
        self.acknowledged_per_s, self.leader, self.term = acknowledged_per_s, leader, term
        self.heard("tick")

    def result(self, name: str, word: str, reason: str = "") -> None:
        """A scenario was judged."""
        self.results.append(Result(name, word, reason))
        self._calm()
        self.heard("result")

    def _calm(self) -> None:
        self.active, self.targets = None, ()
        self.acknowledged_per_s, self.leader, self.term = 0.0, None, None


class Display:
    """A context that shows a Progress on a console."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._live: Live | None = None
        self._drawn_s = -PLAIN_EVERY_S
        self._silent = False

    def __enter__(self) -> Display:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._try(self._live.start)
        self._progress.heard = self._heard
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.heard = lambda event: None
        if self._live is not None:
            self._try(self._live.stop)

    def _heard(self, event: Event) -> None:
        if event == "result":
            self._print(result_line(self._progress.results[-1]))
        if self._live is not None:
            self._draw(self._live, at_once=event != "tick")
        elif event == "scenario":
            self._plain(scenario_line(self._progress))
        elif event == "fault":
            self._plain(f"  fault: {fault_text(self._progress)}")
        elif event == "phase" or (event == "tick" and self._progress.gone_s - self._drawn_s >= PLAIN_EVERY_S):
            self._plain(f"  {state_line(self._progress)}")

    def _draw(self, live: Live, at_once: bool) -> None:
        if at_once or self._progress.gone_s - self._drawn_s >= LIVE_EVERY_S:
            self._drawn_s = self._progress.gone_s
            self._try(lambda: live.update(picture(self._progress), refresh=True))

    def _plain(self, line: str) -> None:
        self._drawn_s = self._progress.gone_s
        self._print(Text(line))

    def _print(self, text: Text) -> None:
        if self._console.options.ascii_only:
            text = Text(text.plain.encode("ascii", "replace").decode())
        self._try(lambda: self._console.print(text, soft_wrap=True, highlight=False))

    def _try(self, show: Callable[[], object]) -> None:
        """Whoever read our output may be gone; that is no reason to end a run."""
        if self._silent:
            return
        try:
            show()
        except (OSError, ValueError, SystemExit):  # closed, or a pipe that broke: rich would end the process for that
            self._silent = True


def clock(seconds: float) -> str:
    """Minutes and seconds: 1:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def scenario_line(progress: Progress) -> str:
    """Which scenario it is."""
    return f"{progress.number}/{progress.count} {progress.name}, seed {progress.seed}, {progress.seconds:g} s"


def fault_text(progress: Progress) -> str:
    """What is broken now, and on which nodes."""
    if progress.active is None:
        return "none now"
    nodes = " ".join(map(str, progress.targets))
    return progress.active + (f" on node {nodes}" if nodes else "")


def leader_text(progress: Progress) -> str:
    """Who leads, as far as anyone says so."""
    return "no leader" if progress.leader is None else f"node {progress.leader} leads term {progress.term}"


def state_line(progress: Progress) -> str:
    """How it goes, in one plain line."""
    parts = [
        f"{progress.doing} {clock(progress.scenario_gone_s)} of {clock(progress.seconds)}",
        f"{progress.acknowledged_per_s:.0f} acknowledged/s", leader_text(progress),
    ]  # fmt: skip
    if progress.active is not None:
        parts.append(f"fault {fault_text(progress)}")
    return ", ".join(parts)


def result_line(result: Result) -> Text:
    """How a scenario ended."""
    line = Text(f"{result.name}: {result.word}", STYLES.get(result.word, ""))
    return line.append(f"  {result.reason}" if result.reason else "", "default")


def picture(progress: Progress) -> Group:
    """The live lines."""
    counts = Counter(result.word for result in progress.results)
    so_far = ", ".join(f"{counts[word]} {word}" for word in STYLES if counts[word]) or "none yet"
    total_s = max(progress.seconds, 1.0)
    phase = Table.grid(padding=(0, 2))
    phase.add_row(
        Text(f"{progress.doing:<6}"),
        ProgressBar(total=total_s, completed=min(progress.scenario_gone_s, total_s), width=24),
        Text(f"{clock(progress.scenario_gone_s)} of {clock(progress.seconds)}"),
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_row("phase", phase)
    table.add_row("fault", Text(fault_text(progress), "bold yellow" if progress.active else "dim"))
    table.add_row("acknowledged", f"{progress.acknowledged_per_s:.0f} a second")
    table.add_row("leader", leader_text(progress))
    table.add_row("results", f"{so_far}; {clock(progress.gone_s)} gone")
    return Group(Text(scenario_line(progress), "bold"), table)
