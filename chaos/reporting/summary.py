"""verdict.json: all verdicts of a report with the figures, reasons and counts behind them, for programs.

Rules of this file: it says what the report says, under names that carry their units; whatever is needed to repeat a
scenario stands beside its verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import msgspec

from chaos.figures import by_fault, spread
from chaos.reporting.cases import Case
from chaos.reporting.verdict import Word, overall


def verdict_of(cases: Sequence[Case]) -> Word:
    """The verdict on all of them."""
    return overall(case.verdict.word for case in cases)


def document(cases: Sequence[Case]) -> bytes:
    """The text of verdict.json."""
    content = {
        "overall": verdict_of(cases),
        "scenarios": [_scenario(case) for case in cases],
        "by_fault": by_fault(case.figures for case in cases),
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


def _scenario(case: Case) -> dict[str, object]:
    run, report, rounds = case.run, case.report, case.figures.rounds
    return {
        "scenario": run.scenario, "verdict": case.verdict.word, "reasons": case.verdict.reasons,
        "seed": run.seed, "seconds": run.seconds, "nodes": run.nodes, "command": case.command,
        "started_at": run.started_at, "image": run.image, "version": run.version,
        "figures": case.figures,
        "gap_s": spread(each.gap_s for each in rounds), "leader_s": spread(each.leader_s for each in rounds),
        "redundant_s": spread(each.redundant_s for each in rounds),
        "checker": {
            "valid": report.valid, "totals": report.totals, "anomalies": [asdict(each) for each in report.anomalies],
            "counts": report.counts, "checked": report.checked, "missing": report.missing,
        },
        "files": case.files,
    }  # fmt: skip
