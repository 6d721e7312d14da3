"""Both clients against the real routes: every method, what it returns and what it raises."""

from __future__ import annotations

import datetime
import inspect
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import rmq
from app.broker.commands import Receive, encode
from app.node.errors import DiskFull, NoQuorum
from rmq import errors
from tests.api.conftest import Live
from tests.sdk.faces import FACES, Face

QUICK = rmq.Retry(total_s=1.0)


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with Live() as found:
        yield found


@pytest.fixture(params=FACES, ids=["sync", "async"])
def queue(live: Live, request: pytest.FixtureRequest) -> Iterator[Face]:
    """A client, and an empty topic `t`."""
    found: Face = request.param(live.url, retry=QUICK)
    found("create_topic", "t")
    yield found
    for topic in found("topics"):
        found("delete_topic", topic.name)
    found.close()


@pytest.mark.parametrize("body", [None, True, 0, -1.5, "", "Käse", [], {"a": [1, {"b": None}]}, b"", b"\0\xff"])
def test_what_is_published_comes_out_as_it_was(queue: Face, body: Any) -> None:
    place = queue("publish", "t", body, headers={"kind": "order"})
    [message] = queue("receive", "t", auto_ack=True)
    assert (message.body, type(message.body), dict(message.headers)) == (body, type(body), {"kind": "order"})
    assert (message.id, message.sequence, message.topic, place.duplicate) == (place.id, place.sequence, "t", False)
    assert (message.token, message.lease_expires_at, message.dead_letter, message.deliveries) == (None, None, None, 1)
    age = datetime.datetime.now(datetime.UTC) - message.published_at
    assert abs(age) < datetime.timedelta(seconds=60)


def test_a_message_may_say_it_all_itself(queue: Face) -> None:
    message = rmq.NewMessage(body=1, group="g", dedup_id="d", ttl_s=60)
    first, second = queue("publish", "t", message), queue("publish", "t", message)
    assert (first.duplicate, second.duplicate, first.id) == (False, True, second.id)
    [received] = queue("receive", "t")
    assert received.group == "g"
    with pytest.raises(TypeError, match="NewMessage"):
        queue("publish", "t", message, group="h")


def test_the_same_key_stores_once(queue: Face) -> None:
    first, second = (queue("publish", "t", "a", key="k") for _ in range(2))
    assert (first.id, first.duplicate, second.duplicate) == (second.id, False, True)
    with pytest.raises(errors.KeyReused):
        queue("publish", "t", "b", key="k")


def test_many_go_in_as_few_requests_as_they_fit_into(queue: Face, live: Live) -> None:
    before = live.node.submitted
    places = queue("publish_many", "t", range(2500))
    assert [place.sequence for place in places] == list(range(1, 2501))
    assert live.node.submitted - before == 3
    before = live.node.submitted
    assert len(queue("publish_many", "t", ["x" * 400_000 for _ in range(5)])) == 5
    assert live.node.submitted - before == 3
    assert queue("publish_many", "t", []) == []


def test_of_a_list_nothing_is_sent_where_one_is_no_body(queue: Face) -> None:
    with pytest.raises(TypeError):
        queue("publish_many", "t", [*range(1500), {1}])
    assert queue("topic", "t").messages == 0


def test_many_under_one_key_are_stored_once(queue: Face) -> None:
    first, second = (queue("publish_many", "t", range(1500), key="many") for _ in range(2))
    assert [place.id for place in first] == [place.id for place in second]
    assert all(place.duplicate for place in second)
    assert queue("topic", "t").messages == 1500


def test_ack_nack_extend(queue: Face) -> None:
    queue("publish_many", "t", ["a", "b", "c"])
    a, b, c = queue("receive", "t", max=3, lease_s=30)
    queue("extend", c, lease_s=60)
    queue("nack", b)
    queue("ack", a, c)
    [again] = queue("receive", "t", max=3)
    assert (again.body, again.deliveries) == ("b", 2)
    with pytest.raises(errors.LeaseLost) as lost:
        queue("ack", b, a)
    assert (lost.value.tokens, lost.value.code) == ([b.token], "lease_lost")
    queue("ack", again)
    assert queue("topic", "t").messages == 0


def test_a_nack_is_done_though_its_answer_was_lost_and_another_has_the_message_by_now(queue: Face, live: Live) -> None:
    queue("publish", "t", "a")
    [held] = queue("receive", "t")
    live.node.lost, live.node.meanwhile = 1, encode(Receive("t", auto_ack=False))
    try:
        queue("nack", held)
    finally:
        live.node.lost, live.node.meanwhile = 0, None
    assert queue("topic", "t").subscriptions[0].leased == 1


