"""What is deleted of a run that was killed, on a cluster that is others'."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.api.routes import OPERATION_TIMEOUT_S
from chaos import attached
from chaos.attached import AttachedCluster
from chaos.clients.agents import MINE


class Held(AttachedCluster):
    """A cluster without containers, whose node holds a new topic of the killed run as long as a request may take."""

    def __init__(self) -> None:
        super().__init__("rmqtest-held", 3, beside_others=True)
        self.topics = {"orders", f"{MINE}stream"}
        self.held = {f"{MINE}topic-51"}
        self.slept_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        if self.slept_s >= OPERATION_TIMEOUT_S:
            self.topics |= self.held
            self.held.clear()

    def leader(self, *_: Any) -> int:
        return 0

    def wait_ready(self, *_: Any, **__: Any) -> None: ...

    def _port(self, node: int) -> int:
        return node

    def call(self, node: int, method: str, path: str, *_: Any) -> httpx.Response:
        if method == "DELETE":
            self.topics.discard(path.rpartition("/")[2])
            return httpx.Response(204)
        items = [{"name": name} for name in sorted(self.topics)]
        return httpx.Response(200, json={"items": items, "next_cursor": None})


def test_a_topic_that_a_node_made_late_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, mends in ((attached.processes, ("unpause", "start")), (attached.networks, ("move_back",)),
                          (attached.firewall, ("heal",))):  # fmt: skip
        for name in mends:
            monkeypatch.setattr(module, name, lambda *_: None)
    cluster = Held()
    monkeypatch.setattr(attached.time, "sleep", cluster.sleep)
    cluster.mend()
    cluster.sleep(OPERATION_TIMEOUT_S)
    assert cluster.topics == {"orders"}
