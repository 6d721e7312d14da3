"""Probes without containers: one that did not even reach itself has said nothing, and is made again."""

from __future__ import annotations

from typing import Any, cast

import pytest

from chaos.cluster import Cluster, ClusterError
from chaos.faults import probes


class Said:
    """Stands for a cluster of two whose probes say these, one after the other."""

    nodes = range(2)

    def __init__(self, *said: str) -> None:
        self._said = list(said)
        self.probes = 0

    def alias(self, node: int) -> str:
        return f"peer{node}"

    def execute(self, *_: Any) -> str:
        self.probes += 1
        return self._said.pop(0)


def links(said: Said, *among: int) -> probes.Links:
    return probes.links(cast(Cluster, said), among)


def test_a_probe_that_did_not_reach_itself_is_made_again() -> None:
    said = Said("", "peer1", "127.0.0.1")
    assert links(said, 0) == set() and said.probes == 3
    # The second one had reached node 1, and not itself: that, too, is not believed.


def test_but_not_for_ever() -> None:
    said = Said(*[""] * 9)
    with pytest.raises(ClusterError, match="prove nothing"):
        links(said, 0)
    assert said.probes == probes.TRIES == 3
