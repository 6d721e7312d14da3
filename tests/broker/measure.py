"""Figures for the queue's machine: `python -m tests.broker.measure [--messages 1000000] [--directory /tmp]`.

Not a test: nothing here passes or fails. Each figure is a median, with the tenth percentile (what a quieter machine
would show) and the maximum beside it. The pauses are those of a writer that commits every 5 ms, first alone, since a
shared disk has pauses of its own, then beside a checkpoint and beside a snapshot.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterable

from app.broker import Item, Machine
from app.broker.commands import (
    Ack,
    Command,
    CreateSubscription,
    CreateTopic,
    DeleteTopic,
    NewMessage,
    Publish,
    Receive,
    Tick,
    TopicSettings,
    encode,
)
from app.broker.results import Received, decode

EVERY_S = 0.005
COMMITS = 2000


class Writer:
    """Applies commands and times each apply call."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tokens: list[str] = []

    def apply(self, commands: Iterable[bytes]) -> float:
        """-> seconds. Tokens that were handed out are kept."""
        first = self.machine.applied_index + 1
        items = [Item(first + i, 1, 1_700_000_000_000 + first + i, command) for i, command in enumerate(commands)]
        begun = time.perf_counter()
        answers = self.machine.apply(items)
        took = time.perf_counter() - begun
        for answer in answers:
            result = None if answer is None else decode(answer)
            if isinstance(result, Received):
                self.tokens += [message.token for message in result.messages if message.token]
        return took

    def ack(self, topic: str, count: int) -> bytes:
        """An ack of what was handed out first."""
        chosen, self.tokens = self.tokens[:count], self.tokens[count:]
        return encode(Ack(topic, chosen))

    def show(self, name: str, make: Callable[[int], list[bytes]], times: int, messages: int = 1) -> None:
        """Apply `make(i)` that many times; figures in µs for each of `messages`."""
        taken = sorted(self.apply(make(i)) * 1e6 / messages for i in range(times))
        median, low, worst = taken[times // 2], taken[times // 10], taken[-1]
        print(f"{name:48}{median:9.1f}{low:9.1f}{worst:10.1f} µs", flush=True)
        self.machine.checkpoint()

    def beside(self, name: str, commands: list[bytes], work: Callable[[], object]) -> None:
        """Commit every 5 ms while `work` runs in a thread; the longest commit is the writer's pause."""
        thread = threading.Thread(target=work)
        taken: list[float] = []
        begun = time.perf_counter()
        thread.start()
        due = begun
        while thread.is_alive():
            taken.append(self.apply(commands))
            due = max(due + EVERY_S, time.perf_counter())
            time.sleep(max(0.0, due - time.perf_counter()))
        took = time.perf_counter() - begun
        thread.join()
        median, worst = sorted(taken)[len(taken) // 2] * 1e3, max(taken) * 1e3
        print(f"{name:48}{median:9.2f}{worst:19.2f} ms   in {took:.2f} s", flush=True)


def one(size_bytes: int) -> bytes:
    return encode(Publish("t", [NewMessage(b"x" * size_bytes)]))


def keyed(i: int) -> bytes:
    return encode(Publish("t", [NewMessage(b"x" * 256)], f"0123456789abcdef-{time.perf_counter()}-{i}", b"f" * 16))


def many(count: int, size_bytes: int) -> bytes:
    return encode(Publish("t", [NewMessage(b"x" * size_bytes)] * count))


def costs(writer: Writer, size_bytes: int) -> None:
    """What each kind of apply call costs now, for bodies of that size."""
    publish, batch, receive = one(size_bytes), many(500, size_bytes), encode(Receive("t"))
    receive_100 = encode(Receive("t", max=100))
    writer.show("publish, own apply call", lambda i: [publish], COMMITS)
    writer.show("publish, 64 commands a call, each", lambda i: [publish] * 64, 100, 64)
    writer.show("publish of 500, each message", lambda i: [batch], 20, 500)
    writer.show("publish with a key, own apply call", lambda i: [keyed(i)], COMMITS)
    writer.show("receive, own apply call", lambda i: [receive], COMMITS)
    writer.show("receive, 64 commands a call, each", lambda i: [receive] * 64, 100, 64)
    writer.show("receive of 100, each message", lambda i: [receive_100], 50, 100)


def deliveries(writer: Writer) -> None:
    """Leases, groups, priorities and the rest, each in a topic of its own that is nearly empty."""
    body = b"x" * 256
    lease, lease_100 = (encode(Receive("leased", max=count, auto_ack=False)) for count in (1, 100))
    full = TopicSettings(max_messages=1000, overflow="drop_oldest")
    writer.apply([encode(CreateTopic(name)) for name in ("leased", "groups", "shared", "later")])
    writer.apply([encode(CreateTopic("ranked", TopicSettings(priorities=True))), encode(CreateTopic("full", full))])
    writer.apply([encode(CreateSubscription("shared", "s"))])
    writer.apply([encode(Publish("leased", [NewMessage(body)] * 1000))] * 12)
    writer.show("receive with a lease, own apply call", lambda i: [lease], COMMITS)
    writer.show("ack of one, own apply call", lambda i: [writer.ack("leased", 1)], COMMITS)
    writer.show("receive of 100 with leases, each message", lambda i: [lease_100], 80, 100)
    writer.show("ack of 100 at once, each message", lambda i: [writer.ack("leased", 100)], 80, 100)
    grouped = [encode(Publish("groups", [NewMessage(body, group=f"g{i % 100}")])) for i in range(COMMITS)]
    writer.show("publish with a group, own apply call", lambda i: [grouped[i]], COMMITS)
    taken = encode(Receive("groups", auto_ack=False))
    writer.tokens.clear()
    writer.show("receive of a group with a lease", lambda i: [taken], 100)
    writer.show("ack in a group", lambda i: [writer.ack("groups", 1)], 100)
    ranked = [encode(Publish("ranked", [NewMessage(body, priority=i % 10)])) for i in range(COMMITS)]
    writer.show("publish with a priority", lambda i: [ranked[i]], COMMITS)
    writer.show("receive by priority", lambda i: [encode(Receive("ranked"))], COMMITS)
    to_full, to_two = (encode(Publish(name, [NewMessage(body)])) for name in ("full", "shared"))
    writer.show("publish into a full topic, the oldest goes", lambda i: [to_full], COMMITS)
    writer.show("publish for two subscriptions", lambda i: [to_two], COMMITS)
    for name in ("default", "s"):
        writer.show(f"receive by {name!r} of two", lambda i, name=name: [encode(Receive("shared", name))], COMMITS)
    later = encode(Publish("later", [NewMessage(body, delay_ms=1)] * 500))
    writer.show("publish of 500 with a delay, each message", lambda i: [later], 20, 500)
    writer.show("a tick with 250 that are due", lambda i: [encode(Tick())], 30)


def resident_mb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1_000_000


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=1_000_000)
    arguments.add_argument("--directory", default=None)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        path = f"{directory}/state.db"
        create: Command = CreateTopic("t")
        writer = Writer(Machine.open(path))
        writer.apply([encode(create)])
        print(f"{'256 bytes, nearly empty':48}{'median':>9}{'p10':>9}{'max':>10}")
        costs(writer, 256)
        deliveries(writer)
        kilobytes = many(500, 1024)
        for _ in range(options.messages // 500):
            writer.apply([kilobytes])
            if writer.machine.applied_index % 100 == 0:
                writer.machine.checkpoint()
        writer.machine.close()
        begun = time.perf_counter()
        writer = Writer(Machine.open(path))
        opened = time.perf_counter() - begun
        size = os.path.getsize(path) // 1_000_000
        print(f"\n{options.messages:,} messages of 1 KB: file {size} MB, opened in {opened * 1e3:.1f} ms")
        costs(writer, 1024)
        steady = [one(1024)] * 8 + [encode(Receive("t"))] * 4
        os.sync()
        for name, commands in (("12 commands", steady), ("60 publishes", [one(1024)] * 60)):
            writer.beside(f"{name} every 5 ms, alone", commands, lambda: time.sleep(5))
            writer.beside(f"{name} every 5 ms, beside a checkpoint", commands, writer.machine.checkpoint)
            writer.beside(f"{name} … a snapshot", commands, lambda: writer.machine.snapshot(f"{directory}/copy"))
            writer.beside(f"{name} … the checkpoint after it", commands, writer.machine.checkpoint)
            os.unlink(f"{directory}/copy")
        writer.show("delete that topic", lambda i: [encode(DeleteTopic("t")), encode(create)], 1)
        writer.show("publish while its messages are swept up", lambda i: [one(1024)], COMMITS)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
        print(f"resident {resident_mb()} MB, at most {peak} MB")
        writer.machine.close()


if __name__ == "__main__":
    main()
