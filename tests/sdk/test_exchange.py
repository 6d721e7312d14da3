"""The protocol of one call, without a socket: which node is asked when, what is tried again, what is known at last."""

from __future__ import annotations

import copy
import json
import pickle
import random
from collections.abc import Iterator
from typing import Any

import pytest

from rmq import errors
from rmq.exchange import Failure, Pause, Reply, Request, Send, exchange
from rmq.policy import Nodes, Retry

A, B, C = "http://a:1", "http://b:1", "http://c:1"
OK = Reply(200, {}, b"{}")
REFUSED = Failure("connection refused", sent=False)
SILENT = Failure("it took too long", sent=True)
HANGS = Failure("it took all the time that it had", sent=True)


def problem(status: int, code: str, *, outcome: str = "not_committed", retryable: bool = True, **headers: str) -> Reply:
    body = {"code": code, "detail": "Said so.", "outcome": outcome, "retryable": retryable}
    return Reply(status, {"content-type": "application/problem+json", **headers}, json.dumps(body).encode())


NO_QUORUM = problem(503, "no_quorum")
UNKNOWN = problem(504, "outcome_unknown", outcome="unknown")


class Run:
    """Drives one exchange with a clock of its own. `says`: what each node answers, in turn; the last one for ever."""

    def __init__(self, nodes: Nodes, says: dict[str, list[Any]], **options: Any) -> None:
        self.now = 0.0
        self.asked: list[str] = []
        self.sends: list[Send] = []
        self.pauses: list[float] = []
        self._says = {url: iter_forever(found) for url, found in says.items()}
        self._took_s = options.pop("took_s", 0.01)
        retry = options.pop("retry", Retry(total_s=5))
        self._steps = exchange(Request(method="POST", path="/", **options), nodes, retry, self._clock, random.Random(1))

    def _clock(self) -> float:
        return self.now

    def end(self) -> Reply:
        """What comes of it."""
        result: Any = None
        try:
            while True:
                step = self._steps.send(result)
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                    result = None
                else:
                    assert isinstance(step, Send)
                    self.asked.append(step.url)
                    self.sends.append(step)
                    result = next(self._says[step.url])
                    self.now += step.answer_s if result is HANGS else self._took_s
        except StopIteration as end:
            reply: Reply = end.value
            return reply


def iter_forever(found: list[Any]) -> Iterator[Any]:
    yield from found
    while True:
        yield found[-1]


def test_one_that_answers_is_asked_again_the_next_time() -> None:
    nodes = Nodes([A, B, C])
    assert Run(nodes, {A: [REFUSED], B: [OK]}).end() is OK
    again = Run(nodes, {B: [OK]})
    assert again.end() is OK and again.asked == [B]


def test_a_node_that_cannot_be_reached_costs_no_pause() -> None:
    run = Run(Nodes([A, B, C]), {A: [REFUSED], B: [REFUSED], C: [OK]})
    assert run.end() is OK
    assert (run.asked, run.pauses) == ([A, B, C], [])


