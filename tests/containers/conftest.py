"""Containers need an engine: without one these tests are skipped with the reason, and fail on CI."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import containers
from scripts.console import Failure
from tests.containers.stack import Stack, command


@pytest.fixture(scope="session")
def image() -> str:
    """The image, built from what is in the repository now (seconds when nothing changed)."""
    reason = containers.why_not()
    if reason and os.environ.get("CI"):
        pytest.fail(f"{reason}: on CI the container tests must run")
    if reason:
        pytest.skip(f"{reason}: start Docker to run the container tests")
    try:
        containers.build()
    except Failure as failure:
        pytest.fail(str(failure))
    return containers.IMAGE


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Three nodes, ready, shared by a file's tests: each leaves all three running."""
    yield from running(tmp_path_factory.mktemp("stack"), 3)


@pytest.fixture
def five(image: str, tmp_path: Path) -> Iterator[Stack]:
    yield from running(tmp_path, 5)


def running(directory: Path, size: int) -> Iterator[Stack]:
    stack = Stack(directory, f"rmqtest{uuid.uuid4().hex[:8]}", size)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        left = command("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={stack.name}")
        assert not left
