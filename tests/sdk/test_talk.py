"""What a session keeps of its messages and answers, without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rmq import errors
from rmq.messages import NewMessage
from rmq.talk import Talk
from tests.sdk.looking import HELLO


def hear(talk: Talk, **frame: Any) -> None:
    talk.hear(json.dumps(frame))


def delivered(talk: Talk, consumer: int, id: str, sequence: int, token: str) -> None:
    message = {
        "id": id, "sequence": sequence, "body": "a", "headers": {}, "group": None, "priority": 0, "deliveries": 1,
        "published_at": "2026-01-31T12:00:00.000Z", "token": token, "lease_expires_at": "2026-01-31T12:00:30.000Z",
    }  # fmt: skip
    hear(talk, op="deliver", id=consumer, messages=[message])


def consuming(talk: Talk, subscription: str) -> list[Any]:
    came: list[Any] = []
    talk.consume("t", credit=9, subscription=subscription, lease_s=None, deliver=came.append, drop=print, failed=print)
    return came


def test_each_subscription_gets_what_the_other_one_is_acking() -> None:
    talk = Talk()
    one, other = consuming(talk, "default"), consuming(talk, "b")
    delivered(talk, 1, "7", 7, "b-1-0-7-1")
    talk.settle("ack", one)
    delivered(talk, 2, "7", 7, "c-2-0-7-1")
    assert len(one) == len(other) == 1
    delivered(talk, 1, "7", 7, "b-3-0-7-2")
    assert len(one) == 1, "the same one for the same subscription is acked again"


def test_a_late_ack_takes_nothing_from_a_topic_that_is_made_anew() -> None:
    talk = Talk()
    came = consuming(talk, "default")
    delivered(talk, 1, "1", 1, "b-1-0-1-1")
    talk.settle("ack", came)
    hear(talk, **HELLO)
    talk.next_frame()
    talk.next_frame()
    hear(talk, op="settled", id=2, results=[{"token": "b-1-0-1-1", "ok": False, "code": "lease_lost"}])
    assert isinstance(talk.take_failure(), errors.LeaseLost)
    delivered(talk, 1, "9", 1, "e-1-0-1-1")
    assert [message.id for message in came] == ["1", "9"]


@pytest.mark.parametrize(
    "places", [[{"id": "1", "sequence": 1, "duplicate": False}], [{"id": "1"}] * 4, None, [{}, {}, {}, {}, {}]]
)
def test_an_answer_that_is_none_leaves_nothing_waiting_for_ever(places: Any) -> None:
    talk, found = Talk(), list[Any]()
    hear(talk, **HELLO)
    for number in range(4):
        talk.publish("t", NewMessage(body=number), found.append)
    talk.next_frame()
    with pytest.raises(errors.NotRMQ):
        hear(talk, op="published", id=1, messages=places)
    talk.give_up(errors.OutcomeUnknown("over", code="x"))
    assert talk.unanswered == 0 and len(found) == 4 and isinstance(found[-1], errors.OutcomeUnknown)


def test_what_is_said_when_one_is_refused_comes_after_those_before() -> None:
    talk = Talk()

    def again(place: Any) -> None:
        assert isinstance(place, errors.PayloadTooLarge)
        talk.publish("t", NewMessage(body="after"), print)

    talk.publish("t", NewMessage(body="x" * 5000), again)
    talk.publish("t", NewMessage(body="first"), print)
    hear(talk, **{**HELLO, "frame_bytes_max": 4096})
    said = talk.next_frame()
    assert said.index(b"first") < said.index(b"after") and talk.unanswered == 2
