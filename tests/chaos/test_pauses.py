"""A pause that the engine could not make is asked for again; one that it refuses is not."""

from __future__ import annotations

from typing import cast

import pytest
import requests
from docker.errors import APIError

from chaos.cluster import Cluster
from chaos.faults import processes


class Engine:
    """Stands for a cluster and its container: its first pauses end with these status codes."""

    def __init__(self, *failing: int) -> None:
        self._failing = list(failing)
        self.pauses = 0

    def container(self, _: int) -> Engine:
        return self

    def pause(self) -> None:
        self.pauses += 1
        if self._failing:
            response = requests.Response()
            response.status_code = self._failing.pop(0)
            raise APIError("unable to freeze", response=response)


def pauses(engine: Engine) -> int:
    processes.pause(cast(Cluster, engine), (0,))
    return engine.pauses


def test_what_could_not_be_frozen_is_tried_again() -> None:
    assert pauses(Engine()) == 1
    assert pauses(Engine(500, 500)) == 3


@pytest.mark.parametrize("failing", [[409], [500] * processes.PAUSE_TRIES])
def test_but_not_what_is_refused_nor_for_ever(failing: list[int]) -> None:
    engine = Engine(*failing)
    with pytest.raises(APIError):
        pauses(engine)
    assert engine.pauses == len(failing)
