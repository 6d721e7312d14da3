"""Peek: everything where it stands, and nothing touched."""

from __future__ import annotations

import pytest

from app.broker import peek
from app.broker.commands import CreateSubscription, NewMessage
from tests.broker.feed import Feed


def look(
    feed: Feed, start: int = 0, limit: int = 1000, topic: str = "t", subscription: str = "default", **headers: str
) -> peek.Page:
    page = feed.machine.peek(topic, subscription, start, limit, headers)
    assert page is not None
    return page


def test_states_and_deliveries(feed: Feed) -> None:
    feed.create("u", "s", max_deliveries=3)
    bodies = [b"dead", b"ready again", b"delayed", b"leased", b"done", b"ready"]
    feed.publish(*bodies, topic="u")
    feed.publish(b"later", topic="u", delay_ms=10)
    for _ in range(2):
        feed.nack(*feed.lease(topic="u"), topic="u")
    dead, again, delayed, _, done = feed.lease(5, "u")
    feed.nack(dead, again, topic="u")
    feed.nack(delayed, topic="u", delay_ms=10)
    feed.ack(done, topic="u")
    seen = [(each.message.body, each.state, each.message.deliveries) for each in look(feed, topic="u").items]
    assert seen == [
        (b"dead", "dead", 3), (b"ready again", "ready", 1), (b"delayed", "delayed", 1), (b"leased", "leased", 0),
        (b"done", "done", 0), (b"ready", "ready", 0), (b"later", "delayed", 0),
    ]  # fmt: skip
    assert [each.state for each in look(feed, topic="u", subscription="s").items] == ["ready"] * 6 + ["delayed"]


def test_nothing_is_touched(feed: Feed) -> None:
    feed.publish(b"1", b"2")
    feed.lease()
    before = feed.machine.state_hash()
    look(feed)
    assert feed.machine.state_hash() == before


def test_a_message_comes_with_all_but_a_lease(feed: Feed) -> None:
    feed.publish(b"\xff", binary=True, headers={"h": "1"}, group="g")
    [leased] = feed.lease()
    [seen] = look(feed).items
    assert (seen.message.id, seen.message.body, seen.message.binary) == (leased.id, b"\xff", True)
    assert (seen.message.headers, seen.message.group, seen.message.token) == ({"h": "1"}, "g", None)


def test_pages_follow_each_other(feed: Feed) -> None:
    feed.publish(*(NewMessage(b"%d" % i, group="g" if i % 2 else None) for i in range(5)))
    page = look(feed, limit=2)
    assert ([each.message.body for each in page.items], page.next) == ([b"0", b"1"], 3)
    page = look(feed, start=3, limit=2)
    assert ([each.message.body for each in page.items], page.next) == ([b"2", b"3"], 5)
    page = look(feed, start=5, limit=2)
    assert ([each.message.body for each in page.items], page.next) == ([b"4"], None)
    assert look(feed, start=6) == peek.Page([], None)


def test_by_headers(feed: Feed) -> None:
    feed.publish(NewMessage(b"1", headers={"a": "1", "b": "2"}), NewMessage(b"2", headers={"a": "1"}), NewMessage(b"3"))
    found = [[each.message.body for each in look(feed, **headers).items] for headers in ({"a": "1"}, {"b": "2"}, {})]
    assert found == [[b"1", b"2"], [b"1"], [b"1", b"2", b"3"]]
    assert look(feed, a="2", b="2").items == []
    assert look(feed, limit=1, a="1").next == 2


def test_so_many_are_looked_at(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peek, "LOOKED_AT_MAX", 3)
    feed.publish(*[b""] * 3, NewMessage(b"found", headers={"a": "1"}))
    assert look(feed, a="1") == peek.Page([], 4)
    page = look(feed, start=4, a="1")
    assert ([each.message.body for each in page.items], page.next) == ([b"found"], None)


def test_a_page_is_bounded_in_bytes_and_never_empty_for_it(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peek, "PAGE_BYTES", 10)
    feed.publish(b"a" * 6, b"b" * 4, b"c", b"d" * 50, b"e")
    starts, sizes = [0], []
    while starts[-1] is not None:
        page = look(feed, start=starts[-1])
        sizes.append([len(each.message.body) for each in page.items])
        starts.append(page.next)  # type: ignore[arg-type]
    assert sizes == [[6, 4], [1], [50], [1]]


def test_what_a_subscription_does_not_get_is_done_for_it(feed: Feed) -> None:
    feed.publish(b"1")
    feed.one(CreateSubscription("t", "s"))
    feed.publish(b"2")
    assert [each.state for each in look(feed, subscription="s").items] == ["done", "ready"]


def test_what_is_not_there(feed: Feed) -> None:
    assert feed.machine.peek("no", "default", 0, 9, {}) is None
    assert feed.machine.peek("t", "no", 0, 9, {}) is None
