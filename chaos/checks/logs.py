"""Equal positions, equal entries: what one node holds as committed at an index, every node that has it holds.

Rules of this file: entries that only one node still has (the others have compacted them) are compared with nothing;
how many were compared is counted, and none at all is missing evidence.
"""

from __future__ import annotations

from chaos.checks.findings import Findings
from chaos.history import LogPiece


class Logs:
    """The first entry that was seen at each index."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._entries: dict[int, tuple[int, str, int, int]] = {}
        """Index -> term, digest, node, line."""
        self._nodes: set[int] = set()

    def add(self, line: int, piece: LogPiece) -> None:
        """A piece of a node's log."""
        self._nodes.add(piece.node)
        compared, last = 0, 0
        for index, (term, digest) in enumerate(piece.entries, piece.first_index):
            known, other, node, first = self._entries.setdefault(index, (term, digest, piece.node, line))
            compared += node != piece.node
            if (known, other) != (term, digest):
                held = f"node {node} holds {other} of term {known} (line {first})"
                text = f"At index {index} {held}, node {piece.node} {digest} of term {term} (line {line})."
                self._findings.add("log_differs", text, first, line)
            if term < last:
                text = f"In node {piece.node}'s log term {last} is followed by term {term}, at index {index}."
                self._findings.add("log_order", text, line)
            last = term
        self._findings.look("log entries compared between nodes", compared)

    def judge(self, nodes: int) -> None:
        """Say what is missing, once all is added. `nodes`: how many there are, numbered from 0."""
        for node in range(nodes):
            if node not in self._nodes:
                self._findings.lack(f"Node {node}'s log was not read: copy it after the end.")
        if nodes > 1 and not self._findings.checked.get("log entries compared between nodes"):
            self._findings.lack("No log entry was found on two nodes: nothing in the logs was compared.")
