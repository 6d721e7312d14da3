"""When a schedule is due: cron expressions of five fields, in a time zone, as Debian's cron reads them.

Rules of this file: pure; whoever asks brings the time. The answer goes into the log, so that no replica reads a
calendar. Where clocks are set forward, a tick at an hour that is not there comes right after it; where they are set
back, a tick at an hour that is there twice comes once, at the first.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_OF_THE_MACHINE = ("localtime", "posixrules")
"""Names of files beside those of the zones: they say where the machine stands, and each stands elsewhere."""


def next_tick_ms(cron: str, zone: str, after_ms: int) -> int:
    """The first tick after that time; both in Unix milliseconds. Raises ValueError, with a sentence, for an expression
    or a zone that cannot be used, and when there is no tick within 50 years."""
    ticks = _parse(cron, datetime.fromtimestamp(after_ms // 1000, _zone(zone)))
    for tick in ticks:
        # Clocks that were set back: the first of two equal hours may be over already.
        tick_ms = round(tick.timestamp()) * 1000
        if tick_ms > after_ms:
            return tick_ms
    raise ValueError(f"the cron expression {cron!r} has no tick in the next 50 years")


def _parse(cron: str, start: datetime) -> CronSim:
    if len(cron.split()) != 5:
        raise ValueError("a cron expression has five fields: minute, hour, day of month, month, day of week")
    try:
        return CronSim(cron, start)
    except CronSimError as error:
        raise ValueError(f"the cron expression {cron!r} has a {str(error).lower().replace('bad ', 'wrong ')}") from None


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        if name in _OF_THE_MACHINE:
            raise ValueError
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}: take a name such as UTC or Europe/Berlin") from None
