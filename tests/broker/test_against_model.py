"""Random logs: the machine answers as the naive model does, and no way of getting through a log shows in its state.

Most of the commands come from seeded generators, since those are fast; hypothesis plays fewer and shorter logs, and
makes a failing one shorter still. `SEED` is the one number to change for other logs.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from app.broker import Item, Machine, chores, handed, handlers, upkeep, writer
from app.broker.commands import Receive, decode
from app.broker.results import UNSAID, Received
from app.broker.results import decode as decode_result
from app.broker.writer import Writer
from tests.broker.game import Game
from tests.broker.logs import BESIDE, IN_A_TICK, NEVER_REACHED, Author, cut, narrow, written
from tests.broker.model import Model

SEED = 0
LOGS, LOG_SIZE, CHECK_EVERY = 10, 500, 40
RELAXED = settings(suppress_health_check=list(HealthCheck))
randoms = st.randoms(use_true_random=False)


@pytest.fixture(params=[False, True], ids=["bounds never reached", "small bounds"])
def due_too(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether one entry does only few of the things that are due; else it does all."""
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch, due_too=request.param)
        yield request.param


@pytest.fixture
def all_bounds_small() -> Iterator[None]:
    """Everything takes several entries."""
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch, due_too=True)
        patch.setattr(handlers, "ROWS_BESIDE", 1)
        patch.setattr(handlers, "ROWS_IN_A_TICK", 3)
        patch.setattr(chores, "REAP_BYTES", 30)
        patch.setattr(handed, "MESSAGES_MAX", 4)
        patch.setattr(writer, "ENTRIES", 7)
        patch.setattr(writer, "CHANGED_BYTES", 1000)
        patch.setattr(writer, "TOPIC_ENTRIES", 5)
        patch.setattr(writer, "TOPIC_BYTES", 700)
        patch.setattr(writer, "TOPICS", 3)
        patch.setattr(writer, "KEPT_BYTES", 3000)
        patch.setattr(upkeep, "FREE_PAGES_KEPT", 0)
        patch.setattr(upkeep, "WAL_BACKFILL_BYTES", 100_000)
        patch.setattr(upkeep, "WAL_KEPT_BYTES", 0)
        yield


def game(random: Random, due_too: bool) -> Game:
    model = Model(BESIDE, IN_A_TICK) if due_too else Model(NEVER_REACHED, NEVER_REACHED)
    return Game(random, model, deletes=not due_too)


@pytest.mark.parametrize("seed", range(SEED, SEED + LOGS))
def test_answers_are_the_models(due_too: bool, seed: int) -> None:
    """A hundred thousand commands in all; a failing log is played again from its seed."""
    for part in range(10):
        played = game(Random(10 * seed + part), due_too)
        for step in range(1, LOG_SIZE + 1):
            played.step()
            if step % CHECK_EVERY == 0:
                played.check()
        played.close()


@given(randoms, st.integers(1, 60))
@settings(RELAXED, max_examples=100)
def test_answers_are_the_models_in_short(due_too: bool, random: Random, size: int) -> None:
    """The same by hypothesis."""
    played = game(random, due_too)
    for _ in range(size):
        played.step()
    played.check()
    played.close()


@pytest.mark.parametrize("seed", range(SEED, SEED + LOGS))
def test_batching_leaves_no_trace(all_bounds_small: None, seed: int) -> None:
    """And nothing goes wrong however long things take, whatever is deleted meanwhile."""
    random = Random(1000 + seed)
    single, batched = Machine.open(":memory:"), Machine.open(":memory:")
    author = Author(random, single)
    log: list[Item] = []
    answers: list[bytes | None] = []
    for step in range(LOG_SIZE):
        log.append(author.item())
        answers += single.apply(log[-1:])
        author.hear(log[-1], answers[-1])
        if step % CHECK_EVERY == 0:
            assert single.audit() == single.state_hash()[1]
    asked = {item.index for item in log if random.random() < 0.5}
    heard = [
        answer
        for batch in cut(random, log)
        for answer in batched.apply([replace(item, is_asked=item.index in asked) for item in batch])
    ]
    unsaid = {item.index for item, answer in zip(log, heard, strict=True) if answer == UNSAID}
    dear = {item.index for item, answer in zip(log, answers, strict=True) if is_dear(item, answer)}
    assert dear - asked <= unsaid and not asked & unsaid, "what nobody waits for is left out, and nothing else"
    expected = [UNSAID if item.index in unsaid else answer for item, answer in zip(log, answers, strict=True)]
    assert heard == expected
    assert batched.audit() == batched.state_hash()[1] == single.state_hash()[1]
    single.close()
    batched.close()


