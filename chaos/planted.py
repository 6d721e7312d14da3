"""Faults planted into the product, to see that a run finds them: a chaos run that cannot turn red proves nothing.

Each is a small change to a copy of the source, built into an image that is thrown away. `waits` are changes that are
lawful but slow: they hold a window open that is otherwise a few milliseconds wide, so that a minute's run meets it.

Rules of this file: a text to be replaced must stand there exactly once, else the plant has rotted and says so.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

IMAGES, SCRATCH = "rmq-planted", "rmq-planted-"
"""The name of the images, and how the directories that they are built from begin."""


class Edit(NamedTuple):
    """In `path` (from the repository's top), `old` becomes `new`."""

    path: str
    old: str
    new: str


class Planted(NamedTuple):
    """A fault in the product and the scenario that must find it within `seconds`."""

    name: str
    text: str
    scenario: str
    seconds: float
    rules: frozenset[str]
    """One of these is what the checker must say."""
    edits: tuple[Edit, ...]
    waits: tuple[Edit, ...] = ()


SLOW_DISK = Edit(
    "app/node/disk.py",
    """    while jobs:
        job = jobs[0]
""",
    """    time.sleep(0.02)
    while jobs:
        job = jobs[0]
""",
)
"""Every write takes 20 ms."""

SLOW_START = Edit(
    "app/raft/leader.py",
    """        self._start_round()
        for peer, progress in self.progress.items():
            self._send_entries(peer, progress)
""",
    """        self._start_round()
        self.flushes = getattr(self, "flushes", 0) + 1
        for peer, progress in self.progress.items():
            if self.flushes > 300:
                self._send_entries(peer, progress)
""",
)
"""A new leader sends heartbeats for some seconds, and entries only then."""

PLANTS = (
    Planted(
        "early-ack", "what vouches for durable state leaves before it is written", "kill-all", 60.0,
        frozenset({"lost", "recount", "same_sequence", "torn", "state_differs", "log_differs", "topic_stale"}),
        (
            Edit(
                "app/node/runner.py",
                """            disk.write(job, lambda: self._after(ready.after))
""",
                """            if ready.chunks:
                disk.write(job, lambda: self._after(ready.after))
            else:
                disk.write(job, lambda: None)
                self._after(ready.after)
""",
            ),
        ),
        (SLOW_DISK,),
    ),
    Planted(
        "stale-read", "a leader answers reads because it believes to lead", "isolate-leader", 60.0,
        frozenset({"topic_stale"}),
        (
            Edit(
                "app/raft/leader.py",
                """        self._fresh_reads.append(token)
""",
                """        self.core.out.reads.append(ReadAnswer(token, self.log.commit_index))
""",
            ),
        ),
    ),
    Planted(
        "forgotten-vote", "a restarted node knows its term, and not whom it voted for", "hub-restarts", 120.0,
        # Two leaders of one term that nobody saw at once have written two logs: then it shows by what they hold.
        frozenset({"two_leaders", "state_differs", "log_differs"}),
        (
            Edit(
                "app/raft/core.py",
                """        self.term, self.vote = hard_state.term, hard_state.vote
""",
                """        self.term, self.vote = hard_state.term, NOBODY
""",
            ),
        ),
        (SLOW_START,),
    ),
    Planted(
        "forgotten-ack", "an ack of a message that was handed out before is answered, and then forgotten", "calm", 60.0,
        frozenset({"after_ack", "double_ack"}),
        (
            Edit(
                "app/broker/settle.py",
                """    rows = [row for lease, items in delivered for row in""",
                """    for lease, items in delivered:
        again = [item for item in items if item.deliveries > 1]
        for item, row in zip(again, leases.messages_in(state, topic, lease, again), strict=True):
            give_back(state, topic, subscription, item, row, 0, nacked=False)
    delivered = [(lease, [item for item in items if item.deliveries == 1]) for lease, items in delivered]
    rows = [row for lease, items in delivered for row in""",
            ),
        ),
    ),
    Planted(
        "short-lease", "a lease ends when half of it is over", "calm", 60.0, frozenset({"early"}),
        (
            Edit(
                "app/broker/receive.py",
                """    due_ms = state.numbers.time_ms + lease_ms
""",
                """    due_ms = state.numbers.time_ms + lease_ms // 2
""",
            ),
        ),
    ),
    Planted(
        "impatient-group", "a group does not wait for the message that is leased", "calm", 60.0,
        frozenset({"overtaken"}),
        (
            Edit(
                "app/broker/choice.py",
                """        is_held = self._keep and len(self._picks) > before
""",
                """        is_held = False
""",
            ),
        ),
    ),
)  # fmt: skip


class UnknownPlant(Exception):
    """No such plant. Its text is a sentence that says what there is."""


class Rotted(Exception):
    """A plant no longer fits the source. Its text says which and where."""


def copy_with(plant: Planted, root: Path, directory: Path) -> None:
    """Put what the image is built from into `directory`, with the fault in it."""
    for name in ("Dockerfile", ".dockerignore", "requirements.txt", "LICENSE"):
        shutil.copy(root / name, directory / name)
    for name in ("app", "config"):
        shutil.copytree(root / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in (*plant.edits, *plant.waits):
        path = directory / edit.path
        source = path.read_text(encoding="utf-8")
        if source.count(edit.old) != 1:
            raise Rotted(f"{plant.name} no longer fits {edit.path}, where {edit.old.strip()!r} has to stand once.")
        path.write_text(source.replace(edit.old, edit.new), encoding="utf-8")


def find(name: str) -> tuple[Planted, ...]:
    """The plant of this name, or all of them; UnknownPlant."""
    found = PLANTS if name == "all" else tuple(plant for plant in PLANTS if plant.name == name)
    if not found:
        raise UnknownPlant(f"No fault {name!r} can be planted: write all, {', '.join(plant.name for plant in PLANTS)}.")
    return found
