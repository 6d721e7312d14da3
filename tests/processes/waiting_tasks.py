"""A TaskIQ app whose tasks wait for a file, so that a test knows what a worker has in hand when it ends."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from examples.taskiq_broker import RMQBroker

LEASE_S = 15
broker = RMQBroker(topic="waiting", lease_s=LEASE_S)
log = logging.getLogger("waiting")


@broker.task("wait_for")
def wait_for(path: str, number: int) -> None:
    log.info("begun %d", number)
    while not Path(path).exists():
        time.sleep(0.05)
    log.info("order %d: one tea", number)
