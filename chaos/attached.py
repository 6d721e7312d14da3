"""Somebody's running cluster, made from the repository's Compose files: borrowed, broken, mended, given back.

    with attach("myproject", beside_others=False) as cluster: ...

Its topics begin with `MINE`. A cluster with other topics is refused unless the user says that those may live through
it. What the run made is deleted again; what it broke is mended, by the run's end or by `Reaper` after it. Of a run that
was killed a node may still hold a request, a new topic among them: topics go once that must have ended.

Rules of this file: nothing is built or removed but the run's own topics and what a fault added; nobody's data is
touched, so faults that need a cluster of their own (`Fault.own_cluster`) are not for this one.
"""

from __future__ import annotations

import re
import threading
import time

import httpx

from chaos import engine
from chaos.alone import Alone
from chaos.clients.agents import MINE
from chaos.cluster import Cluster, ClusterError
from chaos.faults import firewall, networks, processes
from chaos.override import FILES
from chaos.reaper import Reaper

CLIENT_PORT = "8000/tcp"
READY_S, CALL_S = 10.0, 5.0
HELD_S = 5.5
"""A node that is well has answered what it holds, or given it up, in so long: it has 5 s for an operation."""
PAGE = 1000
_NODE = re.compile(r"node([1-9]\d*)")


class Refused(Exception):
    """This cluster is not to be broken. Its text is a sentence that says why, and what to do."""


def attach(project: str, *, beside_others: bool) -> AttachedCluster:
    """The cluster of this Compose project. Refused when there is none that can be used."""
    found = engine.client().containers.list(all=True, filters={"label": f"{engine.PROJECT}={project}"})
    services = {each.labels.get(engine.SERVICE, ""): each.status for each in found}
    nodes = {name: status for name, status in services.items() if _NODE.fullmatch(name)}
    if not nodes:
        raise Refused(f"Compose project {project!r} has no containers node1, node2, …: `docker ps` shows what runs.")
    if set(nodes) != {f"node{number}" for number in range(1, len(nodes) + 1)} or len(nodes) not in FILES:
        raise Refused(f"{project} has {', '.join(sorted(nodes))}: 3 or 5 nodes, node1 to node3 or node5, can be used.")
    return AttachedCluster(project, len(nodes), beside_others)


class AttachedCluster(Cluster):
    """See above. Made by `attach`."""

    def __init__(self, name: str, size: int, beside_others: bool) -> None:
        super().__init__(name, size)
        self._beside_others = beside_others
        self._alone: Alone | None = None
        self._reaper: Reaper | None = None
        self._busy = threading.Lock()

    def look(self) -> None:
        """Whether it can be used as it is now; Refused says why not."""
        self.ports = [self._port(node) for node in self.nodes]
        try:
            self.wait_ready(timeout_s=READY_S)
        except ClusterError as error:
            raise Refused(f"{self.name} must be well before it is broken. {error}") from None
        others = [name for name in self._topics() if not name.startswith(MINE)]
        if others and not self._beside_others:
            shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            raise Refused(
                f"{self.name} has topics that are not of this harness ({shown}): its users would feel each fault. Add "
                "--beside-other-topics if they may."
            )

    def up(self) -> None:
        """Take it, if it can be used; topics that an earlier run left go."""
        with self._busy:
            alone = self._claim()
            try:
                self.look()
            except BaseException:
                alone.release()
                raise
            self._alone, self._reaper = alone, Reaper("mend", self.name)
            self._forget()

    def down(self) -> None:
        """Mend what is broken, delete the run's topics, let go."""
        with self._busy:
            try:
                if self._alone is not None:
                    self._mend()
            finally:
                self._let_go()

    def _claim(self) -> Alone:
        """One borrower at a time; who built it may hold its name as such."""
        return Alone(f"{self.name}.borrowed")

    def _let_go(self) -> None:
        if self._reaper is not None:
            self._reaper.dismiss()
        if self._alone is not None:
            self._alone.release()
        self._reaper = self._alone = None
        self.close()

    def mend(self) -> None:
        """What a run that was killed has left: faults, topics. InUse while one goes on."""
        with self._busy:
            self._alone = self._claim()
        self.down()

    def _mend(self) -> None:
        processes.unpause(self, self.nodes)
        processes.start(self, self.nodes)
        networks.move_back(self, self.nodes)
        try:
            firewall.heal(self)
        except firewall.NoFirewall:
            pass  # Where rules cannot be removed none could be set.
        self.ports = [self._port(node) for node in self.nodes]
        self.wait_ready()
        time.sleep(HELD_S)
        self._forget()

    def _forget(self) -> None:
        for name in self._topics():
            if name.startswith(MINE):
                self._need("DELETE", f"/v1/topics/{name}")

    def _topics(self) -> list[str]:
        names: list[str] = []
        query = f"limit={PAGE}"
        while True:
            page = self._need("GET", f"/v1/topics?{query}").json()
            names += [item["name"] for item in page["items"]]
            if not page["next_cursor"]:
                return names
            query = f"limit={PAGE}&cursor={page['next_cursor']}"

    def _need(self, method: str, path: str) -> httpx.Response:
        """What the leader answers, asked again while it fails: just mended, the cluster may be changing leaders."""
        deadline = time.monotonic() + READY_S
        while True:
            answer = self.call(self.leader(), method, path, CALL_S)
            if answer is not None and (answer.is_success or answer.status_code == 404):
                return answer
            if time.monotonic() > deadline:
                said = "nothing" if answer is None else answer.text
                raise ClusterError(f"{self.name} answers {said} to {method} {path} for {READY_S:.0f} s.")
            time.sleep(0.1)

    def _port(self, node: int) -> int:
        published = self.inspect(node)["NetworkSettings"]["Ports"].get(CLIENT_PORT)
        if not published:
            status = self.state(node)["Status"]
            raise Refused(
                f"Node {node} of {self.name} is {status} and publishes no port of its {CLIENT_PORT}: start it with "
                "one, as in docker-compose.yml."
            )
        return int(published[0]["HostPort"])
