"""A cluster of a run's own: the repository's Compose files under another project name, on other ports.

    with OwnCluster("rmqchaos3", 3) as cluster:      # leftovers of that name go first; at the end nothing is left
        cluster.container(cluster.leader()).kill()

Rules of this file: what is broken is what is shipped (see `override`). Only `up` goes through Compose's command line,
as a user would.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos import engine, override
from chaos.alone import Alone
from chaos.cluster import Cluster, ClusterError
from chaos.reaper import Reaper
from scripts import containers
from scripts.cluster import is_port_taken

PROJECT = "rmqchaos"
"""The runs' clusters are named so, followed by their size."""
FIRST_PORT, PORTS = 18001, 1000
COMPOSE_S = 180.0


class OwnCluster(Cluster):
    """`size` nodes (3 or 5) of `image` under project `name`.

    `environment`: variables of every node. `data_mib`: each node's disk is a file system in memory of this size, which
    outlives restarts; None: a usual volume. `ports`: the clients', else the first free ones from 18001 on.
    """

    def __init__(
        self, name: str, size: int, *, image: str = containers.IMAGE, environment: Mapping[str, str] | None = None,
        data_mib: int | None = None, ports: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, size)
        self.ports = list(ports or ())
        self.data_mib = data_mib
        self._image = image
        self._environment = dict(environment or {})
        self._scratch = tempfile.TemporaryDirectory(prefix=f"{name}-")
        self._alone: Alone | None = None
        self._reaper: Reaper | None = None
        self._building = threading.Lock()

    def up(self) -> None:
        """Remove what an earlier run left, start all, wait until every node is ready."""
        with self._building:
            self._alone = Alone(self.name)
            engine.sweep(self.name)
            self._reaper = Reaper("sweep", self.name)
            self.ports = self.ports or _ports(self.size)
            override.write(self._directory, self.ports, self._image, self._environment, self.data_mib)
            self.compose("up", "--detach", "--no-build")
            if self.data_mib is not None:
                self._hold_disks()
        self.wait_ready()

    def down(self) -> None:
        """Remove all of it, data included, whatever state it is in."""
        with self._building:
            if self._alone is not None:
                engine.sweep(self.name)
            if self._reaper is not None:
                self._reaper.dismiss()
                self._reaper = None
            self.close()
            self._scratch.cleanup()
            if self._alone is not None:
                self._alone.release()
                self._alone = None

    def compose(self, *arguments: str) -> str:
        """What a Compose command of this project prints. ClusterError with its output when it fails."""
        files = override.arguments(self.size, self._directory / override.NAME)
        ports = {f"NODE{node + 1}_PORT": str(port) for node, port in enumerate(self.ports)}
        command = [*containers.compose(), "-p", self.name, *files, *arguments]
        done = subprocess.run(
            command, cwd=override.REPOSITORY, env={**os.environ, **ports}, timeout=COMPOSE_S, check=False, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        if done.returncode:
            raise ClusterError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    @property
    def _directory(self) -> Path:
        return Path(self._scratch.name)

    def _hold_disks(self) -> None:
        """A file system in memory is gone when nothing has it mounted: a container that does nothing always has."""
        volumes = {self.volume(node): {"bind": f"/held/{node}", "mode": "ro"} for node in self.nodes}
        engine.client().containers.run(
            self._image, ["infinity"], entrypoint="sleep", detach=True, init=True, network_mode="none", volumes=volumes,
            labels={engine.ADDED: self.name},
        )  # fmt: skip


def _ports(count: int) -> list[int]:
    """The first free ports from `FIRST_PORT` on."""
    free = (port for port in range(FIRST_PORT, FIRST_PORT + PORTS) if not is_port_taken(port))
    found = [port for port, _ in zip(free, range(count), strict=False)]
    if len(found) < count:
        raise ClusterError(f"No {count} ports are free from {FIRST_PORT} to {FIRST_PORT + PORTS}: name others.")
    return found
