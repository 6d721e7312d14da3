"""Operations as ASGI callables, and the short way to the hot ones.

Rules of this file: every way out of a request ends in `Endpoint.serve`: an answer, a problem, nothing for a
client that hung up, or, where a defect shows, 500 with an unknown outcome.
"""

from __future__ import annotations

import asyncio
import logging
import time

from app.api.calls import Answer, Call, ClientGone, Receive, Scope, Send, Streaming, respond, respond_streaming
from app.api.classic import refusal
from app.api.metrics import RouteMeter
from app.api.operations import Operation
from app.api.problems import CODES, Problem, problem_answer, problem_of, stopped
from app.broker import StateFull
from app.node.errors import DiskFull, NodeError

_log = logging.getLogger("rmq.api")


class Endpoint:
    """One operation as an ASGI callable."""

    def __init__(self, operation: Operation, meter: RouteMeter) -> None:
        self._handler = operation.handler
        self._refuse = refusal if operation.classic else problem_answer
        self._observe = meter.observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.serve(scope, receive, send, tuple(scope["path_params"].values()))

    async def serve(self, scope: Scope, receive: Receive, send: Send, parameters: tuple[str, ...]) -> None:
        """Answer one request; `parameters` are what stands in the path's placeholders."""
        call = Call(scope, receive, parameters)
        answer = await self.answer(call)
        if isinstance(answer, Streaming):
            await respond_streaming(answer, call, send)
        elif answer is not None:
            await respond(answer, send)

    async def answer(self, call: Call) -> Answer | Streaming | None:
        """What the handler makes of it; None where there is nobody to answer any more."""
        started_s = time.perf_counter()
        try:
            answer = await self._handler(call)
        except Problem as problem:
            answer = self._refuse(problem)
        except NodeError as error:
            answer = self._refuse(problem_of(error))
        except StateFull:
            # Even a question may have the state write first what it holds in memory.
            answer = self._refuse(problem_of(DiskFull("this node's disk has no room for what it must write to answer")))
        except ClientGone:
            return None
        except asyncio.CancelledError:
            # The server cancels what is still in flight when its time to stop is over.
            answer = self._refuse(stopped())
        except Exception:
            _log.exception("%s %s failed", call.scope["method"], call.scope["path"])
            answer = self._refuse(Problem("internal", CODES["internal"].example))
        self._observe(200 if isinstance(answer, Streaming) else answer.status, time.perf_counter() - started_s)
        return answer


class HotPaths:
    """Hot operations by method and path. Such a path has at most one placeholder, which takes no slash."""

    def __init__(self) -> None:
        self._whole: dict[tuple[str, str], Endpoint] = {}
        self._parts: dict[str, list[tuple[str, str, Endpoint]]] = {}

    def add(self, operation: Operation, endpoint: Endpoint) -> None:
        """Register an operation."""
        head, brace, rest = operation.path.partition("{")
        if not brace:
            self._whole[operation.method, operation.path] = endpoint
            return
        tail = rest.partition("}")[2]
        assert "{" not in tail, "hot paths have one placeholder"
        self._parts.setdefault(operation.method, []).append((head, tail, endpoint))

    def find(self, method: str, path: str) -> tuple[Endpoint, tuple[str, ...]] | None:
        """The endpoint and what stands in the path's placeholder; None for FastAPI to look further."""
        endpoint = self._whole.get((method, path))
        if endpoint is not None:
            return endpoint, ()
        for head, tail, endpoint in self._parts.get(method, ()):
            if path.startswith(head) and path.endswith(tail):
                parameter = path[len(head) : len(path) - len(tail)]
                if parameter and "/" not in parameter:
                    return endpoint, (parameter,)
        return None
