"""Equal positions in the log, equal states: the nodes apply the same entries, so they must come to the same hash.

Theory. Each status, and each node's state at the end, pairs an index with the hash of the state there. Whoever has
been at that index must have had that hash. At the end, healed and drained, all nodes stand at the same index.

Rules of this file: a node whose state at the end is not known is missing evidence, not agreement.
"""

from __future__ import annotations

from chaos.checks.findings import Findings
from chaos.history import Final, Status


class States:
    """The first hash that was seen for each index, and where each node ended."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._hashes: dict[int, tuple[str, int, int]] = {}
        """Index -> hash, node, line."""
        self._finals: dict[int, tuple[Final, int]] = {}

    def add(self, line: int, seen: Status | Final) -> None:
        """A status, or a state at the end."""
        if isinstance(seen, Final):
            self._finals[seen.node] = (seen, line)
            self._compare(seen.applied_index, seen.state_hash, seen.node, line)
        else:
            self._compare(seen.state_index, seen.state_hash, seen.node, line)

    def _compare(self, index: int, state_hash: str, node: int, line: int) -> None:
        known, other, first = self._hashes.setdefault(index, (state_hash, node, line))
        if node != other:
            self._findings.look("states compared between nodes")
        if state_hash != known:
            text = f"At index {index} node {other} has state {known}, node {node} has {state_hash}."
            self._findings.add("state_differs", text, first, line)

    def judge(self, nodes: int) -> None:
        """Say what is wrong, once all is added. `nodes`: how many there are, numbered from 0."""
        for node in range(nodes):
            if node not in self._finals:
                self._findings.lack(f"Node {node}'s state at the end is not known: read it after draining.")
        at = sorted((final.applied_index, node, line) for node, (final, line) in self._finals.items())
        if at and at[0][0] != at[-1][0]:
            (low, slow, line), (high, fast, other) = at[0], at[-1]
            text = f"At the end, with nothing going on, node {slow} stands at index {low} and node {fast} at {high}."
            self._findings.add("state_differs", text, line, other)
