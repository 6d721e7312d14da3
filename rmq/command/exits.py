"""Exit codes, for scripts:

0    done
1    `rmq verify` found something wrong
2    the command line, or a context, is not right: nothing was asked of the cluster
3    refused: what is named is not there, is otherwise, or is too much; the same again would be refused again
4    not available: no node, no majority, no room; it did not happen, later it may
5    unknown: it may have happened
6    partly: some of many messages are stored; the sentence says which
130  stopped by Ctrl-C
141  who read the output went away
"""

from __future__ import annotations

from rmq import errors

DONE, WRONG, USAGE, REFUSED, UNAVAILABLE, UNKNOWN, PARTLY = 0, 1, 2, 3, 4, 5, 6
INTERRUPTED, BROKEN_PIPE = 130, 141

_NEXT = {
    errors.CannotConnect: "Check that the nodes run (`docker compose ps`), and the addresses: --url, --context, "
    "RMQ_URL, or `rmq context ls`.",
    errors.TopicNotFound: "See `rmq topic ls`, or make it: `rmq topic create NAME`.",
    errors.SubscriptionNotFound: "See `rmq group ls TOPIC`, or make it: `rmq group create TOPIC NAME`.",
    errors.TopicExists: "See `rmq topic show NAME`; `rmq topic set NAME` changes its settings.",
    errors.TopicFull: "See `rmq topic show NAME`; `rmq topic set NAME --max-messages N` changes its limits.",
    errors.DiskFull: "`rmq cluster status` names the nodes that are full.",
    errors.NoQuorum: "See `rmq cluster status` for the nodes that are missing.",
    errors.OutcomeUnknown: "Look what is there before you do it again: `rmq peek TOPIC`, `rmq topic show TOPIC`.",
    errors.NotRMQ: "Give the address of a node's client port: `--url http://HOST:8001`.",
}


class UsageError(Exception):
    """What was typed cannot be right. Its text is a sentence that says what to type."""


class Partly(Exception):
    """Some of many messages are stored. Its text is a sentence that says which; `code` is the exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


class CannotWrite(Exception):
    """There is no room for the output, or nothing to write it to. Its text is a sentence."""


class ReaderGone(Exception):
    """Who read the output went away. (typer has an answer of its own to a BrokenPipeError.)"""


def of(error: errors.Error) -> int:
    """The exit code for an error of the client."""
    if isinstance(error, errors.OutcomeUnknown):
        return UNKNOWN
    return UNAVAILABLE if isinstance(error, errors.Unavailable) else REFUSED


def sentence(error: errors.Error) -> str:
    """What happened, and what to do next."""
    return f"{error.detail} {advice(error)}"


def advice(error: errors.Error) -> str:
    """What to do next."""
    return next((text for kind, text in _NEXT.items() if isinstance(error, kind)), error.advice)
