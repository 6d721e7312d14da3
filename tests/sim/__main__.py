"""`python -m tests.sim`: many seeds at once, or one seed to look at.

    --seeds N [--first S] [--jobs J]    N seeds from S on, a progress bar, and the table of situations
    --seeds N --find "SITUATION"        and which seeds reached this one, most often first: "conflict truncated", …
    --seed S [--trace]                  one seed, with every event
    --mutation NAME                     with a planted fault (see `mutations`)

Exit code 1 when an invariant was broken, or when a run of the default size or more never reached a situation.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext

from tests.sim.coverage import SITUATIONS
from tests.sim.mutations import MUTATIONS
from tests.sim.plan import SECOND
from tests.sim.world import Outcome, simulate

DEFAULT_SEEDS = 500
FAILURES_SHOWN, FOUND_SHOWN = 3, 20


def report(outcome: Outcome, seconds: int, mutation: str = "") -> str:
    """What is to be said about a seed that failed: the end of its trace, and how to see it again."""
    extra = f" --seconds {seconds}" if seconds != 60 else ""
    extra += f" --mutation {mutation}" if mutation else ""
    lines = [f"seed {outcome.seed} failed: {outcome.what.rstrip()}", f"its last {len(outcome.last_events)} events:"]
    lines += [f"  {line}" for line in outcome.last_events]
    lines.append(f"again, exactly: python -m tests.sim --seed {outcome.seed} --trace{extra}")
    return "\n".join(lines)


def table(counts: Counter[str]) -> str:
    """How often each situation was reached, two columns."""
    cells = [f"{counts[name]:>9,}  {name}" for name in SITUATIONS]
    half = (len(cells) + 1) // 2
    width = max(len(cell) for cell in cells[:half]) + 2
    rows = zip(cells[:half], [*cells[half:], ""], strict=False)
    return "\n".join(f"{left:<{width}}{right}".rstrip() for left, right in rows)


def never_reached(counts: Counter[str]) -> list[str]:
    """The situations that a run did not get to."""
    return [name for name in SITUATIONS if not counts[name]]


def _one(seed: int, seconds: int, mutation: str) -> Outcome:
    with MUTATIONS[mutation]() if mutation else nullcontext():
        return simulate(seed, seconds)


def show(seed: int, seconds: int, mutation: str, trace: bool) -> int:
    """One seed."""
    with MUTATIONS[mutation]() if mutation else nullcontext():
        outcome = simulate(seed, seconds, print if trace else None)
    if outcome.violation:
        print(report(outcome, seconds, mutation))
        return 1
    print(f"seed {seed}: {outcome.events:,} events, {outcome.committed:,} entries committed, nothing wrong")
    return 0


def run(seeds: range, seconds: int, jobs: int, mutation: str, find: str = "") -> int:
    """Many seeds; `find`: the situation whose seeds are to be named."""
    started = time.monotonic()
    counts: Counter[str] = Counter()
    found: Counter[int] = Counter()
    failed: list[Outcome] = []
    events = virtual_us = entries = 0
    with ProcessPoolExecutor(jobs) as pool:
        pending = [pool.submit(_one, seed, seconds, mutation) for seed in seeds]
        for done, future in enumerate(as_completed(pending), 1):
            outcome = future.result()
            counts += outcome.counts
            found[outcome.seed] = outcome.counts[find]
            events, virtual_us = events + outcome.events, virtual_us + outcome.virtual_us
            entries += outcome.committed
            if outcome.violation:
                failed.append(outcome)
            _progress(done, len(seeds), len(failed), time.monotonic() - started)
    took_s = time.monotonic() - started
    print(table(counts))
    print(
        f"{len(seeds):,} seeds: {virtual_us / SECOND / 3600:.1f} simulated hours, {entries:,} entries committed, "
        f"{events:,} events, {events / took_s:,.0f} events/s with {jobs} processes, {took_s:.0f} s"
    )
    if find:
        best = ", ".join(f"{seed} ({times})" for seed, times in found.most_common(FOUND_SHOWN) if times)
        print(f"\nseeds that reached {find!r}, and how often: {best or 'none'}")
    for outcome in sorted(failed, key=lambda outcome: outcome.seed)[:FAILURES_SHOWN]:
        print("\n" + report(outcome, seconds, mutation))
    if failed:
        print(f"\n{len(failed)} seeds failed: {sorted(outcome.seed for outcome in failed)}")
    missing = never_reached(counts) if len(seeds) >= DEFAULT_SEEDS else []
    if missing:
        print(f"\nnever reached, so nothing is proved about it: {'; '.join(missing)}")
    return 1 if failed or missing else 0


def _progress(done: int, of: int, failed: int, took_s: float) -> None:
    left_s = took_s / done * (of - done)
    line = f" {done}/{of} seeds, {failed} failed, {left_s:.0f} s left"
    if sys.stderr.isatty():
        width = max(10, shutil.get_terminal_size().columns - len(line) - 4)
        full = width * done // of
        end = "\n" if done == of else ""
        print(f"\r[{'#' * full}{'.' * (width - full)}]{line} ", end=end, file=sys.stderr, flush=True)
    elif done == of or done % max(1, of // 20) == 0:
        print(line.strip(), file=sys.stderr, flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description="Run the simulated world.")
    parser.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="how many (500)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="print every event of that one")
    parser.add_argument("--seconds", type=int, default=60, help="virtual seconds with faults (60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (as many as cores)")
    parser.add_argument("--mutation", default="", choices=["", *MUTATIONS], help="plant this fault")
    parser.add_argument("--find", default="", metavar="SITUATION", choices=["", *SITUATIONS], help="name its seeds")
    given = parser.parse_args()
    if given.seed is not None:
        return show(given.seed, given.seconds, given.mutation, given.trace)
    return run(range(given.first, given.first + given.seeds), given.seconds, given.jobs, given.mutation, given.find)


if __name__ == "__main__":
    sys.exit(main())
