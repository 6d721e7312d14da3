"""From a fault of the leader to the next acknowledgement, as clients on the surviving nodes see it.

Theory: eight clients publish all the time, each one message after the other; one that has no answer after a while gives
up, connects again, and publishes another. Only a publish that was sent after the fault tells that the queue goes on. A
peer that loses what was on its way is so not charged with the patience of a single client.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import time

from bench.loads import Client
from bench.peers.peer import Peer

CLIENTS_A_NODE, PATIENCE_S = 4, 0.25
BEFORE_S, AFTER_S, GIVE_UP_S = 0.5, 1.0, 60.0
SIZE_BYTES = 100


class Trial:
    """One fault."""

    def __init__(self, peer: Peer, topic: str) -> None:
        self._peer, self._topic = peer, topic
        self._fault_at = math.inf
        self._resumed: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def run(self, how: int) -> float:
        """Send the leader that signal. -> milliseconds without an acknowledgement."""
        leader = await self._peer.prepare(self._topic)
        others = [(leader + step) % 3 for step in (1, 2)]
        tasks = [asyncio.create_task(self._publish(node)) for node in others for _ in range(CLIENTS_A_NODE)]
        try:
            await asyncio.sleep(BEFORE_S)
            self._fault_at = time.perf_counter()
            self._peer.kill(leader, how)
            async with asyncio.timeout(GIVE_UP_S):
                resumed_at = await self._resumed
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if how == signal.SIGSTOP:
            self._peer.kill(leader, signal.SIGCONT)
            self._peer.wait_ready()
        else:
            self._peer.restart(leader)
        await asyncio.sleep(AFTER_S)
        return 1000 * (resumed_at - self._fault_at)

    async def _publish(self, node: int) -> None:
        while True:
            client: Client | None = None
            try:
                async with asyncio.timeout(PATIENCE_S):
                    client = await self._peer.connect(node, self._topic, SIZE_BYTES, "asked")
                while True:
                    sent_at = time.perf_counter()
                    async with asyncio.timeout(PATIENCE_S):
                        await client.publish(1)
                    if sent_at > self._fault_at and not self._resumed.done():
                        self._resumed.set_result(time.perf_counter())
            except (OSError, TimeoutError, RuntimeError):
                await asyncio.sleep(0.01)
            finally:
                if client is not None:
                    with contextlib.suppress(OSError):
                        client.close()
