"""Sessions of both clients where something is wrong: with what is said, with the node, or with the way to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import rmq
from rmq import errors
from rmq.messages import NewMessage
from rmq.talk import Talk
from tests.api.conftest import Live

QUICK = rmq.Retry(total_s=5)
HELLO = {"op": "hello", "node": 0, "version": "0.1.0", "frame_bytes_max": 1 << 20}


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with Live() as found:
        yield found


@pytest.fixture
def queue(live: Live) -> Iterator[rmq.Client]:
    """A client, and an empty topic `t`."""
    with rmq.Client(live.url, retry=QUICK) as found:
        found.create_topic("t")
        yield found
        for topic in list(found.topics()):
            found.delete_topic(topic.name)


BAD = [
    ({"priority": 99}, "`$.priority`"), ({"priority": True}, "`$.priority`"), ({"delay_s": -1}, "`$.delay_s`"),
    ({"ttl_s": "x"}, "`$.ttl_s`"), ({"headers": {"a": 1}}, "`$.headers[...]`"), ({"headers": {"": "a"}}, "`$.headers`"),
    ({"headers": ["a"]}, "`$.headers`"), ({"group": ""}, "`$.group`"), ({"group": 5}, "`$.group`"),
    ({"dedup_id": ""}, "`$.dedup_id`"), ({"body": 10**400}, "out of range"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "place"), BAD)
def test_one_that_is_malformed_takes_no_neighbours_along(
    queue: rmq.Client, fields: dict[str, Any], place: str
) -> None:
    bodies = [NewMessage(body=number) for number in (1, 2, 3)]
    with queue.session() as session:
        futures = [session.publish("t", each) for each in (*bodies, NewMessage(**{"body": 0, **fields}), *bodies)]
        found = [future.exception(20) or future.result().sequence for future in futures]
        with pytest.raises(errors.InvalidRequest):
            session.flush()
    bad = found.pop(3)
    assert isinstance(bad, errors.InvalidRequest) and place in bad.detail
    assert found == [1, 2, 3, 4, 5, 6]


def test_what_has_everything_at_its_limit_goes_with_the_others() -> None:
    talk = Talk()
    talk.hear(HELLO)
    for number in range(3):
        talk.publish(
            "t",
            NewMessage(
                body=number, headers={"a.b-c_" + "d" * 58: "x" * 1024}, group="~" * 128, dedup_id="!" * 128,
                delay_s=31_622_400, ttl_s=0.001, priority=9,
            ),
            print,
        )  # fmt: skip
    assert talk.next_frame().count(b'"body"') == 3
