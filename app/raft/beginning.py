"""Who may begin a cluster: nodes with empty logs, as long as none of them has met a log that is not.

Theory: at the birth of a cluster all logs are empty, and a majority of empty nodes elects the first leader. Nodes that
have lost their disks look the same. A majority of those would found a cluster of their own, beside the node that still
holds what was acknowledged, and it would come to follow them. But that one is heard: it asks for votes, with a log, or
a leader speaks, who has one. Whoever has heard so much waits to be given that log, and votes for nobody without one.

Rules of this file: what was met is forgotten with the process, so that a cluster whose one log is lost for good can
begin again when its nodes are started anew.
"""

from __future__ import annotations

from app.raft.messages import AnyMessage, AppendEntries, InstallSnapshot, RequestVote

WAITS = (
    "stands for no election: its log is empty, and another node has one, which it waits to be given. Should that be "
    "gone for good, start all nodes anew"
)


class Beginning:
    """What a node whose log is empty has met since its start."""

    def __init__(self) -> None:
        self._has_met_log = False

    def meet(self, message: AnyMessage) -> None:
        """A member has said this."""
        asks_with_log = isinstance(message, RequestVote) and message.last_log_index > 0
        self._has_met_log |= asks_with_log or isinstance(message, AppendEntries | InstallSnapshot)

    def may_lead(self, last_log_index: int) -> bool:
        """Whether one whose log ends there may, as far as is known here: with an empty one but a new cluster."""
        return last_log_index > 0 or not self._has_met_log
