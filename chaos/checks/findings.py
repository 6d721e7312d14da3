"""What the checks found: anomalies, each with its rule, a sentence, and the lines of the history that show it.

Rules of this file: all are counted, a few of each rule are kept as examples; a sentence says what contradicts what, in
words that need no knowledge of the checker.
"""

from __future__ import annotations

from dataclasses import dataclass, field

EXAMPLES = 10
"""Anomalies kept for each rule."""


@dataclass(frozen=True)
class Anomaly:
    """Something that no correct cluster can have answered. `lines` are lines of the history, from 1."""

    rule: str
    text: str
    lines: tuple[int, ...]


@dataclass
class Findings:
    """Where the checks put what they find, what they looked at, and what they would have needed to see."""

    anomalies: list[Anomaly] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, rule: str, text: str, *lines: int, times: int = 1) -> None:
        """An anomaly, that stands for `times` of its kind."""
        self.totals[rule] = self.totals.get(rule, 0) + times
        if sum(anomaly.rule == rule for anomaly in self.anomalies) < EXAMPLES:
            self.anomalies.append(Anomaly(rule, text, lines))

    def look(self, what: str, times: int = 1) -> None:
        """So many of `what` were compared."""
        self.checked[what] = self.checked.get(what, 0) + times

    def lack(self, sentence: str) -> None:
        """Evidence that the history does not hold: what it does hold may be right, and yet not prove enough."""
        self.missing.append(sentence)
