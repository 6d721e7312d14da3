"""The client of RMQ, the Raft Message Queue.

    import rmq

    with rmq.Client("http://localhost:8001,http://localhost:8002") as queue:
        queue.create_topic("orders")
        queue.publish("orders", {"drink": "coffee"})
        for message in queue.receive("orders", wait_s=5):
            print(message.body)
            queue.ack(message)

`client.consume` keeps leases and acks for you, `client.session` is for throughput. `rmq.AsyncClient` is the same for
asyncio. What they give, such as a `Session`, has its name here for annotations. `rmq.errors` draws the tree of
exceptions.
"""

from rmq.aio import AsyncClient
from rmq.aio_consumer import AsyncConsumer, AsyncWorker
from rmq.aio_session import AsyncSession
from rmq.client import Client
from rmq.consumer import Consumer, Worker
from rmq.errors import Error
from rmq.messages import DeadLetter, Message, NewMessage, Peeked, Published
from rmq.policy import Retry
from rmq.session import Session
from rmq.topics import Cluster, Member, Redriven, Schedule, Settings, Subscription, Topic

__version__ = "0.1.0"

__all__ = [
    "AsyncClient", "AsyncConsumer", "AsyncSession", "AsyncWorker", "Client", "Cluster", "Consumer", "DeadLetter",
    "Error", "Member", "Message", "NewMessage", "Peeked", "Published", "Redriven", "Retry", "Schedule", "Session",
    "Settings", "Subscription", "Topic", "Worker",
]  # fmt: skip