def test_what_is_done_already_cannot_be_acked(queue: Face) -> None:
    queue("publish", "t", "a")
    [message] = queue("receive", "t", auto_ack=True)
    with pytest.raises(ValueError, match="auto_ack"):
        queue("ack", message)


def test_a_receive_waits(queue: Face, live: Live) -> None:
    def publish() -> None:
        with rmq.Client(live.url) as other:
            other.publish("t", "late")

    timer = threading.Timer(0.2, publish)
    timer.start()
    [message] = queue("receive", "t", wait_s=5)
    timer.join()
    assert message.body == "late"


def test_peek_reads_on_and_filters(queue: Face) -> None:
    queue("publish_many", "t", range(250))
    queue("publish", "t", "x", headers={"kind": "order"})
    queue("receive", "t", max=2)
    found = queue("peek", "t")
    assert [each.sequence for each in found] == list(range(1, 252))
    assert [each.state for each in found[:3]] == ["leased", "leased", "ready"]
    assert [each.body for each in queue("peek", "t", headers={"kind": "order"})] == ["x"]
    assert [each.body for each in queue("peek", "t", start=250)] == [249, "x"]


def test_topics(queue: Face) -> None:
    settings = queue("create_topic", "u", lease_s=5, max_deliveries=2, dead_letter_topic="t")
    assert (settings.lease_s, settings.max_deliveries, settings.dead_letter_topic) == (5, 2, "t")
    assert queue("create_topic", "u", lease_s=5, max_deliveries=2, dead_letter_topic="t") == settings
    with pytest.raises(errors.TopicExists):
        queue("create_topic", "u", lease_s=6)
    assert [topic.name for topic in queue("topics", "u")] == ["u"]
    assert queue("change_topic", "u", dead_letter_topic=None, version=1) == 2
    with pytest.raises(errors.VersionConflict):
        queue("change_topic", "u", lease_s=6, version=1)
    topic = queue("topic", "u")
    assert (topic.version, topic.settings.dead_letter_topic, topic.settings.max_deliveries) == (2, None, 2)
    assert [each.name for each in topic.subscriptions] == ["default"]
    queue("delete_topic", "u")
    with pytest.raises(errors.TopicNotFound):
        queue("topic", "u")


def test_dead_letters_and_redrive(queue: Face) -> None:
    queue("create_topic", "graves")
    queue("change_topic", "t", max_deliveries=1, dead_letter_topic="graves")
    queue("publish_many", "t", range(3))
    queue("nack", *queue("receive", "t", max=3))
    [dead] = queue("receive", "graves", max=1)
    assert (dead.dead_letter.topic, dead.dead_letter.deliveries, dead.dead_letter.sequence) == ("t", 1, 1)
    queue("nack", dead)
    assert queue("redrive", "graves", max=2) == rmq.Redriven(2, 0)
    assert queue("redrive", "graves") == rmq.Redriven(1, 0)
    assert (queue("purge", "t"), queue("purge", "t")) == (3, 0)


def test_subscriptions_and_schedules(queue: Face) -> None:
    queue("publish", "t", "a")
    assert queue("create_subscription", "t", "mails", "earliest") == 1
    assert [message.body for message in queue("receive", "t", subscription="mails")] == ["a"]
    assert [each.name for each in queue("subscriptions", "t")] == ["default", "mails"]
    queue("delete_subscription", "t", "mails")
    with pytest.raises(errors.SubscriptionNotFound):
        queue("receive", "t", subscription="mails")
    schedule = queue("put_schedule", "t", "nightly", "0 3 * * *", {"task": "tidy"}, zone="Europe/Berlin")
    assert queue("schedules", "t") == [schedule]
    assert (schedule.zone, schedule.message) == ("Europe/Berlin", {"body": {"task": "tidy"}})
    queue("delete_schedule", "t", "nightly")
    with pytest.raises(errors.ScheduleNotFound):
        queue("delete_schedule", "t", "nightly")