def test_after_each_round_the_pause_doubles_up_to_a_longest() -> None:
    run = Run(Nodes([A, B]), {A: [REFUSED], B: [REFUSED]}, retry=Retry(total_s=9, first_s=0.1, longest_s=1.0))
    with pytest.raises(errors.CannotConnect):
        run.end()
    assert run.asked[:4] == [A, B, A, B]
    bounds = [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    for pause, bound in zip(run.pauses, bounds, strict=False):
        assert bound / 2 <= pause <= bound
    assert 8 < run.now <= 9


def test_with_no_time_it_is_tried_once() -> None:
    run = Run(Nodes([A, B]), {A: [NO_QUORUM], B: [OK]}, retry=Retry(total_s=0))
    with pytest.raises(errors.NoQuorum):
        run.end()
    assert run.asked == [A]


def test_what_is_refused_for_now_is_tried_again_elsewhere() -> None:
    run = Run(Nodes([A, B]), {A: [NO_QUORUM], B: [OK]})
    assert run.end() is OK and run.asked == [A, B]


def test_a_full_topic_is_not_the_nodes_fault_and_waits_as_it_was_told() -> None:
    run = Run(Nodes([A, B]), {A: [problem(429, "topic_full", **{"retry-after": "1"}), OK]})
    assert run.end() is OK
    assert (run.asked, run.pauses) == ([A, A], [1.0])


def test_a_node_that_names_the_leader_sends_us_there() -> None:
    refused = problem(400, "not_leader", **{"rmq-leader": C})
    run = Run(Nodes([A, B, C]), {A: [refused], C: [OK]})
    assert run.end() is OK and run.asked == [A, C]


@pytest.mark.parametrize("total_s", [2, 3, 6, 15])
def test_a_node_that_hangs_leaves_time_for_the_others(total_s: float) -> None:
    """Found by a trial: with 3 seconds in all, 6 were spent on the first node, and the others were not asked."""
    retry = Retry(total_s=total_s)
    run = Run(Nodes([A, B, C]), {A: [HANGS], B: [OK]}, retry=retry)
    assert run.end() is OK and run.now < total_s
    if total_s < 3:
        return  # A try has a second.
    run = Run(Nodes([A, B, C]), {A: [HANGS], B: [HANGS], C: [OK]}, retry=retry)
    assert run.end() is OK and run.now <= total_s + 0.1
    run = Run(Nodes([A, B, C]), {A: [HANGS], B: [HANGS], C: [HANGS]}, retry=retry)
    with pytest.raises(errors.OutcomeUnknown):
        run.end()
    assert set(run.asked) == {A, B, C} and run.now <= total_s + 1.1
    assert all(send.connect_s <= send.answer_s for send in run.sends)


def test_a_try_has_all_its_time_where_no_other_can_follow() -> None:
    for nodes, options in (
        ([A], {"retry": Retry(total_s=3)}), ([A, B], {"retry": Retry(total_s=0)}),
        ([A, B], {"retry": Retry(total_s=3), "repeatable": False}), ([A, B, C], {"retry": Retry()}),
    ):  # fmt: skip
        run = Run(Nodes(nodes), {A: [OK]}, **options)
        run.end()
        assert (run.sends[0].connect_s, run.sends[0].answer_s) == (2.0, 6.0)


def test_what_waits_for_messages_has_that_time_besides() -> None:
    run = Run(Nodes([A, B]), {A: [OK]}, retry=Retry(total_s=4), wait_s=20.0)
    run.end()
    assert run.sends[0].answer_s == 22.0


def test_a_leader_that_we_do_not_know_is_not_asked() -> None:
    refused = problem(400, "not_leader", **{"rmq-leader": "http://10.0.0.1:8001"})
    run = Run(Nodes([A, B]), {A: [refused], B: [OK]})
    assert run.end() is OK and run.asked == [A, B]


@pytest.mark.parametrize("doubt", [SILENT, UNKNOWN, Reply(502, {"content-type": "text/html"}, b"<html>")])
def test_what_may_have_happened_is_repeated_if_it_is_repeatable(doubt: Any) -> None:
    assert Run(Nodes([A, B]), {A: [doubt], B: [OK]}).end() is OK
    run = Run(Nodes([A, B]), {A: [doubt], B: [OK]}, repeatable=False)
    with pytest.raises(errors.OutcomeUnknown) as found:
        run.end()
    assert found.value.outcome == "unknown" and run.asked == [A]


def test_a_doubt_stays_until_an_answer_says_more() -> None:
    run = Run(Nodes([A, B]), {A: [SILENT, NO_QUORUM], B: [REFUSED]})
    with pytest.raises(errors.OutcomeUnknown):
        run.end()
    run = Run(Nodes([A, B]), {A: [SILENT, OK], B: [REFUSED]})
    assert run.end() is OK


def test_a_conflict_after_a_doubt_may_be_our_own() -> None:
    conflict = problem(412, "version_conflict", retryable=False)
    with pytest.raises(errors.OutcomeUnknown):
        Run(Nodes([A, B]), {A: [SILENT], B: [conflict]}).end()
    with pytest.raises(errors.VersionConflict):
        Run(Nodes([A, B]), {A: [REFUSED], B: [conflict]}).end()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "topic_not_found", errors.TopicNotFound), (404, "subscription_not_found", errors.SubscriptionNotFound),
        (404, "schedule_not_found", errors.ScheduleNotFound), (409, "topic_exists", errors.TopicExists),
        (412, "version_conflict", errors.VersionConflict), (413, "body_too_large", errors.PayloadTooLarge),
        (422, "key_reused", errors.KeyReused), (400, "invalid_body", errors.InvalidRequest),
        (400, "a_code_of_later_days", errors.InvalidRequest),
    ],
)  # fmt: skip
def test_what_is_final_is_raised_at_once_as_what_it_is(status: int, code: str, kind: type[errors.Error]) -> None:
    run = Run(Nodes([A, B]), {A: [problem(status, code, retryable=False)]})
    with pytest.raises(errors.Error) as found:
        run.end()
    assert type(found.value) is kind and run.asked == [A]
    assert (found.value.code, found.value.outcome, found.value.detail) == (code, "not_committed", "Said so.")
    assert found.value.advice in str(found.value)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("no_quorum", errors.NoQuorum), ("overloaded", errors.Overloaded), ("topic_full", errors.TopicFull),
        ("disk_full", errors.DiskFull), ("shutting_down", errors.Unavailable),
    ],
)  # fmt: skip
def test_when_the_time_is_over_the_last_reason_is_raised(code: str, kind: type[errors.Error]) -> None:
    with pytest.raises(errors.Error) as found:
        Run(Nodes([A, B]), {A: [problem(503, code)], B: [problem(503, code)]}).end()
    assert type(found.value) is kind