def is_dear(item: Item, answer: bytes | None) -> bool:
    """Whether the entry hands out messages, and no claim needs the answer as it is."""
    result = None if answer is None else decode_result(answer)
    if not isinstance(result, Received) or not result.messages:
        return False
    command = decode(item.command or b"")
    assert isinstance(command, Receive)
    return command.key is None or not command.auto_ack


def copy_files(path: str, target: str) -> None:
    """The database and its write-ahead log, in place of those at `target`."""
    for suffix in ("", "-wal"):
        if os.path.exists(path + suffix):
            shutil.copy(path + suffix, target + suffix)
        elif os.path.exists(target + suffix):
            os.unlink(target + suffix)


class Replica:
    """A machine in a file that suffers one thing after another. `durable` is what a power loss would leave."""

    def __init__(self, directory: Path, log: list[Item]) -> None:
        self.directory, self.log = directory, log
        self.path = str(directory / "state.db")
        self.machine = Machine.open(self.path)
        self.durable_index = 0
        self.save_durable()

    def save_durable(self) -> None:
        """What a checkpoint promised is in the two files as they were then."""
        self.durable_index = self.machine.checkpoint()
        assert self.durable_index == self.machine.applied_index
        copy_files(self.path, self.path + ".durable")

    def advance(self, batch: list[Item]) -> None:
        """Apply what is missing up to the batch's end."""
        until = batch[-1].index if batch else self.machine.applied_index
        self.machine.apply(self.log[self.machine.applied_index : until])

    def suffer(self, what: str) -> None:
        machine = self.machine
        before = machine.state_hash()
        if what == "reopen":
            machine.close()
            self.machine = Machine.open(self.path)
        elif what == "checkpoint":
            self.save_durable()
        elif what == "memory":
            machine.close()
            copy = Machine.open(self.path)
            image = copy.serialize()
            copy.close()
            assert Machine.deserialize(image).state_hash() == before
            self.machine = Machine.open(self.path)
        elif what == "install":
            snapshot = str(self.directory / "snapshot")
            taken = machine.snapshot(snapshot)
            assert taken == (machine.applied_index, machine.applied_term, machine.configuration)
            machine.install(snapshot)
            assert not os.path.exists(snapshot)
            self.save_durable()
        elif what == "full disk":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Writer, "_commit", no_room)
                assert machine.checkpoint() <= before[0]
                assert machine.audit() == machine.state_hash()[1]
        elif what == "kill":
            copy_files(self.path, self.path + ".killed")
            machine.close()
            copy_files(self.path + ".killed", self.path)
            self.machine = Machine.open(self.path)
            most = max(writer.ENTRIES, writer.TOPIC_ENTRIES * writer.TOPICS)
            assert before[0] - most < self.machine.applied_index <= before[0]
            return
        elif what == "power loss":
            machine.close()
            copy_files(self.path + ".durable", self.path)
            self.machine = Machine.open(self.path)
            assert self.machine.applied_index == self.durable_index
            return
        assert self.machine.state_hash() == before

    def close(self) -> None:
        self.machine.close()


def no_room(_: Writer) -> None:
    raise OSError(errno.ENOSPC, "simulated")


EVENTS = ["none", "reopen", "checkpoint", "memory", "install", "full disk", "kill", "power loss"]


@given(randoms, st.integers(1, 60))
@settings(RELAXED, max_examples=60)
def test_a_replica_that_is_copied_reopened_and_thrown_back_ends_the_same(
    all_bounds_small: None, random: Random, size: int
) -> None:
    log = written(random, size)
    untroubled = Machine.open(":memory:")
    untroubled.apply(log)
    with tempfile.TemporaryDirectory() as directory:
        replica = Replica(Path(directory), log)
        for batch in cut(random, log):
            replica.advance(batch)
            replica.suffer(random.choice(EVENTS))
        replica.machine.apply(log[replica.machine.applied_index :])
        assert replica.machine.state_hash() == untroubled.state_hash()
        assert replica.machine.audit() == untroubled.audit()
        replica.close()
    untroubled.close()
