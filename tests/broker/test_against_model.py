"""Random logs: the machine answers as the naive model does, and no way of getting through a log shows in its state."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.broker import Item, Machine, dedup, receive, topics, upkeep
from app.broker.results import decode
from tests.broker.logs import batches, logs
from tests.broker.model import Model, comparable

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def narrow_bounds() -> Iterator[None]:
    """Bounds so small that every log runs into them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup, "CLAIMS_MAX", 4)
        patch.setattr(dedup, "CLAIMS_BYTES_MAX", 150)
        patch.setattr(dedup, "SWEEP_ROWS", 3)
        patch.setattr(receive, "RECEIVE_BYTES", 40)
        patch.setattr(topics, "REAP_ROWS", 2)
        patch.setattr(upkeep, "LOOK_EVERY_COMMITS", 3)
        patch.setattr(upkeep, "FREE_PAGES_KEPT", 0)
        patch.setattr(upkeep, "WAL_BACKFILL_BYTES", 100_000)
        patch.setattr(upkeep, "WAL_KEPT_BYTES", 0)
        yield


def check_against(model: Model, machine: Machine) -> None:
    """Everything that can be asked of both."""
    assert machine.applied_index == model.applied_index
    assert machine.configuration == model.configuration
    assert machine.time_ms == model.time_ms
    infos = machine.topics()
    assert [info.name for info in infos] == sorted(model.topics, key=lambda name: model.topics[name].id)
    for info in infos:
        topic = model.topics[info.name]
        assert info == machine.topic(info.name)
        assert (info.id, info.settings, info.next_sequence) == (topic.id, topic.settings, topic.next_sequence)
        assert (info.messages, info.size_bytes) == (len(topic.waiting), sum(len(m.body) for m in topic.waiting))
    counts = machine.counts()
    assert (counts.topics, counts.claims) == (len(model.topics), len(model.claims))
    assert counts.messages == sum(len(topic.waiting) for topic in model.topics.values())
    assert machine.audit() == machine.state_hash()[1]


@given(logs(), st.data())
@settings(RELAXED, max_examples=300)
def test_answers_are_the_models_and_batching_leaves_no_trace(log: list[Item], data: st.DataObject) -> None:
    model, single, batched = Model(), Machine.open(":memory:"), Machine.open(":memory:")
    expected = [model.apply(item) for item in log]
    one_by_one = [answer for item in log for answer in single.apply([item])]
    at_once = [answer for batch in data.draw(batches(log)) for answer in batched.apply(batch)]
    assert one_by_one == at_once
    assert [comparable(decode(answer)) if answer is not None else None for answer in at_once] == expected
    check_against(model, single)
    check_against(model, batched)
    assert single.state_hash() == batched.state_hash()


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
        elif what == "power loss":
            machine.close()
            copy_files(self.path + ".durable", self.path)
            self.machine = Machine.open(self.path)
            assert self.machine.applied_index == self.durable_index
            return
        assert self.machine.state_hash() == before

    def close(self) -> None:
        self.machine.close()


EVENTS = ["none", "reopen", "checkpoint", "memory", "install", "power loss"]


@given(logs(max_size=40), st.data())
@settings(RELAXED, max_examples=60)
def test_a_replica_that_is_copied_reopened_and_thrown_back_ends_the_same(log: list[Item], data: st.DataObject) -> None:
    untroubled = Machine.open(":memory:")
    untroubled.apply(log)
    with tempfile.TemporaryDirectory() as directory:
        replica = Replica(Path(directory), log)
        for batch in data.draw(batches(log)):
            replica.advance(batch)
            replica.suffer(data.draw(st.sampled_from(EVENTS)))
        replica.machine.apply(log[replica.machine.applied_index :])
        assert replica.machine.state_hash() == untroubled.state_hash()
        assert replica.machine.audit() == untroubled.audit()
        replica.close()
