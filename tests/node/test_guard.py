"""What is guarded either succeeds or ends the process; once closed, nothing is called any more."""

from __future__ import annotations

import asyncio
import threading

import uvloop

from app.node.guard import Guard


def test_what_a_callable_raises_is_fatal_however_it_was_called() -> None:
    fatal: list[BaseException] = []

    def broken() -> None:
        raise AssertionError("an invariant")

    async def scenario() -> None:
        guard = Guard(asyncio.get_running_loop(), fatal.append)
        guard.soon(broken)
        guard.later(1, broken)
        thread = threading.Thread(target=guard.post, args=(broken,))
        thread.start()
        thread.join()
        await asyncio.sleep(0.05)
        assert [type(error) for error in fatal] == [AssertionError] * 3
        guard.soon(broken)
        guard.close()
        await asyncio.sleep(0.01)
        assert len(fatal) == 3

    uvloop.run(scenario())
