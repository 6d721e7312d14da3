"""The verdict on a run: passed, failed or inconclusive, and each reason as a sentence.

    failed        the checker found an anomaly; or no acknowledgement came for longer than allowed though a majority was
                  up and connected; or the cluster was healed and did not become whole again; or a client was answered
                  something that no fault explains
    inconclusive  none of these, but the run does not prove enough: a fault that was not shown to take hold, a heal that
                  could not be done, too little load, too few acknowledgements, evidence missing
    passed        neither

Rules of this file: pure; failed goes before inconclusive, and both say all their reasons. Nothing is rounded in a
run's favour: what was not shown did not happen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec

from chaos.checker import Report
from chaos.figures import Figures, Round

Word: TypeAlias = Literal["passed", "failed", "inconclusive"]

REASONS_OF_A_KIND = 5
"""Rounds that are named with the same complaint; the others are counted."""


class Demands(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario must have shown.

    `healthy`: names of the faults that leave a majority up and connected; a round with one of them may be at most
    `gap_s` seconds without an acknowledgement. `expected`: codes of refusals that faults explain.
    `least_rate`: acknowledged operations a second before the first fault; `least_acknowledged`: in all.
    """

    healthy: frozenset[str]
    expected: frozenset[str]
    gap_s: float = 1.0
    least_rate: float = 200.0
    least_acknowledged: int = 5_000


class Verdict(msgspec.Struct, frozen=True):
    """The word, and why: no reasons if passed."""

    word: Word
    reasons: list[str]


def judge(report: Report, figures: Figures, demands: Demands, troubles: Sequence[str] = ()) -> Verdict:
    """The verdict on one run. `troubles`: sentences of the runner about what it could not do or gather."""
    failures = [
        *_anomalies(report), *_gaps(figures, demands), *_still_broken(figures), *_strange_answers(figures, demands)
    ]  # fmt: skip
    if failures:
        return Verdict("failed", failures)
    doubts = [*troubles, *_proofs(figures), *_load(figures, demands), *report.missing]
    if doubts:
        return Verdict("inconclusive", doubts)
    return Verdict("passed", [])


def overall(words: Iterable[Word]) -> Word:
    """The verdict on all: passed only if each passed and there was one; failed goes before inconclusive."""
    found = set(words)
    if "failed" in found:
        return "failed"
    return "passed" if found == {"passed"} else "inconclusive"


def exit_code(word: Word) -> int:
    """0 only for passed."""
    return 0 if word == "passed" else 1


def title(each: Round) -> str:
    """What happened in a round, for people: "Round 3 (kill-leader, node 1)"."""
    if not each.targets:
        return f"Round {each.number} ({each.fault})"
    nodes = "node" if len(each.targets) == 1 else "nodes"
    return f"Round {each.number} ({each.fault}, {nodes} {', '.join(map(str, each.targets))})"


def _anomalies(report: Report) -> Iterator[str]:
    for rule, total in report.totals.items():
        example = next(anomaly.text for anomaly in report.anomalies if anomaly.rule == rule)
        yield f"The checker found {rule} {_times(total)}. {example}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _gaps(figures: Figures, demands: Demands) -> Iterator[str]:
    found = (
        f"{title(each)}: {each.gap_s:.3f} s without an acknowledgement, from {each.gap_at:.3f} s on, though a majority "
        f"was up and connected; {demands.gap_s:g} s are allowed."
        for each in figures.rounds
        if each.fault in demands.healthy and each.gap_s > demands.gap_s
    )
    yield from _few(found, "rounds had gaps longer than allowed.")


def _still_broken(figures: Figures) -> Iterator[str]:
    """The heal was done, and yet a node did not come back, or not to where the others are."""
    undone = [r for r in figures.rounds if r.undone]
    unhealed = (f"{title(r)}: healed, and not whole again: {r.healing}." for r in undone if not r.healed)
    yield from _few(unhealed, "rounds were healed and not whole again.")
    unwhole = (f"{title(r)}: healed, and full redundancy did not return." for r in undone if r.redundant_s is None)
    yield from _few(unwhole, "rounds were healed and did not come back to full redundancy.")


def _strange_answers(figures: Figures, demands: Demands) -> Iterator[str]:
    for code, count in figures.errors.items():
        if code not in demands.expected:
            yield f"Clients were answered {code!r} {_times(count)}, which no fault explains."


def _proofs(figures: Figures) -> Iterator[str]:
    if not figures.rounds:
        yield "Not one fault was injected."
    rounds = figures.rounds
    unproven = (f"{title(r)}: the fault was not shown to take hold: {r.proof}." for r in rounds if not r.proven)
    yield from _few(unproven, "rounds' faults were not shown to take hold.")
    unhealed = (f"{title(r)}: the fault could not be healed: {r.healing}." for r in rounds if r.proven and not r.undone)
    yield from _few(unhealed, "rounds' faults could not be healed.")


def _load(figures: Figures, demands: Demands) -> Iterator[str]:
    if figures.before_rate is None:
        yield "There was no time before the first fault to measure a rate in."
    elif figures.before_rate < demands.least_rate:
        yield (
            f"Before the first fault {figures.before_rate:.0f} operations a second were acknowledged; "
            f"a run counts from {demands.least_rate:g} on."
        )
    if figures.acknowledged < demands.least_acknowledged:
        yield (
            f"In all {figures.acknowledged:,} operations were acknowledged; a run counts from "
            f"{demands.least_acknowledged:,} on."
        )
    if "end" not in figures.phases:
        last = figures.phases[-1] if figures.phases else "start"
        yield f"The run did not come to its end; the last phase it reached is {last!r}."


def _few(sentences: Iterable[str], others: str) -> Iterator[str]:
    """The first sentences, and how many more there are."""
    found = list(sentences)
    yield from found[:REASONS_OF_A_KIND]
    if len(found) > REASONS_OF_A_KIND:
        yield f"{len(found) - REASONS_OF_A_KIND} more {others}"