def test_the_cluster(queue: Face) -> None:
    cluster = queue("cluster")
    assert cluster.leader == 0 and cluster.members[0].node == 0


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (("publish", "none", 1), errors.TopicNotFound), (("publish", "a b", 1), errors.InvalidRequest),
        (("publish", "t", "x" * (1 << 20)), errors.PayloadTooLarge), (("receive", "none"), errors.TopicNotFound),
        (("create_subscription", "none", "s"), errors.TopicNotFound), (("purge", "none"), errors.TopicNotFound),
    ],
)  # fmt: skip
def test_refusals_are_exceptions(queue: Face, call: Any, kind: type[errors.Error]) -> None:
    with pytest.raises(kind) as found:
        queue(*call)
    assert found.value.outcome == "not_committed"


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (("publish", "t", float("nan")), ValueError), (("publish", "t", object()), TypeError),
        (("publish", "", 1), ValueError), (("publish", "a/b", 1), ValueError), (("topic", ".."), ValueError),
        (("topic", "\udcff"), ValueError), (("publish", "t", "\udcff"), ValueError),
        (("publish_many", "t", "abc"), TypeError), (("publish_many", "t", {"a": 1}), TypeError),
        (("ack", []), TypeError), (("nack", "b-1-0-2-1"), TypeError),
        (("create_topic", "."), ValueError), (("delete_topic", ".."), ValueError),
        (("delete_subscription", "t", ".."), ValueError), (("delete_schedule", "t", ".."), ValueError),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_before(queue: Face, live: Live, call: Any, kind: type[Exception]) -> None:
    before = live.node.submitted
    with pytest.raises(kind):
        queue(*call)
    assert live.node.submitted == before


@pytest.mark.parametrize("key", ["", "a\nb", "é", "x" * 257])
def test_a_key_that_cannot_be_one_is_refused_before(queue: Face, live: Live, key: str) -> None:
    before = live.node.submitted
    for call in (("publish", "t", 1), ("publish_many", "t", [1])):
        with pytest.raises(ValueError, match="visible ASCII"):
            queue(*call, key=key)
    assert live.node.submitted == before


def test_what_cannot_be_now_is_tried_until_the_time_is_over(queue: Face, live: Live) -> None:
    for failure, kind in ((NoQuorum("no majority"), errors.NoQuorum), (DiskFull("no room"), errors.DiskFull)):
        live.node.fail = failure
        try:
            with pytest.raises(kind):
                queue("publish", "t", 1)
        finally:
            live.node.fail = None
    timer = threading.Timer(0.1, lambda: setattr(live.node, "fail", None))
    live.node.fail = NoQuorum("no majority")
    patient = type(queue)(live.url, retry=rmq.Retry(total_s=30))
    timer.start()
    assert patient("publish", "t", 1).duplicate is False
    timer.join()
    patient.close()


@contextmanager
def answering(data: bytes) -> Iterator[int]:
    """A port where every connection gets these bytes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("scheme", "data", "kind"),
    [
        ("http", b"220 mail.example ESMTP\r\n\r\n", errors.NotRMQ),
        ("http", b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", errors.NotRMQ),
        ("http", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", errors.NotRMQ),
        ("http", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", errors.NotRMQ),
        ("http", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", errors.NotRMQ),
        ("http", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", errors.NotRMQ),
        ("http", b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", errors.NotRMQ),
        ("http", b"", errors.OutcomeUnknown),
        ("https", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", errors.NotRMQ),
    ],
)
def test_what_is_no_node_is_said_to_be_none(face: Any, scheme: str, data: bytes, kind: type[errors.Error]) -> None:
    with answering(data) as port:
        queue = face(f"{scheme}://127.0.0.1:{port}", retry=QUICK)
        with pytest.raises(kind) as found:
            queue("publish", "t", 1)
        queue.close()
    assert f"127.0.0.1:{port}" in str(found.value) or kind is errors.NotRMQ


@pytest.mark.parametrize("face", FACES)
def test_nobody_there(face: Any) -> None:
    queue = face("http://127.0.0.1:1", retry=QUICK)
    with pytest.raises(errors.CannotConnect, match=r"127\.0\.0\.1:1"):
        queue("topic", "t")
    queue.close()


def test_the_urls_may_stand_in_the_environment(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMQ_URL", f"http://127.0.0.1:1,{live.url}")
    with rmq.Client() as client:
        assert client.cluster().leader == 0
        assert client.urls == ["http://127.0.0.1:1", live.url]
    monkeypatch.delenv("RMQ_URL")
    with rmq.Client() as client:
        assert client.urls[0] == "http://localhost:8001"


def test_the_two_clients_are_twins() -> None:
    for name, method in vars(rmq.Client).items():
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        twin = vars(rmq.AsyncClient)[name]
        assert twin.__doc__ == method.__doc__, name
        assert inspect.signature(twin).parameters == inspect.signature(method).parameters, name
        returns = inspect.signature(method).return_annotation
        if returns in ("Consumer", "Session"):
            assert inspect.signature(twin).return_annotation == f"Async{returns}", name
            continue
        assert inspect.signature(twin).return_annotation == returns.replace("Iterator[", "AsyncIterator["), name
        assert inspect.iscoroutinefunction(twin) or inspect.isasyncgenfunction(twin), name
    assert set(dir(rmq.Client)) - set(dir(rmq.AsyncClient)) <= {"__enter__", "__exit__"}
