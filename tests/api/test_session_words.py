"""docs/session.md and the frames say the same: its examples are frames, and no frame is left out."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.api.session import frames
from app.api.session.window import FRAME_BYTES, FRAMES

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "session.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = [
    json.loads(line) for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]
ANSWERS = (
    frames.Hello, frames.Published, frames.Settled, frames.Consuming, frames.Cancelled, frames.Deliver, frames.Error,
)  # fmt: skip
SENT = typing.get_args(frames.Sent)


def op_of(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


@pytest.mark.parametrize("kind", [*SENT, *ANSWERS], ids=lambda kind: kind.__name__)
def test_each_frame_has_an_example_that_is_one(kind: type[msgspec.Struct]) -> None:
    found = [example for example in EXAMPLES if example["op"] == op_of(kind)]
    assert found, "docs/session.md shows none"
    for example in found:
        decoded = msgspec.json.decode(json.dumps(example), type=kind)
        unknown = set(example) - {"op", *msgspec.structs.asdict(decoded)}
        assert not unknown, unknown


def test_no_example_is_of_something_else() -> None:
    assert {example["op"] for example in EXAMPLES} == {op_of(kind) for kind in (*SENT, *ANSWERS)}
    assert {op_of(kind) for kind in SENT} == set(frames.OPS)


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.__name__)
def test_every_field_of_a_clients_frame_is_told(kind: type[msgspec.Struct]) -> None:
    for name in kind.__struct_fields__:
        assert f"`{name}`" in TEXT or f'"{name}"' in TEXT, name


def test_the_limits_are_those_of_the_code() -> None:
    assert f"{FRAMES:,} frames, {FRAME_BYTES >> 20} MiB" in TEXT
    assert f"0 to {frames.CREDIT_MAX:,}" in TEXT
