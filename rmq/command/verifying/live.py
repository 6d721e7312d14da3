"""The line that a terminal shows while `verify` runs; nothing anywhere else.

Rules of this file: it is drawn from the event loop, a few times a second, and goes away at the end.
"""

from __future__ import annotations

import asyncio
from collections import deque

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rmq.command.verifying.notes import Notes

EVERY_S, RATE_S, LONG_S = 0.25, 2.0, 0.5


class Line:
    """`draw` says it once."""

    def __init__(self, notes: Notes, seconds: float) -> None:
        self._notes, self._seconds = notes, seconds
        self._seen: deque[tuple[float, int]] = deque([(notes.now(), notes.acknowledged)])

    def draw(self) -> Text:
        """How it goes."""
        notes = self._notes
        now, is_load = notes.now(), notes.doing == "load"
        self._seen.append((now, notes.acknowledged))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_S:
            self._seen.popleft()
        began, before = self._seen[0]
        rate, gone_s = (notes.acknowledged - before) / max(now - began, 0.001), now - notes.began_s
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{gone_s:3.0f} s of {self._seconds:g}" if is_load else f"{gone_s:3.0f} s, {notes.doing}", "bold")
        line.append(f"   {notes.acknowledged:,} acknowledged   {rate:,.0f}/s   ")
        if is_load and notes.pause_s() > LONG_S:
            line.append(f"none for {notes.pause_s():.1f} s", "bold red")
        else:
            line.append(f"longest without {notes.longest_s():.2f} s")
        leader = notes.leader()
        if leader is None:
            line.append("   no leader", "yellow")
        else:
            line.append(f"   node {leader.node} leads, term {leader.term}", "green")
        return line


async def show(line: Line, console: Console) -> None:
    """Until it is cancelled."""
    console.print(
        Text("Break the cluster now: kill, pause, restart its nodes. Ctrl-C ends early, and still judges.", "dim")
    )
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(line.draw(), refresh=True)
            await asyncio.sleep(EVERY_S)
