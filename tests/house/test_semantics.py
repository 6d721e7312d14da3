"""Every test that docs/semantics.md names is there, and no guarantee stands in it without one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(?:(\w+)/)?(test_\w+)::(test_\w+)`")


def names_in(folder: str, file: str) -> set[str]:
    """The names of the tests in a file of tests/."""
    tree = ast.parse((ROOT / "tests" / folder / f"{file}.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("folder", "file", "name"), sorted(set(NAMED.findall(TEXT))))
def test_what_is_named_is_there(folder: str, file: str, name: str) -> None:
    assert name in names_in(folder or "broker", file)


def test_every_guarantee_names_its_test() -> None:
    sections = TEXT.split("\n## ")
    guarantees = [each for section in sections[1:] for each in section.split("\n- ")[1:]]
    assert len(sections) == 11 and len(guarantees) > 40
    assert all(section.split("\n\n")[1].startswith("- ") for section in sections[1:]), "guarantees stand in lists"
    for each in guarantees:
        assert NAMED.search(each), f"who holds this? {each}"


def test_nothing_that_looks_like_a_name_is_overlooked() -> None:
    assert len(NAMED.findall(TEXT)) == TEXT.count("::test_")
