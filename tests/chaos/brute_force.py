"""The judge of the checker: tries every order there is, straight from the specification, for a handful of operations.

Theory. A history fits if its operations can be done one after another, on a queue (or a list of names) that does just
what it is told, so that every answer comes out as it was given. An operation may be next unless one that is still to
come ended before it began. What is unknown may be next at any time, or never.

Rules of this file: nothing of `chaos.checks` is used here, no clever thought is allowed, and where the two disagree one
of them is wrong. Exponential: some seven operations.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from chaos.history import Op

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True)
class Step:
    """One thing that happens at once. `needed`: it surely happened."""

    start: float
    end: float
    needed: bool
    do: str
    values: tuple[str, ...] = ()
    sequences: tuple[int | None, ...] = ()


def some_order(steps: Sequence[Step], state: State, after: Callable[[State, Step], State | None]) -> bool:
    """Whether some order of the steps fits. `after` is the state that a step leads to, None if it cannot be next."""
    before = [sum(1 << j for j, other in enumerate(steps) if other.needed and other.end < step.start) for step in steps]
    needed = sum(1 << i for i, step in enumerate(steps) if step.needed)
    dead: set[tuple[int, State]] = set()

    def search(done: int, state: State) -> bool:
        if needed & ~done == 0:
            return True
        if (done, state) in dead:
            return False
        for i, step in enumerate(steps):
            if done >> i & 1 or before[i] & ~done:
                continue
            then = after(state, step)
            if then is not None and search(done | 1 << i, then):
                return True
        dead.add((done, state))
        return False

    return search(0, state)


Queue = tuple[tuple[tuple[str, int | None], ...], float]
"""The messages that wait, each with its sequence if somebody was told it; the last sequence that went, if told."""


def queue_fits(ops: Sequence[Op]) -> bool:
    """Whether the operations of one topic fit a first-in, first-out queue that is empty at first."""
    steps = []
    for op in ops:
        if op.outcome == "unknown" and op.kind == "publish":
            steps.append(Step(op.start, inf, False, "push", tuple(op.values), (None,) * len(op.values)))
        elif op.outcome == "unknown":
            steps.extend([Step(op.start, inf, False, "take")] * op.max)
        elif op.outcome == "ok":
            if len(op.values) != len(op.sequences) or (op.kind == "receive" and len(op.values) > op.max):
                return False
            do = "push" if op.kind == "publish" else "pop" if op.values else "empty"
            steps.append(Step(op.start, op.end, True, do, tuple(op.values), tuple(op.sequences)))
    start: Queue = ((), -inf)
    return some_order(steps, start, _queue_after)


def _queue_after(state: Queue | None, step: Step) -> Queue | None:
    if step.do == "empty":
        return None if state is None or state[0] else state
    if step.do == "take":
        return _without_first(state, None)
    for value, sequence in zip(step.values, step.sequences, strict=True):
        if state is None:
            return None
        waiting, gone = state
        if step.do == "push":
            told = [gone, *(known for _, known in waiting if known is not None)]
            state = ((*waiting, (value, sequence)), gone) if sequence is None or sequence > max(told) else None
        else:
            state = _without_first(state, sequence) if waiting and waiting[0][0] == value else None
    return state


def _without_first(state: Queue | None, answered: int | None) -> Queue | None:
    """The first message goes, to somebody who was answered its sequence, or to nobody that can tell."""
    if state is None or not state[0]:
        return None
    ((_, known), *others), gone = state
    sequence = known if answered is None else answered
    if sequence is None:
        return tuple(others), gone
    fits = sequence > gone and all(behind is None or behind > sequence for _, behind in others)
    return (tuple(others), sequence) if fits and known in (None, sequence) else None


Names = tuple[str, ...]


def topics_fit(ops: Sequence[Op]) -> bool:
    """Whether the operations fit a list of names that is empty at first, and only grows."""
    steps = []
    for op in ops:
        if op.kind == "list" and op.outcome == "ok":
            steps.append(Step(op.start, op.end, True, "list", tuple(op.names)))
        elif op.kind == "create" and op.outcome == "unknown":
            steps.append(Step(op.start, inf, False, "make", (op.topic,)))
        elif op.kind == "create" and op.outcome == "ok":
            steps.append(Step(op.start, op.end, True, "make" if op.created else "find", (op.topic,)))
    start: Names = ()
    return some_order(steps, start, _names_after)


def _names_after(names: Names, step: Step) -> Names | None:
    if step.do == "list":
        return names if names == step.values else None
    there = step.values[0] in names
    if step.do == "find":
        return names if there else None
    return None if there else names + step.values
