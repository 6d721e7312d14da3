"""Containers need an engine: without one these tests are skipped with the reason, and fail on CI."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping

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
def stack(image: str, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Three nodes, ready, shared by a file's tests: each leaves all three running. Variables in the file's `NODES` are
    theirs."""
    yield from running(3, getattr(request.module, "NODES", {}))


@pytest.fixture
def five(image: str, request: pytest.FixtureRequest) -> Iterator[Stack]:
    yield from running(5, getattr(request.module, "NODES", {}))


def running(size: int, environment: Mapping[str, str]) -> Iterator[Stack]:
    stack = Stack(f"rmqtest{uuid.uuid4().hex[:8]}", size, environment)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        left = command("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={stack.name}")
        assert not left
