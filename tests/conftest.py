"""What holds for all tests: no property is judged by the clock, since many run on what others leave over; and a
Ctrl-C reaches whatever a test starts, also where a shell's background job runs them, which ignores it."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
