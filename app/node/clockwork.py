"""What time brings, as commands for the log: whoever leads proposes them, and the log decides.

A Tick, when something is due by the queue's own time: a lease ends, a delayed message arrives. A Fire, when the tick
of a schedule has come; when the one after it will be is worked out here, since no replica's machine reads a calendar.

A Fire may come to nothing: its message finds no place, or the proposal is lost. So a tick that was tried is left out
for a while, whatever became of it; one that fired is not due any more. Who is left out takes no room from the others:
fewer than `TRIED_MAX` schedules that cannot fire hold up nobody.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator

from app.broker.commands import Fire, Tick, encode
from app.broker.errors import StateFull
from app.broker.queries import ScheduleInfo
from app.node.cron import next_tick_ms
from app.node.protocols import StateMachine

log = logging.getLogger("rmq.node")

LOOK_EVERY_MS, RETRY_MS = 100, 1000
"""Between two looks for what is due, and between two tries of one tick."""
FIRES_MAX, TRIED_MAX = 50, 5000
"""Schedules that are fired at once, and within `RETRY_MS`; the others a moment later."""

_TICK = encode(Tick())


class Clockwork:
    """Of one group, on every member; only the leader's is asked."""

    def __init__(self, machine: StateMachine) -> None:
        self._machine = machine
        self._look_at_ms = 0
        self._tried: dict[tuple[int, int], int] = {}
        """Schedules with their ticks that were tried less than `RETRY_MS` ago, and when."""

    def commands(self, now_ms: int) -> Iterator[tuple[bytes, bool]]:
        """What is wanted at this log time: commands, and whether each makes the data grow."""
        if self._machine.next_due_ms <= now_ms:
            yield _TICK, False
        if now_ms < self._look_at_ms:
            return
        self._tried = {tick: at_ms for tick, at_ms in self._tried.items() if now_ms - at_ms < RETRY_MS}
        room = min(FIRES_MAX, TRIED_MAX - len(self._tried))
        self._look_at_ms = now_ms + LOOK_EVERY_MS
        try:
            due = self._machine.due_schedules(now_ms, room, self._tried.keys())
        except StateFull:
            return  # The state cannot be looked at for want of disk space, which may return.
        if due:
            self._look_at_ms = now_ms
        for schedule in due:
            self._tried[schedule.id, schedule.next_ms] = now_ms
            try:
                yield encode(_fire(schedule)), True
            except ValueError as error:
                # It was checked when it was made; another release of the calendar may know better.
                log.warning("the schedule %r cannot go on: %s", schedule.name, error)


def _fire(schedule: ScheduleInfo) -> Fire:
    moment = datetime.datetime.fromtimestamp(schedule.next_ms / 1000, datetime.UTC)
    tick = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Fire(schedule.id, schedule.next_ms, tick, next_tick_ms(schedule.cron, schedule.zone, schedule.next_ms))