@pytest.mark.parametrize(
    "answer",
    [
        Reply(404, {"content-type": "text/html"}, b"<h1>nginx</h1>"),
        Reply(400, {"content-type": "application/problem+json"}, b"{}"),
        Reply(400, {"content-type": "application/problem+json"}, b"["),
        Failure("illegal status line", sent=True, foreign=True),
    ],
)
def test_what_is_no_node_is_said_to_be_none(answer: Any) -> None:
    with pytest.raises(errors.NotRMQ):
        Run(Nodes([A, B]), {A: [answer]}).end()


KINDS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.Error)]


def test_every_code_that_says_so_becomes_its_exception_and_all_are_errors() -> None:
    tree = errors.__doc__ or ""
    for kind in KINDS:
        assert kind.__name__ in tree, "the tree has them all"
        assert kind.advice and kind.__doc__


def ways_to_copy() -> Iterator[Any]:
    yield from (copy.copy, copy.deepcopy)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_goes_whole_from_one_process_to_another(kind: type[errors.Error]) -> None:
    """Found by a trial: a multiprocessing.Pool whose work raised one hung for ever."""
    more: dict[str, Any] = {"tokens": ["a", "b"]} if kind is errors.LeaseLost else {}
    for outcome in ("not_committed", "unknown"):
        error = kind("Said so.", code="some_code", outcome=outcome, **more)
        error.add_note("a note")
        for way in ways_to_copy():
            found = way(error)
            assert type(found) is kind and found is not error
            assert (vars(found), found.args, str(found)) == (vars(error), error.args, str(error))


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8001", "ftp://a", "http://", "http://a:x", "http://a:99999", "http://a?b", "http://[::1",
        "http://.a", "http://ä..b",
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_one_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match="http://localhost:8001"):
        Nodes(url)


def test_urls_come_as_a_list_or_as_one_text() -> None:
    assert Nodes(f"{A}, {B}/,{A}").urls == Nodes([A, B]).urls == [A, B]


def test_a_read_that_is_not_answered_is_no_doubt_but_no_connection() -> None:
    steps = exchange(Request(method="GET", path="/"), Nodes([A]), Retry(total_s=0), lambda: 0.0, random.Random(1))
    next(steps)
    with pytest.raises(errors.CannotConnect) as caught:
        steps.send(SILENT)
    assert (caught.value.outcome, caught.value.code) == ("not_committed", "no_answer")
