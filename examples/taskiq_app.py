"""A kitchen with TaskIQ. Start workers, as many as you like, then order something:

    taskiq worker examples.taskiq_app:broker
    python -m examples.taskiq_app 20

Both take the cluster from the variable RMQ_URL, else the nodes of `make run`.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from pydantic import BaseModel

from examples.taskiq_broker import RMQBroker

broker = RMQBroker(topic="kitchen", lease_s=30, max_deliveries=5)
log = logging.getLogger("kitchen")


class Order(BaseModel):
    """What a guest wants."""

    number: int
    drink: str


@broker.task("brew")
async def brew(order: Order) -> None:
    """Takes its time."""
    await asyncio.sleep(0.1)
    log.info("order %d: one %s", order.number, order.drink)


async def main(count: int) -> None:
    """Order, and go. The id makes it safe to run this twice: each order is stored once."""
    await broker.startup()
    for number in range(count):
        await brew.kicker().with_task_id(f"order-{number}").kiq(Order(number=number, drink="tea"))
    print(f"{count} orders are on the disks of a majority")
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
