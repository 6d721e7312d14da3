"""What can go wrong, as exceptions.

    Error                        `outcome`, `code`, `detail`, `advice`
     ├ InvalidRequest            what was sent cannot be right: change it
     │   ├ PayloadTooLarge       send less at once
     │   ├ KeyReused             the key, or dedup_id, stands for something else: take a new one
     │   └ LeaseLost             the message may be somebody else's by now: do not count your work as done
     ├ NotFound                  create it first
     │   ├ TopicNotFound
     │   ├ SubscriptionNotFound
     │   └ ScheduleNotFound
     ├ Conflict                  it is there, otherwise than asked for: look at it
     │   ├ TopicExists
     │   └ VersionConflict
     ├ Unavailable               it did not happen, though it was tried until the time was over: try later
     │   ├ CannotConnect         no node could be reached
     │   ├ NoQuorum              the nodes that answer are no majority
     │   ├ Overloaded            slow down
     │   ├ TopicFull             consume from the topic, or raise its limits
     │   └ DiskFull              free space on the nodes
     ├ OutcomeUnknown            it may have happened, or may yet: the same call with the same key is safe
     ├ NotRMQ                    what answers at that address is no node: check the URL
     └ ClientClosed              the client cannot be used any more: make a new one

`outcome` says what is known of the operation: "not_committed", or "unknown". `code` is the node's, stable
and for programs; `detail` is a sentence about this case, `advice` one about what to do. Arguments that cannot be right
whatever the node says are ValueError or TypeError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

Outcome = Literal["not_committed", "unknown"]


class Error(Exception):
    """Anything that RMQ or the way to it refuses."""

    advice: ClassVar[str] = "Look at the code, and at the log of the node."

    def __init__(self, detail: str, *, code: str, outcome: Outcome = "not_committed") -> None:
        super().__init__(detail)
        self.detail, self.code, self.outcome = detail, code, outcome

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy: without `__init__`, which would ask for the code, and with all attributes."""
        return _bare, (type(self), *self.args), self.__dict__

    def __str__(self) -> str:
        return f"{self.detail} {self.advice} (code {self.code}, outcome {self.outcome})"


def _bare(kind: type[Error], *args: object) -> Error:
    return kind.__new__(kind, *args)


class InvalidRequest(Error):
    """The node refuses what was sent."""

    advice = "Change what you send."


class PayloadTooLarge(InvalidRequest):
    """More than a node takes in one request, 1 MiB by default."""

    advice = "Send less at once, or keep large things elsewhere and send their address."


class KeyReused(InvalidRequest):
    """The key was used for something else within the last minutes."""

    advice = "Take a new key for a new operation, and the same one only for a repetition."


class LeaseLost(InvalidRequest):
    """It was settled already, or its lease was over and somebody else may have it. `tokens`: of which messages."""

    advice = "Settle each once; where the work takes longer, ask for longer leases or extend them."

    def __init__(
        self, detail: str, *, code: str, outcome: Outcome = "not_committed", tokens: Sequence[str] = ()
    ) -> None:
        super().__init__(detail, code=code, outcome=outcome)
        self.tokens = list(tokens)


class NotFound(Error):
    """What was named is not there."""

    advice = "Create it first."


class TopicNotFound(NotFound):
    """There is no such topic."""


class SubscriptionNotFound(NotFound):
    """The topic has no such subscription."""


class ScheduleNotFound(NotFound):
    """The topic has no such schedule."""


class Conflict(Error):
    """What is there is not as it was expected to be."""

    advice = "Look at what is there, and decide anew."


class TopicExists(Conflict):
    """A topic of this name has other settings."""


class VersionConflict(Conflict):
    """The topic's settings were changed meanwhile."""


class Unavailable(Error):
    """It did not happen; nothing in the call was wrong."""

    advice = "Try again later."


class CannotConnect(Unavailable):
    """No node answered."""

    advice = "Check that the nodes run, and the URLs."


class NoQuorum(Unavailable):
    """No majority of the nodes answers."""

    advice = "Start the nodes that are missing, or mend the network between them."


class Overloaded(Unavailable):
    """More waits than a node takes at once."""

    advice = "Slow down."


class TopicFull(Unavailable):
    """The topic has as many messages, or bytes, as it may have."""

    advice = "`client.topic(name)` tells what waits, and its limits."


class DiskFull(Unavailable):
    """The leader has no room for what grows; consuming goes on."""

    advice = "Free space on the nodes, or consume."


class OutcomeUnknown(Error):
    """It may have happened, or may yet."""

    advice = "Repeat the call with the same key: it happens once."

    def __init__(self, detail: str, *, code: str, outcome: Outcome = "unknown") -> None:
        super().__init__(detail, code=code, outcome=outcome)


class NotRMQ(Error):
    """What answers does not speak as a node does."""

    advice = "Check the URL: it is a node's, http:// or https://, with the client port."


class ClientClosed(Error):
    """The client was closed, or is an AsyncClient or a session of the process that this one was forked from."""

    advice = "Make a new client."


_BY_CODE: dict[str, type[Error]] = {
    "body_too_large": PayloadTooLarge, "key_reused": KeyReused, "lease_lost": LeaseLost, "bad_token": LeaseLost,
    "topic_not_found": TopicNotFound, "subscription_not_found": SubscriptionNotFound,
    "schedule_not_found": ScheduleNotFound, "consumer_not_found": NotFound, "topic_exists": TopicExists,
    "topic_taken": TopicExists, "version_conflict": VersionConflict, "too_many": Conflict,
    "last_subscription": Conflict, "no_quorum": NoQuorum, "overloaded": Overloaded, "topic_full": TopicFull,
    "disk_full": DiskFull,
}  # fmt: skip


def of_problem(code: str, detail: str, outcome: Outcome, *, retryable: bool) -> Error:
    """The exception for a node's problem (RFC 9457)."""
    if outcome == "unknown":
        return OutcomeUnknown(detail, code=code)
    other = Unavailable if retryable else InvalidRequest
    return _BY_CODE.get(code, other)(detail, code=code, outcome=outcome)
