"""The HTTP side of a node as one FastAPI application.

Theory: FastAPI routes, documents and serves the pages; the routes themselves are `Operation`s, answered by
`Endpoint`s. A hot route is looked up before FastAPI is entered, since its middleware and router cost more
than a publish does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp

from app.api import schemas
from app.api.calls import Answer, Receive, Scope, Send
from app.api.classic import Classic, refusal
from app.api.cluster import ClusterRoutes
from app.api.docs import add_docs
from app.api.endpoint import Endpoint, HotPaths
from app.api.health import Health
from app.api.metrics import Meters, Metrics
from app.api.operations import Operation
from app.api.peek import Peeking
from app.api.polls import LongPolls
from app.api.problems import CODES, Problem, problem_answer
from app.api.publish import Publishing
from app.api.queue import Queue
from app.api.receive import Receiving
from app.api.schedules import Schedules
from app.api.session import Sessions
from app.api.settle import Settling
from app.api.stream import Streams
from app.api.subscriptions import Subscriptions
from app.api.topic_actions import TopicActions
from app.api.topics import Topics
from app.version import VERSION

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node

_DESCRIPTION = """A message queue replicated by Raft. An answer of success means: the operation is on the disks of a
majority, and no fault that leaves a majority's disks readable can undo it. Any node takes any request.

Errors of `/v1` are `application/problem+json` (RFC 9457) with a stable `code`, `retryable`, and `outcome`:
`not_committed`, or `unknown` (it may still take effect; a retry with the same `Idempotency-Key` is safe). The classic
routes answer `{"success": false}` and say the same in the headers `RMQ-Code`, `RMQ-Detail` and `RMQ-Outcome`.

Whatever the route, a request that is no HTTP/1.1 is answered with 400, one that does not arrive in time with 408, one
with too long a path with 414, and one with too many headers with 431."""
_TAGS = [
    {"name": "classic", "description": "Five routes as simple REST message queues have them."},
    {"name": "topics", "description": "Create, look at, change, delete, list; purge and redrive."},
    {"name": "messages", "description": "Publish, receive, ack, give back, peek."},
    {"name": "subscriptions", "description": "Several groups of consumers, each with every message."},
    {"name": "schedules", "description": "Messages that are published at the ticks of a cron expression."},
    {"name": "cluster", "description": "Members and leadership."},
    {"name": "operations", "description": "For supervisors and monitoring."},
]


class OperationRoute(APIRoute):
    """A route that FastAPI matches and documents, and an `Endpoint` answers in place of FastAPI's own machinery.
    `actions`: by path, the ends that make another one of it, such as `:purge` behind a topic."""

    def __init__(self, operation: Operation, endpoint: Endpoint, actions: Mapping[str, Sequence[str]]) -> None:
        async def documented() -> None: ...

        super().__init__(
            operation.path, documented, methods=[operation.method], name=operation.name, tags=[operation.tag],
            summary=operation.summary, description=operation.description, operation_id=operation.name,
            status_code=min(operation.answers), response_class=Response, openapi_extra=operation.openapi(),
        )  # fmt: skip
        self.app = endpoint
        self.operation = operation
        self._actions = actions

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As ever, but that no placeholder swallows an action."""
        if scope["path"].endswith(tuple(self._actions.get(self.operation.path, ()))):
            return Match.NONE, {}
        return super().matches(scope)


class Api(FastAPI):
    """FastAPI with doors of its own: one for hot paths, one for WebSockets (`on_websocket`)."""

    def __init__(self, on_websocket: ASGIApp) -> None:
        super().__init__(
            title="RMQ", version=VERSION, description=_DESCRIPTION, openapi_tags=_TAGS, docs_url=None, redoc_url=None,
            redirect_slashes=False,
        )  # fmt: skip
        self.on_websocket = on_websocket
        self.hot_paths = HotPaths()
        self._actions: dict[str, list[str]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.on_websocket(scope, receive, send)
            return
        if scope["type"] == "http":
            found = self.hot_paths.find(scope["method"], scope["path"])
            if found is not None:
                await found[0].serve(scope, receive, send, found[1])
                return
        await super().__call__(scope, receive, send)

    def add(self, operation: Operation, meters: Meters) -> None:
        """Serve an operation."""
        endpoint = Endpoint(operation, meters.route(operation.name))
        self.router.routes.append(OperationRoute(operation, endpoint, self._actions))
        base, _, action = operation.path.rpartition(":")
        if base.endswith("}"):
            self._actions.setdefault(base, []).append(f":{action}")
        if operation.hot:
            self.hot_paths.add(operation, endpoint)

    def openapi(self) -> dict[str, Any]:
        """OpenAPI of all operations, with the structs of `schemas` as components."""
        if self.openapi_schema is None:
            found = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes, tags=_TAGS
            )
            for route in self.routes:
                if isinstance(route, OperationRoute):
                    # Once more, since FastAPI leaves out every null, and in an example that is a value like others.
                    place = found["paths"][route.path_format][route.operation.method.lower()]
                    place.update(route.operation.openapi())
            found.setdefault("components", {}).setdefault("schemas", {}).update(schemas.components())
            self.openapi_schema = found
        return self.openapi_schema

    def actions_at(self, operation: Operation) -> Sequence[str]:
        """What may stand behind the operation's path to make another one of it, such as `:purge`."""
        return self._actions.get(operation.path, ())

    def operations_at(self, scope: Scope) -> list[Operation]:
        """The operations that the path has, whatever the method."""
        routes = [route for route in self.routes if isinstance(route, OperationRoute)]
        return [route.operation for route in routes if route.matches(scope)[0] is not Match.NONE]


def create_app(node: Node, settings: Settings) -> Api:
    """The application over a node.

    `node`: the facade of `app.node`; nothing of it is called before the first request. `settings`:
    classic_strict, classic_timeout_ms and body_limit_bytes are read.
    """
    meters = Meters()
    polls = LongPolls(node.machine, node.stopping)
    queue = Queue(node)
    sessions = Sessions(node, queue, settings, polls, meters)
    app = Api(sessions.serve)
    groups = (
        Classic(node, queue, settings, meters), Topics(node, settings, meters), TopicActions(node, settings),
        Publishing(queue, settings, meters), Receiving(queue, settings, polls, meters), Settling(queue, settings),
        Peeking(node), Streams(node), sessions, Subscriptions(node, settings), Schedules(node, settings),
        ClusterRoutes(node, settings), Health(node), Metrics(node, meters, polls.waiting, lambda: sessions.count),
    )  # fmt: skip
    for group in groups:
        for operation in group.operations():
            app.add(operation, meters)
    add_docs(app)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(Exception, _defect)
    return app


async def _unrouted(request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)
    found = request.app.operations_at(request.scope)
    if error.status_code != 405:
        return _response(problem_answer(Problem("route_not_found", CODES["route_not_found"].example)))
    actions = [action for operation in found[:1] for action in request.app.actions_at(operation)]
    if actions and ":" in request.url.path.rpartition("/")[2]:
        return _response(problem_answer(Problem("route_not_found", f"The actions here are {' and '.join(actions)}.")))
    allowed = ", ".join(sorted(operation.method for operation in found)) or "GET"
    problem = Problem("method_not_allowed", f"The path takes: {allowed}.", headers=((b"allow", allowed.encode()),))
    return _response(refusal(problem) if found and found[0].classic else problem_answer(problem))


async def _defect(request: Request, error: Exception) -> Response:
    """An exception outside of an operation; the server writes it to its log."""
    return _response(problem_answer(Problem("internal", CODES["internal"].example)))


def _response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    return response
