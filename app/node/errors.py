"""How an operation can end other than well, and what the caller may conclude.

    NodeError                 outcome           what to do
     ├ NotCommitted           not_committed     it did not happen; try again
     │   ├ NoQuorum           not_committed     no leader with a majority could be reached in time
     │   ├ Overloaded         not_committed     the inbox is full; wait `retry_after_s`
     │   ├ DiskFull           not_committed     the leader has no room for what grows; reads and consumes go on
     │   └ ShuttingDown       not_committed     this node is going away; ask another
     └ OutcomeUnknown         unknown           it may have happened or may yet; retry with the same key
"""

from __future__ import annotations


class NodeError(Exception):
    """See the module. `retry_after_s` is None where only the caller can tell."""

    outcome = "unknown"
    retry_after_s: float | None = None


class NotCommitted(NodeError):
    """The operation has no effect and will never have one."""

    outcome = "not_committed"


class NoQuorum(NotCommitted):
    """No leader that a majority follows answered in time."""

    retry_after_s = 0.5


class Overloaded(NotCommitted):
    """More is waiting than this node takes at once."""

    retry_after_s = 1.0


class DiskFull(NotCommitted):
    """The disks of a majority, or the leader's, have no room for operations that make the data grow."""

    retry_after_s = 5.0


class ShuttingDown(NotCommitted):
    """The node has been told to stop."""

    retry_after_s = 0.5


class OutcomeUnknown(NodeError):
    """The operation was handed on, and its fate was not learnt in time."""

    retry_after_s = 0.5
