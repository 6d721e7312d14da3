"""The verdict on a history: everything that no correct cluster can have answered, and what is missing to be sure.

    report = check(read(path))      report.valid, report.anomalies, report.missing

What is promised, and checked here exactly:

  - A topic whose messages are done when they are handed out is a first-in, first-out queue, linearizable in real time:
    nothing acknowledged is lost, nothing is made up, doubled or reordered, and "nothing waits" is true when it is said.
  - In a topic whose messages are leased none is lost before it is acked, nor as a dead letter; none is handed out again
    before its lease is over or it was given back, none ever after an ack; deliveries are counted without a gap; delays
    are kept; first deliveries go in order, and a group waits for the one in front.
  - The list of topics is linearizable: each is made once, and seen by all from then on.
  - At most one node leads in a term; nodes at one index have one state; committed logs agree.

Semantics, as settled here:

  - Operation a comes before b if a.end < b.start; otherwise either may come first. Clients add nothing to this.
  - ok: took effect once, within its interval. fail: never. unknown: once at any time after its start, or never.
  - A publish of several values is one step: all of them, together, in order; or none. A receive that was answered is
    one step too: it takes all its values from the front at once. It may take fewer than it asked for.
  - A receive of unknown outcome that asked for k may have taken up to k messages, each at a time of its own (one step
    in truth; this is the weaker demand, and keeps the method exact). On a lease: each of them for that long.
  - Sequences grow along the queue, not necessarily by one. A message is received under the sequence that it was
    acknowledged with.
  - Leases and delays run by the cluster's clock: nothing ends early, measured from the start of what began it, with
    `deliveries.CLOCK_S` granted. How late something ends is not judged.
  - Messages may wait for ever where nobody looked; that is `missing` evidence, as is all else that a full
    run shows and this history does not. A verdict without evidence is none: look at `missing` too.

Rules of this file: pure, one pass over the records, then each subject's judgement; memory is for all messages at once,
some hundred bytes each. How it is done and why that is exact stands in `chaos.checks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from chaos.checks.findings import Anomaly, Findings
from chaos.checks.leaders import Leaders
from chaos.checks.logs import Logs
from chaos.checks.messages import Messages
from chaos.checks.states import States
from chaos.checks.topics import Topics
from chaos.history import Final, LogPiece, Op, Record, Run, Status, Topic


@dataclass(frozen=True)
class Report:
    """What was found. `lines` of anomalies count the records from 1."""

    anomalies: list[Anomaly]
    """Examples, at most `findings.EXAMPLES` of each rule."""
    totals: dict[str, int]
    """How often each rule was broken."""
    counts: dict[str, dict[str, int]]
    """Operations by kind and outcome."""
    checked: dict[str, int]
    """What was looked at, and how many of it."""
    missing: list[str]
    """What the history would have had to show for a full verdict: a sentence each."""

    @property
    def valid(self) -> bool:
        """No anomaly. It proves as much as the evidence does: see `missing`."""
        return not self.anomalies


def check(records: Iterable[Record]) -> Report:
    """Judge a history. Raises `HistoryError` where the harness contradicts itself, and what reading it raises."""
    findings = Findings()
    messages, topics = Messages(findings), Topics(findings)
    leaders, states, logs = Leaders(findings), States(findings), Logs(findings)
    counts: dict[str, Counter[str]] = {}
    nodes = 0
    for line, record in enumerate(records, 1):
        if isinstance(record, Op):
            counts.setdefault(record.kind, Counter())[record.outcome] += 1
            (topics if record.kind in ("create", "list") else messages).add(line, record)
        elif isinstance(record, Topic):
            messages.made(record)
        elif isinstance(record, Status):
            leaders.add(line, record)
            states.add(line, record)
        elif isinstance(record, LogPiece):
            logs.add(line, record)
        elif isinstance(record, Final):
            states.add(line, record)
        elif isinstance(record, Run):
            nodes = record.nodes
    if not nodes:
        findings.lack("The history does not say how many nodes there are: begin it with a `run` record.")
    messages.judge()
    topics.judge()
    leaders.judge()
    states.judge(nodes)
    logs.judge(nodes)
    by_kind = {kind: dict(outcomes) for kind, outcomes in sorted(counts.items())}
    return Report(findings.anomalies, findings.totals, by_kind, findings.checked, findings.missing)
