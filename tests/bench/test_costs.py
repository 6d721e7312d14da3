"""What a publish costs, in counts instead of seconds: a regression check that no busy machine can make fail.

Theory: the same work takes the same number of calls and the same number of SQLite's own steps each time, on whatever
machine. A calibration loop, whose calls are known, shows that the counter counts. The bounds are about one and a half
times what was counted when they were written: a release of Python moves the counts by a few percent, while a call more
for each message of a batch, a statement more or a lost index moves them by far more. Who makes a path dearer on
purpose raises its bound, and says why.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator

import pytest

from app.broker import Item, Machine
from app.broker.commands import (
    Ack,
    CreateSubscription,
    CreateTopic,
    Keyed,
    NewMessage,
    Publish,
    Publishes,
    PublishKeyed,
    Receive,
    TopicSettings,
    encode,
)
from app.broker.results import Received, decode
from app.node.envelope import seal, unseal
from app.raft import messages
from app.raft.types import Entry

TIME_MS = 1_700_000_000_000
TIMES = 20


def calls(work: Callable[[], object]) -> int:
    """How many functions were called, of Python and of C."""
    count = 0

    def seen(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    gc.collect()
    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


class Broker:
    """A machine in memory that counts what SQLite does."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.apply(CreateTopic("t", TopicSettings()))

    def apply(self, *commands: object) -> list[object]:
        """Apply commands together, as a node does. -> their results."""
        first = self.machine.applied_index + 1
        sealed = [seal(0, TIME_MS + first, encode(command)) for command in commands]  # type: ignore[arg-type]
        items = [Item(first + i, 1, *unseal(data)) for i, data in enumerate(sealed)]
        return [None if answer is None else decode(answer) for answer in self.machine.apply(items)]

    def steps(self, work: Callable[[], object]) -> int:
        """How many instructions of SQLite's virtual machine it took."""
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        self.machine._connection.set_progress_handler(step, 1)
        try:
            work()
        finally:
            self.machine._connection.set_progress_handler(None, 1)
        return count


@pytest.fixture
def broker(tmp_path: object) -> Iterator[Broker]:
    machine = Machine.open(f"{tmp_path}/state.db")
    yield Broker(machine)
    machine.close()


def publish(count: int = 1) -> Publish:
    return Publish("t", [NewMessage(b"x" * 100)] * count)


def fill(broker: Broker, batches: int) -> None:
    for _ in range(batches):
        broker.apply(publish(500))


def receive_and_ack(broker: Broker, count: int) -> None:
    (received,) = broker.apply(Receive("t", max=count, auto_ack=False))
    assert isinstance(received, Received) and len(received.messages) == count
    broker.apply(Ack("t", [str(message.token) for message in received.messages]))


def keyed(broker: Broker, topics: int) -> None:
    """One command with a publish to each of so many topics, each under a key of its own."""
    index = broker.machine.applied_index
    if not index or broker.machine.topic("t0") is None:
        broker.apply(*[CreateTopic(f"t{n}", TopicSettings()) for n in range(topics)])
    keys = [Keyed(NewMessage(b"x" * 100), f"{index} {n}", b"print") for n in range(topics)]
    broker.apply(Publishes([PublishKeyed(f"t{n}", [key]) for n, key in enumerate(keys)]))


def with_dedup_ids(broker: Broker, count: int) -> None:
    index = broker.machine.applied_index
    broker.apply(Publish("t", [NewMessage(b"x" * 100, dedup_id=f"{index} {n}") for n in range(count)]))


def for_three(broker: Broker, count: int) -> None:
    """Published once, taken and acked by three subscriptions."""
    if broker.machine.topic("many") is None:
        broker.apply(CreateTopic("many", TopicSettings()), *[CreateSubscription("many", name) for name in ("a", "b")])
    broker.apply(Publish("many", [NewMessage(b"x" * 100)] * count))
    for name in ("default", "a", "b"):
        (received,) = broker.apply(Receive("many", name, count, auto_ack=False))
        assert isinstance(received, Received) and len(received.messages) == count
        broker.apply(Ack("many", [str(message.token) for message in received.messages]))


