"""Runs that never were: records as a run of so many seconds would leave them, for the report's tests."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from chaos import history
from chaos.history import FaultStep, Final, LogPiece, Op, Phase, Record, Redundant, Run, Status
from chaos.reporting.cases import Case, examine
from chaos.reporting.verdict import Demands

WARM_S, HEALED_S, DRAIN_S = 4.0, 2.0, 2.0
DEMANDS = Demands(healthy=frozenset({"kill-leader", "pause-leader"}), expected=frozenset({"no_answer"}))
HOSTILE = "<script>alert(1)</script>&\"'\x00\x1b"
LEADERLESS = {"kill-leader": 0.35, "pause-leader": 0.4, "isolate-leader": 0.45, "pause-majority": 9.0}


class MadeUp:
    """A run of `scenario`: each round one of `faults` hits one node, or two where the name says so."""

    def __init__(
        self, scenario: str, faults: Sequence[str], *, seconds: float = 60.0, nodes: int = 3, seed: int = 1,
        hold_s: float = 1.2, rest_s: float = 0.8, unproven: Sequence[int] = (), per_s: int = 400,
    ) -> None:  # fmt: skip
        self.scenario, self.faults, self.seconds, self.nodes, self.seed = scenario, faults, seconds, nodes, seed
        self.hold_s, self.rest_s, self.unproven, self.per_s = hold_s, rest_s, set(unproven), per_s
        self.rng = random.Random(seed)
        self.term, self.leader = 2, 0
        self.quiet: list[tuple[float, float]] = []
        self.away: list[tuple[float, float, int]] = []
        self.reigns: list[tuple[float, int, int]] = [(0.0, 0, 2)]
        self.number = 0

    @property
    def run(self) -> Run:
        """What was meant to be run."""
        return Run(
            scenario=self.scenario, seed=self.seed, seconds=self.seconds, nodes=self.nodes,
            started_at="2026-11-24T03:33:00+00:00", image="rmq:local", version="0.1.0",
        )  # fmt: skip

    def records(self) -> Iterator[Record]:
        """All records, of one kind after another."""
        end = self.seconds
        yield self.run
        for name, at in (
            ("warm", 0.0), ("faults", WARM_S), ("heal", end), ("drain", end + HEALED_S),
            ("gather", end + HEALED_S + DRAIN_S), ("end", end + HEALED_S + DRAIN_S + 1),
        ):  # fmt: skip
            yield Phase(name=name, at=at)  # type: ignore[arg-type]
        at = WARM_S + 0.3
        while at + self.hold_s < end:
            records, at = self._round(at)
            yield from records
        yield from self._statuses(end + HEALED_S + DRAIN_S)
        yield from self._operations(end + HEALED_S)
        for node in range(self.nodes):
            yield Final(node=node, applied_index=9, state_hash="9")
            yield LogPiece(node=node, first_index=1, entries=[(2, "a"), (2, "b")])

    def _round(self, at: float) -> tuple[list[Record], float]:
        name = self.faults[self.number % len(self.faults)]
        heal_at = round(at + self.hold_s * self.rng.uniform(0.7, 1.3), 3)
        whole_at = round(heal_at + self.rng.uniform(0.2, 0.9), 3)
        leaderless_s = LEADERLESS.get(name)
        if leaderless_s is not None:
            gone, new_at = self.leader, min(heal_at + 0.3, at + leaderless_s * self.rng.uniform(0.7, 1.8))
            self.quiet.append((at, new_at))
            self.term += self.rng.choice((1, 1, 1, 2))
            self.leader = (self.leader + 1) % self.nodes
            self.reigns.append((new_at, self.leader, self.term))
        else:
            gone = (self.leader + 1) % self.nodes
        targets = [gone] if "majority" not in name else sorted({gone, (gone + 1) % self.nodes})
        self.away += [(at, heal_at, node) for node in targets]
        proven = self.number not in self.unproven
        steps = [
            FaultStep(
                round=self.number, name=name, step=step, targets=targets, start=start, end=start, ok=ok, detail=said,
            )
            for step, start, ok, said in (
                ("inject", at, True, ""),
                ("prove", at + 0.1, proven, "state read back: paused" if proven else "a probe came through the cut"),
                ("heal", heal_at, True, ""),
                ("prove_healed", heal_at + 0.1, True, "state read back: running"),
            )
        ]  # fmt: skip
        self.number += 1
        return [*steps, Redundant(round=self.number - 1, at=whole_at)], whole_at + self.rest_s

    def _statuses(self, end: float) -> Iterator[Record]:
        for tick in range(int(end * 10)):
            at = tick / 10
            _, leader, term = next(reign for reign in reversed(self.reigns) if reign[0] <= at)
            for node in range(self.nodes):
                if not any(since <= at < until and node == who for since, until, who in self.away):
                    role = "Leader" if node == leader else "Follower"
                    yield Status(
                        node=node, start=at, at=at, role=role, term=term, leader=leader, last_log_index=1,
                        commit_index=1, applied_index=1, state_index=1, state_hash="1", pid=1,
                    )  # fmt: skip

    def _operations(self, end: float) -> Iterator[Record]:
        sequence, waiting = 0, list[tuple[str, int]]()
        for i in range(int(end * self.per_s)):
            at = round(i / self.per_s + 0.001, 6)
            quiet = any(since <= at < until for since, until in self.quiet)
            if quiet and self.rng.random() < 0.8:
                continue
            op = Op(
                kind="receive" if i % 3 == 2 else "publish", client="p0", node=0, tries=1, start=round(at - 0.001, 6),
                end=at, outcome="unknown" if quiet else "ok", error="no_answer" if quiet else None, topic="stream",
                keyed=True, max=10 if i % 3 == 2 else 0, values=[] if i % 3 == 2 else [f"p0-{i}"],
            )  # fmt: skip
            if op.outcome == "ok" and op.kind == "publish":
                sequence += 1
                waiting.append((f"p0-{i}", sequence))
                op = msgspec.structs.replace(op, sequences=[sequence])
            elif op.outcome == "ok":
                op, waiting = self._taken(op, waiting[:10]), waiting[10:]
            yield op
        while True:
            last = Op(
                kind="receive", client="drain", node=0, tries=1, start=end, end=end, outcome="ok", topic="stream",
                max=10,
            )  # fmt: skip
            yield self._taken(last, waiting[:10])
            if not waiting:
                return
            waiting = waiting[10:]

    def _taken(self, op: Op, taken: Sequence[tuple[str, int]]) -> Op:
        values, sequences = [value for value, _ in taken], [sequence for _, sequence in taken]
        return msgspec.structs.replace(op, values=values, sequences=sequences)


def put(directory: Path, records: list[Record]) -> None:
    """Write a history into a new folder."""
    directory.mkdir()
    with (directory / "history.jsonl").open("wb") as file:
        for record in records:
            history.write(file, record)


def made_cases(root: Path) -> list[Case]:
    """One that passed, one that failed, one inconclusive, one that is hostile from top to bottom, one long."""
    runs = [
        ("the leader dies", MadeUp("kill-leader", ["kill-leader"], hold_s=1.0, rest_s=0.5)),
        ("made up", MadeUp("phantom", ["pause-leader"])),
        ("two faults without proof", MadeUp("unproven", ["bridge", "pause-majority"], unproven=(1, 3), hold_s=3.0)),
        (HOSTILE, MadeUp("hostile", [HOSTILE], seconds=20, unproven=range(9))),
        ("anything", MadeUp("mixed", [f"fault-{i}" for i in range(19)], seconds=700, nodes=5, hold_s=3.0, per_s=50)),
    ]
    cases = []
    for text, made in runs:
        records = list(made.records())
        if made.scenario in ("phantom", "hostile"):
            op = Op(
                kind="receive", client=HOSTILE, node=0, tries=1, start=0.5, end=0.6, outcome="ok", topic=HOSTILE, max=1,
                values=[HOSTILE], sequences=[7], error=HOSTILE,
            )  # fmt: skip
            records.append(op)
        directory = root / made.scenario
        put(directory, records)
        (directory / "node #1?.log").write_text("a log")
        cases.append(examine(directory, root, made.run, text, DEMANDS))
    return cases
