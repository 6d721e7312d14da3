"""Where messages were stored, as clients are told: the short way says what the long one would."""

from __future__ import annotations

import msgspec
import pytest

from app.api import message_schemas as schemas
from app.api.publish import places
from app.api.session import frames
from app.broker.results import PublishedRun


@pytest.mark.parametrize(("duplicate", "new"), [(False, 3), (True, 0)])
def test_a_run_is_told_as_if_each_message_had_been_encoded(duplicate: bool, new: int) -> None:
    run = PublishedRun(17, 77, 3, duplicate)
    each = [schemas.PublishedMessage(id=str(n), sequence=n + 60, duplicate=duplicate) for n in (17, 18, 19)]
    told = [msgspec.json.encode(place) for place in each]
    assert places(run) == places(run.spelled_out()) == (told, new)
    assert bytes(frames.published(7, told)) == msgspec.json.encode(frames.Published(id=7, messages=each))
