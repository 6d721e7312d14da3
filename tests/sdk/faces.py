"""Both clients behind one interface, so that every test of one is a test of the other."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import rmq


class Sync:
    """rmq.Client."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.client = rmq.Client(*arguments, **options)

    def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        """What the method returns; of an iterator, all items."""
        found = getattr(self.client, name)(*arguments, **options)
        return list(found) if inspect.isgenerator(found) else found

    def close(self) -> None:
        self.client.close()


class Async:
    """rmq.AsyncClient, on an event loop of its own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = self._runner.run(self._make(arguments, options))

    @staticmethod
    async def _make(arguments: Any, options: Any) -> rmq.AsyncClient:
        return rmq.AsyncClient(*arguments, **options)

    def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        """What the method returns; of an iterator, all items."""
        return self._runner.run(self._call(name, arguments, options))

    async def _call(self, name: str, arguments: Any, options: Any) -> Any:
        found = getattr(self.client, name)(*arguments, **options)
        return [each async for each in found] if isinstance(found, AsyncIterator) else await found

    def close(self) -> None:
        self._runner.run(self.client.close())
        self._runner.close()


Face = Sync | Async
FACES: list[type[Sync] | type[Async]] = [Sync, Async]
