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
from app.broker import Item, Machine
from app.broker.commands import CreateTopic, DeleteTopic, NewMessage, Publish, Receive, encode
names = [f"topic-{i}" for i in range(20)]
log = [encode(CreateTopic(name)) for name in names]
for i in range(400):
    name = names[i * 7 % 20]
    headers = {f"h{j}": str(i) for j in range(i % 4)} or None
    log.append(encode(Publish(name, [NewMessage(b"%d" % i, i % 2 == 0, headers)] * (i % 3 + 1), f"k{i % 90}", b"f")))
    log.append(encode(Receive(names[i * 3 % 20], max=2, key=f"r{i % 50}")))
    if i % 50 == 49:
        log += [encode(DeleteTopic(name)), encode(CreateTopic(name)), b"?"]
machine, answers = Machine.open(":memory:"), hashlib.sha256()
items = [Item(i, 1, i * 700, command) for i, command in enumerate(log, 1)]
for start in range(0, len(items), 37):
    for answer in machine.apply(items[start:start + 37]):
        answers.update(answer)
assert machine.audit() == machine.state_hash()[1]
print(machine.state_hash(), answers.hexdigest())
"""


@pytest.fixture(scope="module")
def outputs() -> list[str]:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True,
        )
        for seed in ("0", "1", "4294967295")
    ]  # fmt: skip
    return [process.communicate()[0] for process in running]


def test_hash_seeds_do_not_show(outputs: list[str]) -> None:
    assert outputs[0].startswith("(")
    assert len(set(outputs)) == 1


def test_the_log_of_an_earlier_release_still_gives_the_same_state(outputs: list[str]) -> None:
    """When this fails, a node of this version beside one of the last would diverge from it. Then the format's
    version must rise, and the number here with it."""
    assert outputs[0].strip() == EXPECTED


EXPECTED = "(844, '01142eb1fa3f38f02173f0ca03669cca') 68966c3470aa1ea8504e5f52b4fc9b8ffe0ccf945283546d170817867438fcc8"
