"""What can go wrong, as clients see it: one table of codes, one exception, one body (RFC 9457).

Rules of this file: a code is stable once published, and decides status and title; `retryable` says
whether the same request may succeed later; `outcome` says what became of the operation: `not_committed`,
or `unknown` (it may still take effect; a retry with the same Idempotency-Key is safe).
A detail tells the client what to change, and never repeats more than a name of what it sent.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from app.api.calls import NO_STORE, Answer, Header
from app.node import errors

PROBLEM_JSON: Header = (b"content-type", b"application/problem+json")

NOT_COMMITTED = "not_committed"
UNKNOWN = "unknown"


class Code(NamedTuple):
    """What is fixed about a code; `outcome` unless the raiser knows better. `example`: a usual detail."""

    status: int
    title: str
    example: str
    retryable: bool = False
    outcome: str = NOT_COMMITTED


_NO_QUORUM = "The cluster has no leader with a majority behind it. Nothing was changed."
_STOPPING = "This node is stopping: ask another one. Nothing was changed."
_FULL = "This node's queue of requests is full. Nothing was changed."
_DISK = "The log cannot take more entries until disk space returns. Nothing was changed."
_REFUSED = "The operation was not committed. Nothing was changed."
_LOST = (
    "The leader was lost or did not answer in time: the operation may still take effect. "
    "A retry with the same Idempotency-Key is safe."
)

# fmt: off
CODES: dict[str, Code] = {
    "malformed_json": Code(400, "The body is not JSON", "JSON is malformed: invalid character (byte 9)."),
    "invalid_body": Code(400, "The body does not have the shape that this route takes",
                         "Object contains unknown field `colour`."),
    "invalid_name": Code(400, "The name is not allowed",
                         "A name is 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-', "
                         "not '.' or '..' alone."),
    "invalid_topic": Code(400, "The topic's name is not allowed",
                          "A topic's name is 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-', "
                          "not '.' or '..' alone."),
    "invalid_parameter": Code(400, "A query parameter cannot be used",
                              "The query parameter `consistency` is `linearizable` or `stale`."),
    "invalid_cursor": Code(400, "The cursor was not made by this route",
                           "Send the `next_cursor` of an answer of this route, with the same question."),
    "invalid_header": Code(400, "A header cannot be used",
                           "Idempotency-Key is 1 to 256 visible ASCII characters, such as a UUID."),
    "invalid_request": Code(400, "The request is not HTTP", "The request cannot be read as HTTP/1.1."),
    "topic_taken": Code(400, "The topic exists already", "A topic of this name exists."),
    "bad_command": Code(400, "The queue refused the operation", "The operation cannot be applied."),
    "not_leader": Code(400, "This node does not lead, and is told not to forward",
                       "Send the request to the leader.", True),
    "foreign_origin": Code(403, "A page of another site asked for a session",
                           "A browser opens sessions from pages of this node's own address alone."),
    "route_not_found": Code(404, "There is no such path", "Look at /docs for the paths there are."),
    "topic_not_found": Code(404, "There is no such topic", "Create the topic first: PUT /v1/topics/orders."),
    "subscription_not_found": Code(404, "The topic has no such subscription",
                                   "Create it first: PUT /v1/topics/orders/subscriptions/mails."),
    "consumer_not_found": Code(404, "The session has no such consumer", "The session has no consumer 3."),
    "schedule_not_found": Code(404, "The topic has no such schedule",
                               "Create it first: PUT /v1/topics/orders/schedules/nightly."),
    "method_not_allowed": Code(405, "The path does not take this method", "The path takes: GET, PUT."),
    "request_timeout": Code(408, "The request did not arrive in time", "A request has to arrive within 10 s.", True),
    "topic_exists": Code(409, "The topic exists already", "The topic exists with other settings."),
    "too_many": Code(409, "There are too many of them", "The topic has 63 subscriptions already."),
    "last_subscription": Code(409, "A topic keeps one subscription", "It is the last subscription of the topic."),
    "version_conflict": Code(412, "The topic was changed meanwhile", "The topic is at version 3."),
    "body_too_large": Code(413, "The body is too large", "A body may have at most 1048576 bytes."),
    "uri_too_long": Code(414, "The request's path and query are too long", "At most 8192 bytes."),
    "unsupported_media_type": Code(415, "The body's content type is not JSON",
                                   "Send the body with Content-Type: application/json."),
    "key_reused": Code(422, "The Idempotency-Key was used with another request",
                       "The key belongs to another request of the last minutes: take a new one."),
    "invalid_message": Code(422, "The message cannot be stored in this topic",
                            "A message has a group or a priority, not both."),
    "invalid_settings": Code(422, "The settings do not go together", "A topic is not its own dead-letter topic."),
    "invalid_cron": Code(422, "The schedule's times cannot be worked out",
                         "The cron expression '61 * * * *' has a wrong minute."),
    "upgrade_required": Code(426, "The path takes WebSockets alone",
                             "Open a WebSocket: ws://, or wss://, with this path."),
    "overloaded": Code(429, "Too many requests are waiting", _FULL, True),
    "topic_full": Code(429, "The topic is full", "Consume from it, or raise its limits. Nothing was changed.", True),
    "headers_too_large": Code(431, "The request's headers are too large", "At most 32768 bytes and 100 headers."),
    "internal": Code(500, "The node failed to answer", "The cause is in this node's log.", True, UNKNOWN),
    "unknown_node": Code(422, "The cluster has no such node", "The nodes are 0, 1, 2."),
    "no_quorum": Code(503, "No majority of the cluster answers", _NO_QUORUM, True),
    "not_committed": Code(503, "The operation was not committed", _REFUSED, True),
    "not_ready": Code(503, "This node is not ready", "This node knows no leader yet.", True),
    "shutting_down": Code(503, "This node is stopping", _STOPPING, True),
    "too_many_connections": Code(503, "Too many clients are connected", "Ask another node, or later.", True),
    "outcome_unknown": Code(504, "It is not known whether the operation took effect", _LOST, True, UNKNOWN),
    "disk_full": Code(507, "The disk is full", _DISK, True),
}
# fmt: on


class ProblemDetails(msgspec.Struct, kw_only=True):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    outcome: str


class Problem(Exception):
    """A refusal on its way to the client. `headers` go into the answer (Retry-After, Allow, Connection)."""

    def __init__(self, code: str, detail: str, *, headers: tuple[Header, ...] = (), outcome: str | None = None) -> None:
        super().__init__(code, detail)
        assert code in CODES, code
        self.code = code
        self.detail = detail
        self.headers = headers
        self.outcome = outcome or CODES[code].outcome

    @property
    def status(self) -> int:
        return CODES[self.code].status


_encode = msgspec.json.Encoder().encode


def problem_details(problem: Problem) -> ProblemDetails:
    """The fields of application/problem+json."""
    code = CODES[problem.code]
    return ProblemDetails(
        type=f"urn:rmq:problem:{problem.code}", title=code.title, status=code.status, detail=problem.detail,
        code=problem.code, retryable=code.retryable, outcome=problem.outcome,
    )  # fmt: skip


def problem_answer(problem: Problem) -> Answer:
    """The whole answer of a /v1 route."""
    headers = (PROBLEM_JSON, NO_STORE, *problem.headers)
    return Answer(problem.status, _encode(problem_details(problem)), headers)


_NODE_ERRORS: tuple[tuple[type[errors.NodeError], str], ...] = (
    (errors.NoQuorum, "no_quorum"),
    (errors.Overloaded, "overloaded"),
    (errors.DiskFull, "disk_full"),
    (errors.ShuttingDown, "shutting_down"),
    (errors.OutcomeUnknown, "outcome_unknown"),
    (errors.NodeError, "not_committed"),
)


def problem_of(error: errors.NodeError) -> Problem:
    """What a failed submit or read means to a client."""
    code = next(code for kind, code in _NODE_ERRORS if isinstance(error, kind))
    headers: tuple[Header, ...] = ()
    if error.retry_after_s is not None and CODES[code].status != 504:
        headers = ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))),)
    return Problem(code, sentence(str(error)) or CODES[code].example, headers=headers, outcome=error.outcome)


def sentence(text: str) -> str:
    """The text of an exception as a detail."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def stopped(outcome: str = UNKNOWN) -> Problem:
    """The answer to a request that the end of the process cut short."""
    return Problem("shutting_down", "This node stopped before the operation was over.", outcome=outcome)
