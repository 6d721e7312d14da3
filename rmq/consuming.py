"""What consumers of both kinds decide alike. The threads are in `consumer`, the tasks in `aio_consumer`.

The life of a message in a consumer's hands:

    received    on a lease, under a key, so that an answer that was lost is asked for again
    in hand     its lease is extended every third of it, however long the work takes, also while it waits its turn
    done        acked, when the work returned
    failed      given back with a delay, when the work raised; after the topic's `max_deliveries` it is a dead letter
    lost        the lease ended all the same (a pause, a partition): somebody else works on it; said in the log

What passes (no majority, a node that restarts) is sat out, and said in the log; an error that will not pass, such as a
topic that is not there, ends the consumer and is raised.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from rmq import errors
from rmq.messages import Message

log = logging.getLogger("rmq.consumer")

WAIT_S = 4.0
"""One receive waits so long, and so long may a stop have to wait for it."""
PAUSE_S = 0.5
"""After a call that was tried in vain for all its time."""
LONGEST_DELAY_S = 60.0

Delay = float | Callable[[Message], float]


def growing_delay_s(message: Message) -> float:
    """Seconds until a message that failed is handed out again: 1, 2, 4 and so on, 60 at most."""
    return min(LONGEST_DELAY_S, 2.0 ** min(message.deliveries - 1, 30))


def check_work(work: Any, *, may_be_async: bool) -> None:
    """Raises TypeError for what cannot do work: an async function without a loop, a generator function."""
    kinds = [work, getattr(work, "__call__", None)]  # noqa: B004 # Of an object it is its method that tells.
    if any(map(inspect.isgeneratorfunction, kinds)) or any(map(inspect.isasyncgenfunction, kinds)):
        raise TypeError("a generator function does no work when it is called: leave `yield` out")
    if not may_be_async and any(map(inspect.iscoroutinefunction, kinds)):
        raise TypeError("an async function needs `rmq.AsyncClient`, or leave `async` out: rmq.Client awaits nothing")


def check_done(result: object) -> None:
    """Raises TypeError where the work was not done, but gave back what would do it."""
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        raise TypeError(f"the work gave back a {type(result).__name__}, which nobody runs: do it, and return then")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How to consume. `concurrency`: so many messages are worked on at once. `prefetch`: so many more are held ready.
    `lease_s`: how long a message of a consumer that died is withheld from others. `retry_delay_s`: until a message that
    failed is handed out again, or what tells it. `idle_s`: stop when none has come for so long; None: never. `signals`:
    SIGTERM and SIGINT stop `run`, and a loop inside `with`, where nobody else in the program handles them."""

    topic: str
    subscription: str = "default"
    concurrency: int = 1
    prefetch: int = 0
    lease_s: float = 30.0
    retry_delay_s: Delay = growing_delay_s
    idle_s: float | None = None
    signals: bool = True

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.prefetch < 0 or self.concurrency + self.prefetch > 1000:
            raise ValueError("`concurrency` is 1 or more, `prefetch` 0 or more, together they are 1,000 at most")
        if not callable(self.retry_delay_s) and not 0 <= self.retry_delay_s < math.inf:
            raise ValueError("`retry_delay_s` is 0 or more seconds, or a function that tells them")
        if not 1 <= self.lease_s <= 43_200:
            raise ValueError("`lease_s` is from 1 to 43,200 seconds: it is extended while the work goes on")

    @property
    def capacity(self) -> int:
        """Messages in hand at most."""
        return self.concurrency + self.prefetch

    @property
    def extend_every_s(self) -> float:
        """Between two extensions."""
        return self.lease_s / 3

    @property
    def wait_s(self) -> float:
        """For one receive."""
        return WAIT_S if self.idle_s is None else min(WAIT_S, self.idle_s)

    def is_idle(self, since: float) -> bool:
        """Whether nothing has come for `idle_s`, by the monotonic clock."""
        return self.idle_s is not None and time.monotonic() - since >= self.idle_s

    def delay_s(self, message: Message) -> float:
        """Until this one, which failed, is handed out again. The usual where `retry_delay_s` itself goes wrong."""
        if not callable(self.retry_delay_s):
            return self.retry_delay_s
        try:
            found = float(self.retry_delay_s(message))
            if not 0 <= found < math.inf:
                raise ValueError(f"{found} are no seconds to wait")
        except Exception:
            log.exception("`retry_delay_s` failed for message %s of %s", message.id, message.topic)
            return growing_delay_s(message)
        return found


def passes(error: errors.Error) -> bool:
    """Whether it makes sense to go on after this."""
    return isinstance(error, errors.Unavailable | errors.OutcomeUnknown)


def say_lost(lost: Sequence[Message]) -> None:
    """Somebody else may work on these."""
    ids = ", ".join(message.id for message in lost)
    log.warning("the leases of %d messages had ended, they may be worked on twice: ids %s", len(lost), ids)


def say_unsettled(count: int, how: str, error: errors.Error) -> None:
    """They come again when their leases end."""
    log.warning("%d messages could not be %s, they will come again: %s", count, how, error)


def say_waiting(what: str, error: errors.Error) -> None:
    """It is tried again."""
    log.warning("%s, and go on trying: %s", what, error)


def say_failed(message: Message, delay_s: float) -> None:
    """Called while the work's exception is handled."""
    text = "work on message %s of %s failed (delivery %d); it is handed out again in %g s, or is a dead letter"
    log.exception(text, message.id, message.topic, message.deliveries, delay_s)
