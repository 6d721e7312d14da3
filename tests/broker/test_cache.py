"""How much of the database is kept in memory: what `files` says, whatever size its pages have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from app.broker.files import CACHE_KIB

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
from app.broker import Item, Machine
from app.broker.commands import CreateTopic, NewMessage, Publish, encode

def resident_kib():
    return 4 * int(open("/proc/self/statm").read().split()[1])

machine = Machine.open(sys.argv[1])
before_kib = resident_kib()
messages = [NewMessage(b"x" * 1000)] * 500
for index in range(1, 301):
    command = Publish("t", messages) if index > 1 else CreateTopic("t")
    machine.apply([Item(index, 1, index, encode(command))])
print(resident_kib() - before_kib)
"""


def test_a_node_keeps_no_more_of_the_database_than_it_says(tmp_path: Path) -> None:
    """Found by `make bench`: SQLite had made pages of 4 KiB of that size before it knew of those of 16."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "state.db")]
    grown_kib = int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert CACHE_KIB / 2 < grown_kib < 2 * CACHE_KIB
