"""The Docker engine as this harness uses it: what belongs to a project, and how all of it is removed.

A project's things carry Compose's label. What is added beside Compose (the holder of disks in memory, the second
network of a split) carries a label of its own, since Compose would take a container of its label for a service.

Rules of this file: things are found by label, never by a guessed name; removing goes on where something is gone
already; of other projects nothing is touched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import docker
from docker.errors import DockerException, NotFound

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NETWORK = "com.docker.compose.network"
VOLUME = "com.docker.compose.volume"
ADDED = "rmq.chaos.project"
"""On what is added beside Compose; the value is the project's name."""
ANSWER_S = 60

Given = TypeVar("Given")
Made = TypeVar("Made")


class EngineError(Exception):
    """The engine cannot be used. Its text is a sentence."""


@functools.cache
def client() -> docker.DockerClient:
    """The engine that the usual variables name; usable from several threads. EngineError when none answers."""
    try:
        return docker.from_env(timeout=ANSWER_S, max_pool_size=32)
    except DockerException as error:
        raise EngineError(f"No Docker engine answers ({error}): start Docker.") from None


def at_once(act: Callable[[Given], Made], over: Iterable[Given]) -> list[Made]:
    """`act` on each, all at the same time; the results in order. All end before the first that failed is raised."""
    items = list(over)
    if not items:
        return []
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(act, items))


def sweep(project: str) -> int:
    """Remove every container, network and volume of a project, whatever state it is in; how many there were."""
    engine = client()
    filters: list[dict[str, str | list[str] | bool]] = [{"label": f"{label}={project}"} for label in (PROJECT, ADDED)]
    containers = [
        functools.partial(each.remove, force=True, v=True)
        for one in filters for each in engine.containers.list(all=True, filters=one, ignore_removed=True)
    ]  # fmt: skip
    at_once(_remove, containers)
    networks = [each.remove for one in filters for each in engine.networks.list(filters=one)]
    volumes = [each.remove for one in filters for each in engine.volumes.list(filters=one)]
    at_once(_remove, [*networks, *volumes])
    return len(containers) + len(networks) + len(volumes)


def _remove(remove: Callable[[], None]) -> None:
    try:
        remove()
    except NotFound:
        pass