def in_groups(broker: Broker, count: int) -> None:
    """Each of a group of its own, which has another message that waits: published, taken, acked."""
    if broker.machine.topic("grouped") is None:
        broker.apply(CreateTopic("grouped", TopicSettings()))
        broker.apply(Publish("grouped", [NewMessage(b"", group=f"g{n}") for n in range(count)]))
    broker.apply(Publish("grouped", [NewMessage(b"x" * 100, group=f"g{n}") for n in range(count)]))
    (received,) = broker.apply(Receive("grouped", max=count, auto_ack=False))
    assert isinstance(received, Received) and len(received.messages) == count
    broker.apply(Ack("grouped", [str(message.token) for message in received.messages]))


def test_the_counter_counts() -> None:
    def calibration() -> None:
        for number in range(1000):
            abs(number)

    assert 1000 <= calls(calibration) <= 1010


@pytest.mark.parametrize(
    ("what", "work", "messages_each", "calls_bound", "steps_bound"),
    [
        ("publish", lambda broker: broker.apply(publish()), 1, 125, 65),
        ("64 publishes", lambda broker: broker.apply(*[publish()] * 64), 64, 85, 65),
        ("a batch of 500", lambda broker: broker.apply(publish(500)), 500, 18, 1),
        ("receive and ack", lambda broker: receive_and_ack(broker, 1), 1, 340, 220),
        ("receive and ack of 100", lambda broker: receive_and_ack(broker, 100), 100, 20, 5),
        ("64 keys in 64 topics", lambda broker: keyed(broker, 64), 64, 80, 66),
        ("100 dedup_ids", lambda broker: with_dedup_ids(broker, 100), 100, 15, 2),
        ("100 for three subscriptions", lambda broker: for_three(broker, 100), 100, 110, 175),
        ("100 groups", lambda broker: in_groups(broker, 100), 100, 190, 450),
    ],
)
def test_applying_costs_no_more_than_it_did(
    broker: Broker, what: str, work: Callable[[Broker], object], messages_each: int, calls_bound: float,
    steps_bound: float,
) -> None:  # fmt: skip
    """From the command to the result, sealed and encoded as in the log: of each message."""
    fill(broker, 10)
    work(broker)  # what is done once
    messages = TIMES * messages_each
    called = calls(lambda: [work(broker) for _ in range(TIMES)]) / messages
    stepped = broker.steps(lambda: [work(broker) for _ in range(TIMES)]) / messages
    assert called <= calls_bound, f"{what}: {called:.1f} calls a message"
    assert stepped <= steps_bound, f"{what}: {stepped:.1f} steps of SQLite a message"


@pytest.mark.parametrize("work", [lambda broker: broker.apply(publish()), lambda broker: receive_and_ack(broker, 1)])
def test_a_backlog_makes_nothing_dearer(broker: Broker, work: Callable[[Broker], object]) -> None:
    """Within a quarter: a search that goes through what waits would cost a hundred times as much."""
    fill(broker, 1)
    work(broker)
    few = broker.steps(lambda: [work(broker) for _ in range(TIMES)])
    fill(broker, 100)
    many = broker.steps(lambda: [work(broker) for _ in range(TIMES)])
    assert many <= 1.25 * few


def test_what_goes_to_a_follower_is_encoded_in_one_call_and_with_few_bytes_of_its_own() -> None:
    commands = [seal(0, TIME_MS, encode(publish())) for _ in range(64)]
    append = messages.AppendEntries(
        cluster=1, group=0, sender=0, to=1, term=1, prev_log_index=0, prev_log_term=0, leader_commit=0, round=0,
        entries=[Entry(index, 1, 0, command) for index, command in enumerate(commands)],
    )  # fmt: skip
    encoded = messages.encode(append)
    assert calls(lambda: messages.decode(messages.encode(append))) < 10, "not one for each entry"
    assert len(encoded) <= sum(map(len, commands)) + 64 * 12
    assert len(commands[0]) <= 100 + 60
