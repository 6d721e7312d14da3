"""At most one node leads in a term: over all that the nodes ever said of themselves.

Rules of this file: the claim of a term is kept for ever, since terms never come again.
"""

from __future__ import annotations

from chaos.checks.findings import Findings
from chaos.history import Status


class Leaders:
    """Who claimed which term."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._claims: dict[int, dict[int, int]] = {}
        """Term -> node -> the line in which it first said that it leads."""

    def add(self, line: int, status: Status) -> None:
        """One answer of one node."""
        self._findings.look("statuses")
        if status.role == "Leader":
            self._claims.setdefault(status.term, {}).setdefault(status.node, line)

    def judge(self) -> None:
        """Say what is wrong, once all is added."""
        self._findings.look("terms with a leader", len(self._claims))
        if not self._claims:
            self._findings.lack("No status shows a leader: poll GET /status of all nodes.")
        for term, claims in sorted(self._claims.items()):
            if len(claims) > 1:
                nodes = " and ".join(f"{node} (line {line})" for node, line in claims.items())
                self._findings.add("two_leaders", f"Nodes {nodes} both lead in term {term}.", *claims.values())
