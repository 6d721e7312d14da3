"""One call to the cluster, from the first try to the answer: failover, retries, and what is known in the end.

Theory: this is the protocol without input or output. `exchange` is a generator: it yields what is to be done (`Send`,
or `Pause`), is sent what came of it (`Reply`, `Failure`, or None), and returns the answer or raises. Both clients drive
the same generator, so that what is hard stands once, and a test drives it without a socket.

What a try can come to:

    answered                      done, whatever the status
    refused for now               not committed: tried again, elsewhere where that node is the cause
    surely not sent               not committed: another node, at once
    no answer, or "unknown"       it may have happened: tried again if the call is `repeatable`, as all with keys are

A try gets a share of the time that is left, so that a node that hangs does not cost the whole call.

Once a try may have happened, the call as a whole may have happened, until an answer says more.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable, Generator, Mapping
from typing import Any, Literal, NamedTuple

from rmq import errors
from rmq.policy import Nodes, Retry

PROBLEM = "application/problem+json"
LEAST_TRY_S = 1.0
"""However little time is left."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked, of whichever node. `wait_s`: what the node may take by itself (long polls)."""

    method: str
    path: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    content: bytes | None = None
    repeatable: bool = True
    wait_s: float = 0.0


class Send(NamedTuple):
    """Send the request to this node, and wait so long for the answer."""

    url: str
    request: Request
    connect_s: float
    answer_s: float


class Pause(NamedTuple):
    """Do nothing for so long."""

    seconds: float


class Reply(NamedTuple):
    """A node's answer. `headers`: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body. Raises NotRMQ where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise errors.NotRMQ("The answer is not JSON.", code="not_rmq", outcome="unknown") from None


class Failure(NamedTuple):
    """There is no answer. `sent`: the node may have got the request. `foreign`: what is there does not speak HTTP.
    `closed`: the client cannot ask anybody any more."""

    text: str
    sent: bool
    foreign: bool = False
    closed: bool = False


CLOSED = Failure("The client was closed.", sent=False, closed=True)

Step = Send | Pause
Result = Reply | Failure | None


class _Tries:
    """What is known of the call so far."""

    def __init__(self) -> None:
        self.rounds = 0
        self.doubt: errors.OutcomeUnknown | None = None
        self.last: errors.Error | None = None

    def error(self) -> errors.Error:
        """What to raise when the time is over."""
        found = self.doubt or self.last
        assert found is not None
        return found


def exchange(
    request: Request, nodes: Nodes, retry: Retry, now: Callable[[], float], rng: random.Random
) -> Generator[Step, Result, Reply]:
    """The answer with a status below 400. Raises Error. `now`: seconds of a clock that does not jump."""
    tries = _Tries()
    deadline = now() + retry.total_s
    asked: set[str] = set()
    while True:
        url = nodes.current
        most_s = _share_s(request, retry, deadline - now(), len(nodes.urls), len(asked))
        connect_s, attempt_s = min(retry.connect_s, most_s), min(retry.attempt_s, most_s)
        result = yield Send(url, request, connect_s, attempt_s + request.wait_s)
        assert isinstance(result, Reply | Failure)
        if isinstance(result, Reply) and result.status < 400:
            return result
        pause_s = _judge(result, request, tries, nodes, url)
        asked.add(url)
        if len(asked) >= len(nodes.urls):
            # Everybody was asked: it would be the same at once.
            asked.clear()
            pause_s = max(pause_s, retry.pause_s(tries.rounds, rng))
            tries.rounds += 1
        if now() + pause_s >= deadline:
            raise tries.error()
        if pause_s:
            yield Pause(pause_s)


def _share_s(request: Request, retry: Retry, left_s: float, nodes: int, asked: int) -> float:
    """What one try may take at most, beside its wait for messages: a node that hangs leaves their part to those that
    were not asked yet. No limit where no other one could follow."""
    if nodes == 1 or not request.repeatable or retry.total_s == 0:
        return math.inf
    return max(LEAST_TRY_S, left_s / (nodes - asked))


def _judge(result: Reply | Failure, request: Request, tries: _Tries, nodes: Nodes, url: str) -> float:
    """Note what the try came to. -> seconds to wait at least. Raises what is final."""
    if isinstance(result, Failure):
        if result.closed:
            raise tries.doubt or errors.ClientClosed(result.text, code="client_closed")
        nodes.leave(url)
        if result.foreign:
            outcome: Literal["unknown", "not_committed"] = "unknown" if result.sent else "not_committed"
            text = f"{url} does not speak HTTP as a node does: {result.text}."
            raise errors.NotRMQ(text, code="not_rmq", outcome=outcome)
        if result.sent and request.method == "GET":
            # A read changes nothing: there is nothing to be in doubt of.
            tries.last = errors.CannotConnect(f"{url} gave no answer: {result.text}.", code="no_answer")
        elif result.sent:
            tries.doubt = errors.OutcomeUnknown(f"{url} gave no answer: {result.text}.", code="no_answer")
            if not request.repeatable:
                raise tries.doubt
        else:
            tries.last = errors.CannotConnect(f"{url} could not be reached: {result.text}.", code="cannot_connect")
        return 0.0
    if result.status >= 500 and not _is_problem(result):
        return _judge(Failure(f"something in between answered {result.status}", sent=True), request, tries, nodes, url)
    error, retryable = problem_of(result)
    if not retryable:
        # A try that is in doubt may be the cause of this refusal; then the doubt is what there is to say.
        raise tries.doubt if tries.doubt and isinstance(error, errors.Conflict) else error
    if isinstance(error, errors.OutcomeUnknown):
        tries.doubt = error
        if not request.repeatable:
            raise error
    else:
        tries.last = error
    if result.status >= 500 or error.code in ("overloaded", "not_leader"):
        nodes.leave(url)
        nodes.prefer(result.headers.get("rmq-leader", ""))
    return _retry_after_s(result) if error.code in ("topic_full", "disk_full") else 0.0


def _is_problem(reply: Reply) -> bool:
    return reply.headers.get("content-type", "").partition(";")[0].strip() == PROBLEM


def problem_of(reply: Reply) -> tuple[errors.Error, bool]:
    """What an answer of 400 or more means, and whether another try makes sense."""
    if not _is_problem(reply):
        text = f"A node answers errors as {PROBLEM}; this is status {reply.status} without."
        return errors.NotRMQ(text, code="not_rmq"), False
    found = reply.json()
    try:
        code, detail, outcome, retryable = found["code"], found["detail"], found["outcome"], found["retryable"]
    except (TypeError, KeyError):
        return errors.NotRMQ("The answer is no node's problem.", code="not_rmq"), False
    return errors.of_problem(code, detail, outcome, retryable=retryable), bool(retryable)


def _retry_after_s(reply: Reply) -> float:
    value = reply.headers.get("retry-after", "")
    return float(value) if value.isdigit() and len(value) < 4 else 0.0
