"""A kitchen with FastStream. Start it, as often as you like, then order something:

    python -m examples.faststream_app
    python -m examples.faststream_app 20

Both take the cluster from the variable RMQ_URL, else the nodes of `make run`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

from faststream import Context, FastStream, Logger
from pydantic import BaseModel

import rmq
from examples.faststream_broker import RMQBroker

broker = RMQBroker()
app = FastStream(broker)  # type: ignore[arg-type] # It is no BrokerUsecase, but does what FastStream calls.


class Order(BaseModel):
    """What a guest wants."""

    number: int
    drink: str


class Receipt(BaseModel):
    """What a guest gets."""

    number: int
    text: str


@broker.subscriber("orders", concurrency=8, lease_s=30)
@broker.publisher("receipts")
async def make(order: Order, logger: Logger, message: Annotated[rmq.Message, Context()]) -> Receipt:
    """Takes its time."""
    await asyncio.sleep(0.1)
    logger.info("order %d: one %s, delivery %d", order.number, order.drink, message.deliveries)
    return Receipt(number=order.number, text=f"one {order.drink}")


async def order(count: int) -> None:
    """Order, and go. The dedup_id makes it safe to run this twice: each order is stored once."""
    await broker.connect()
    for number in range(count):
        await broker.publish(Order(number=number, drink="tea"), "orders", dedup_id=f"order-{number}")
    print(f"{count} orders are on the disks of a majority")
    await broker.client.close()


if __name__ == "__main__":
    asyncio.run(order(int(sys.argv[1])) if len(sys.argv) > 1 else app.run())
