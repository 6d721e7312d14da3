"""One node of PySyncObj, with a queue replicated by it; started by the peer as `python -m bench.peers.pysyncobj_node`.

Theory: who uses PySyncObj calls it from inside a node, so the load runs here: on the loop that also ticks PySyncObj, so
that nothing waits for a thread. A line of JSON asks for a load and is answered by a line; the load's clients are then
plain calls. While a load runs the node ticks without pause, else every millisecond; its own default is 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import deque
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated

from bench import loads

IDLE_TICK_S, PUBLISH_LIMIT_S = 0.001, 2.0
APPEND_EVERY_S = 0.0005
"""PySyncObj's default, 0.1, is what each publish would wait for."""


class Queue(SyncObj):
    """The messages of one queue."""

    def __init__(self, own: str, others: list[str], journal: str) -> None:
        settings = SyncObjConf(autoTick=False, journalFile=journal, appendEntriesPeriod=APPEND_EVERY_S)
        super().__init__(own, others, settings)
        self._messages: deque[str] = deque()

    @replicated
    def put(self, message: str) -> None:
        """Append a message."""
        self._messages.append(message)

    @replicated
    def take(self) -> str | None:
        """Take the oldest message; None when there is none."""
        return self._messages.popleft() if self._messages else None


class Inside:
    """A client inside the node: each message is a command of its own; many are given without waiting in between."""

    def __init__(self, queue: Queue, size_bytes: int) -> None:
        self._queue, self._message = queue, "x" * size_bytes

    async def publish(self, count: int) -> None:
        """Await that all are applied."""
        await asyncio.gather(*(self._call(self._queue.put, self._message) for _ in range(count)))

    async def consume(self, count: int) -> int:
        """Take so many."""
        taken = await asyncio.gather(*(self._call(self._queue.take) for _ in range(count)))
        return sum(message is not None for message in taken)

    def _call(self, command: Any, *arguments: str) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(result: Any, failure: int) -> None:
            if future.done():
                return
            if failure:
                future.set_exception(RuntimeError(f"PySyncObj: failure {failure}"))
            else:
                future.set_result(result)

        command(*arguments, callback=done)
        return future

    def close(self) -> None:
        """Nothing is open."""


class Node:
    """Ticks the queue, and does what is asked over its port."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self._running = queue, 0

    async def tick(self) -> None:
        """Keep PySyncObj going. A node without a load waits in its poll; nothing else goes on here then."""
        while True:
            self._queue.doTick(0.0 if self._running else IDLE_TICK_S)
            await asyncio.sleep(0)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A line for each line: a load, one publish, or who leads."""
        while line := await reader.readline():
            asked = json.loads(line)
            if asked["what"] == "status":
                status = self._queue.getStatus()
                found: Any = {"leader": str(status["leader"]), "ready": self._queue.isReady()}
            else:
                is_load = asked["what"] == "load"
                self._running += is_load
                try:
                    found = await (self._load(asked) if is_load else self._publish(asked))
                except (RuntimeError, TimeoutError) as error:
                    found = {"error": str(error) or "no answer"}
                finally:
                    self._running -= is_load
            writer.write(json.dumps(found).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _publish(self, asked: dict[str, Any]) -> object:
        """PySyncObj forgets what was on its way to a leader that is gone: nobody calls back."""
        async with asyncio.timeout(PUBLISH_LIMIT_S):
            await Inside(self._queue, asked["size_bytes"]).publish(asked["count"])
        return {}

    async def _load(self, asked: dict[str, Any]) -> object:
        client = Inside(self._queue, asked["size_bytes"])

        async def connect(how: loads.How) -> loads.Client:
            return client

        return list(await loads.run(loads.BY_KEY[asked["load"]], connect, asked["seconds"]))


async def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--own", "--journal"):
        parser.add_argument(name, required=True)
    parser.add_argument("--others", nargs="+", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    node = Node(Queue(options.own, options.others, options.journal))
    await asyncio.start_server(node.answer, "127.0.0.1", options.port)
    await node.tick()


if __name__ == "__main__":
    asyncio.run(main())
