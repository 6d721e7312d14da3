"""What a run shows: the model by itself, plain lines where there is no terminal, and never an exception."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from chaos.display import Display, Progress, clock, picture, state_line

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def now() -> Clock:
    return Clock()


@pytest.fixture
def progress(now: Clock) -> Progress:
    return Progress(3, now)


def course(progress: Progress, now: Clock) -> None:
    """A scenario from start to result."""
    progress.scenario("kill-leader", 42, 60.0)
    progress.phase("start")
    now.s += 9
    progress.phase("warm")
    for _ in range(12):
        now.s += 1
        progress.tick(400, 1, 3)
    progress.phase("faults")
    progress.fault("kill-leader", (1,))
    now.s += 1
    progress.tick(80, None, None)
    progress.fault(None, ())
    progress.result("kill-leader", "failed", "The checker found lost once.")


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=60)


class TestProgress:
    def test_counts_scenarios_and_keeps_results(self, progress: Progress, now: Clock) -> None:
        course(progress, now)
        progress.scenario("bridge", 42, 30.0)
        assert (progress.number, progress.count, progress.name, progress.seconds) == (2, 3, "bridge", 30.0)
        assert [(result.name, result.word) for result in progress.results] == [("kill-leader", "failed")]

    def test_a_scenario_begins_with_nothing_known(self, progress: Progress, now: Clock) -> None:
        progress.scenario("one", 1, 60.0)
        progress.fault("pause-leader", (2,))
        progress.tick(400, 1, 3)
        progress.scenario("two", 1, 60.0)
        assert (progress.active, progress.targets, progress.leader) == (None, (), None)
        assert progress.acknowledged_per_s == 0

    def test_its_length_counts_from_the_warm_up(self, progress: Progress, now: Clock) -> None:
        progress.scenario("one", 1, 60.0)
        now.s += 20
        progress.phase("warm")
        now.s += 5
        assert (progress.scenario_gone_s, progress.gone_s) == (5, 25)


class TestPlain:
    def test_a_line_each_five_seconds_and_for_each_change(self, progress: Progress, now: Clock) -> None:
        console = plain()
        with Display(progress, console):
            course(progress, now)
        assert lines(console) == [
            "1/3 kill-leader, seed 42, 60 s",
            "  start 0:00 of 1:00, 0 acknowledged/s, no leader",
            "  warm 0:00 of 1:00, 0 acknowledged/s, no leader",
            "  warm 0:05 of 1:00, 400 acknowledged/s, node 1 leads term 3",
            "  warm 0:10 of 1:00, 400 acknowledged/s, node 1 leads term 3",
            "  faults 0:12 of 1:00, 400 acknowledged/s, node 1 leads term 3",
            "  fault: kill-leader on node 1",
            "  fault: none now",
            "kill-leader: failed  The checker found lost once.",
        ]

    def test_what_is_broken_stands_in_the_line(self, progress: Progress) -> None:
        progress.scenario("split", 1, 60.0)
        progress.fault("split", (0, 3))
        assert state_line(progress).endswith("no leader, fault split on node 0 3")

    def test_markup_in_names_is_text(self, progress: Progress) -> None:
        console = plain()
        with Display(progress, console):
            progress.result("[red]x[/blue]", "failed", "[/]")
        assert lines(console) == ["[red]x[/blue]: failed  [/]"]

    def test_an_ascii_terminal_gets_ascii(self, progress: Progress) -> None:
        file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        with Display(progress, Console(file=file, force_terminal=False)):
            progress.result("one", "failed", "für 3 s")
            progress.result("two", "passed")
        file.flush()
        assert file.buffer.getvalue().splitlines() == [b"one: failed  f?r 3 s", b"two: passed"]  # type: ignore[attr-defined]

    def test_after_its_end_it_hears_nothing(self, progress: Progress) -> None:
        console = plain()
        with Display(progress, console):
            pass
        progress.result("one", "passed")
        assert lines(console) == []


TALKATIVE = """
import sys, time
from rich.console import Console
from chaos.display import Display, Progress
progress = Progress(1, time.monotonic)
with Display(progress, Console(force_terminal={terminal})):
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(50):
        progress.scenario("one", 1, 60.0)
        progress.result("one", "passed")
sys.exit(7)
"""


@pytest.mark.parametrize("terminal", [False, True])
def test_output_that_nobody_reads_ends_no_run(terminal: bool) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", TALKATIVE.format(terminal=terminal)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=os.environ | {"TERM": "xterm"}, cwd=ROOT,
    )  # fmt: skip
    assert run.stdin and run.stdout and run.stderr
    with run:
        while b"ready" not in run.stdout.readline():
            assert run.poll() is None
        run.stdout.close()
        run.stdin.write(b"\n")
        run.stdin.close()
        assert run.stderr.read() == b""
    assert run.returncode == 7


def test_a_file_that_was_closed_ends_no_run(progress: Progress, now: Clock) -> None:
    console = plain()
    console.file.close()
    with Display(progress, console):
        course(progress, now)
    assert progress.results[0].word == "failed"


class TestTerminal:
    def test_draws_in_place_and_leaves_the_results(self, progress: Progress, now: Clock) -> None:
        file = io.StringIO()
        with Display(progress, Console(file=file, force_terminal=True, width=100, height=30, no_color=True)):
            course(progress, now)
        shown = file.getvalue()
        assert "kill-leader on node 1" in shown
        assert "node 1 leads term 3" in shown
        assert "kill-leader: failed" in shown
        assert shown.count("\x1b[1A") > 10  # up again, to draw over what was there
        assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")  # the cursor is back

    def test_a_dumb_terminal_gets_plain_lines(
        self, progress: Progress, now: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", "dumb")
        console = Console(file=io.StringIO(), force_terminal=True, width=100)
        with Display(progress, console):
            course(progress, now)
        assert lines(console)[0] == "1/3 kill-leader, seed 42, 60 s"

    @pytest.mark.parametrize("width", [20, 60, 120])
    def test_fits_any_width(self, progress: Progress, now: Clock, width: int) -> None:
        course(progress, now)
        progress.scenario("a-scenario-with-a-long-name", 2**60, 1800.0)
        progress.fault("cut-catch-up", (0, 1, 2, 3, 4))
        console = Console(file=io.StringIO(), width=width)
        console.print(picture(progress))
        assert all(len(line) <= width for line in lines(console))


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.9, "1:05"), (3600, "60:00")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
