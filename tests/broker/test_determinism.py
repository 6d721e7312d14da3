"""The same log gives the same bytes in every process, whatever Python's hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import hashlib
from app.broker import Item, Machine, results
from app.broker.commands import *
names = [f"topic-{i}" for i in range(12)]
machine, answers, tokens = Machine.open(":memory:"), hashlib.sha256(), []

def apply(time_ms, *commands):
    items = [Item(machine.applied_index + i, 1, time_ms, each) for i, each in enumerate(commands, 1)]
    for answer, command in zip(machine.apply(items), commands):
        answers.update(answer)
        answer = results.decode(answer)
        if isinstance(answer, results.Received):
            tokens.extend((decode(command).topic, each.token) for each in answer.messages if each.token)

for i, name in enumerate(names):
    settings = TopicSettings(
        lease_ms=4000 + i, delay_ms=2000 if i == 3 else 0, ttl_ms=40_000 if i == 4 else None,
        max_messages=9 if i % 5 == 1 else None, overflow="drop_oldest" if i % 2 else "reject",
        max_deliveries=2 if i % 3 else None, dead_letter_topic=names[(i + 3) % 12] if i % 4 else None,
        priorities=i == 5,
    )
    apply(i, encode(CreateTopic(name, settings)))
for i in range(600):
    now_ms, name = i * 700, names[i * 7 % 12]
    headers = {f"h{j}": str(i) for j in range(i % 4)} or None
    group = f"g{i % 3}" if i % 2 and name != names[5] else None
    message = NewMessage(
        b"%d" % i, i % 2 == 0, headers, group, f"d{i % 40}" if i % 6 == 0 else None,
        1500 if i % 8 == 0 and group is None else None, 3000 if i % 9 == 0 else None, i % 10 if name == names[5] else 0,
    )
    other = tokens[-1 - i % 3][0] if i > 10 and i % 4 else names[i * 5 % 12]
    some = [token for name, token in tokens if name == other][-1 - i % 3:] or ["none"]
    chosen = [
        Ack(other, some), Nack(other, some, i % 3 * 500), Extend(other, some, 1000 + i), Tick(),
        Redrive(name, 5 + i % 9), CreateSubscription(name, f"s{i % 3}", ["earliest", "latest", 5][i % 3]),
        DeleteSubscription(other, f"s{i % 3}"), ChangeTopic(name, SettingsChange(lease_ms=3000 + i)),
        Purge(name) if i % 10 == 0 else Tick(),
        PutSchedule(name, "s", "* * * * *", "UTC", NewMessage(b"tick"), now_ms),
        Fire(max([1, *(each.id for each in machine.due_schedules(now_ms, 9))]), now_ms - 700, "tick", now_ms),
        Once(f"k{i % 7}", b"f", encode(CreateSubscription(other, f"s{i % 2}"))), DeleteSchedule(other, "s"),
    ][i % 13]
    apply(
        now_ms,
        encode(Publish(name, [message] * (i % 3 + 1), f"k{i % 90}", b"f", i % 4 > 0)),
        encode(Receive(names[i * 3 % 12], ["default", "s0"][i // 12 % 2], i % 4 + 1, i % 5 == 0, key=f"r{i % 50}")),
        encode(chosen), b"?", encode(Receive(other, max=2, auto_ack=False)),
    )
    if i % 97 == 96:
        apply(now_ms, encode(DeleteTopic(name)), encode(CreateTopic(name)))
assert machine.audit() == machine.state_hash()[1]
print(machine.state_hash(), answers.hexdigest(), machine.counts())
"""


@pytest.fixture(scope="module")
def outputs() -> list[str]:
    return [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout
        for seed in ("0", "1", "4294967295")
    ]  # fmt: skip


def test_hash_seeds_do_not_show(outputs: list[str]) -> None:
    assert outputs[0].startswith("(")
    assert len(set(outputs)) == 1


def test_the_log_of_an_earlier_release_still_gives_the_same_state(outputs: list[str]) -> None:
    """When this fails, a node of this version beside one of the last would diverge from it. Then the format's
    version must rise, and the number here with it."""
    assert outputs[0].strip() == EXPECTED


EXPECTED = (
    "(3024, '3cf85b1ba579cf3fcb41dfed28785742') 100efd3f4887cb415fb3f38f831e133af3178c720d4ca2ac3590a2addeecfd52 "
    "Counts(topics=12, messages=189, size_bytes=4533, claims=243)"
)
