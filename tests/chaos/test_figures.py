"""Figures of hand-made records, to the millisecond."""

from __future__ import annotations

import pytest

from chaos.figures import Spread, by_fault, measure, spread
from chaos.history import FaultStep, Kind, Op, Outcome, Phase, PhaseName, Record, Redundant, Role, Status, Step


def op(kind: Kind, end: float, outcome: Outcome = "ok", *, start: float | None = None, **more: object) -> Op:
    if kind == "publish":
        more |= {"values": [f"v-{end}"], "sequences": [1] if outcome == "ok" else []}
    elif kind == "receive":
        more = {"max": 1, **more}
    start = end if start is None else start
    return Op(kind=kind, client="p0", node=0, tries=1, start=start, end=end, outcome=outcome, **more)  # type: ignore[arg-type]


def publishes(*ends: float) -> list[Record]:
    return [op("publish", end) for end in ends]


def status(node: int, at: float, term: int, role: Role = "Follower", *, start: float | None = None) -> Status:
    return Status(
        node=node, start=at if start is None else start, at=at, role=role, term=term, leader=None, last_log_index=0,
        commit_index=0, applied_index=0, state_index=0, state_hash="", pid=1,
    )  # fmt: skip


def step(
    number: int, name: Step, at: float, detail: str = "", *, fault: str = "kill-leader", ok: bool = True
) -> FaultStep:
    return FaultStep(round=number, name=fault, step=name, targets=[1], start=at, end=at + 0.1, ok=ok, detail=detail)


def fault(number: int, inject: float, heal: float, name: str = "kill-leader") -> list[Record]:
    """All four steps, all of them proven."""
    return [
        step(number, "inject", inject, fault=name),
        step(number, "prove", inject + 0.1, "it is dead", fault=name),
        step(number, "heal", heal, fault=name),
        step(number, "prove_healed", heal + 0.1, "it lives", fault=name),
    ]


def phases(**starts: float) -> list[Record]:
    names: list[PhaseName] = ["warm", "faults", "heal", "drain", "gather", "end"]
    return [Phase(name=name, at=starts[name]) for name in names if name in starts]


def test_what_is_an_acknowledged_operation() -> None:
    records = [
        op("publish", 1.0), op("publish", 1.1, "unknown"), op("publish", 1.2, "fail"),
        op("receive", 1.3, values=["a"], sequences=[1]), op("receive", 1.4), op("receive", 1.5, "unknown"),
        op("create", 1.6, created=True), op("create", 1.7, created=False), op("create", 1.8, "unknown"),
        op("list", 1.9, names=["a"]), op("count", 2.0, left=7),
        op("ack", 2.1, tokens=["a", "b"], codes=["lease_lost", None]), op("ack", 2.2, "unknown", tokens=["a"]),
        op("nack", 2.3, tokens=["a"], codes=["lease_lost"]),
    ]  # fmt: skip
    figures = measure(records)
    assert figures.acknowledged == 4
    assert figures.operations == {
        "ack": {"ok": 1, "unknown": 1}, "count": {"ok": 1}, "nack": {"ok": 1},
        "create": {"ok": 2, "unknown": 1}, "list": {"ok": 1}, "publish": {"fail": 1, "ok": 1, "unknown": 1},
        "receive": {"ok": 2, "unknown": 1},
    }  # fmt: skip


def test_the_rate_before_the_first_fault_counts_from_the_first_publish_to_the_injection() -> None:
    warm = [op("publish", 2.0 + i / 10, start=2.0) for i in range(20)]
    after = publishes(4.0, 4.5, 5.0)
    figures = measure([*phases(warm=0.5, faults=3.9, drain=9.0), *warm, *fault(0, 4.0, 5.0), *after])
    assert (figures.before_rate, figures.before_s) == (10.0, 2.0)
    assert figures.acknowledged == 23


def test_without_a_fault_the_time_before_ends_with_the_clients() -> None:
    figures = measure([*phases(warm=0.0, faults=1.0, heal=3.0, drain=5.0), *publishes(1.0, 2.0, 3.0, 4.0)])
    assert (figures.before_rate, figures.before_s) == (1.0, 2.0)


def test_a_fault_before_all_load_leaves_no_rate() -> None:
    assert measure(fault(0, 4.0, 5.0)).before_rate is None


def test_errors_are_counted_by_code() -> None:
    twice = [op("publish", at, "unknown", error="no_answer") for at in (1.0, 3.0)]
    once = op("receive", 2.0, "fail", error="internal")
    assert measure([*twice, once]).errors == {"internal": 1, "no_answer": 2}


def test_nothing_at_all() -> None:
    figures = measure([])
    assert (figures.acknowledged, figures.before_rate, figures.window_s, figures.longest_gap_s) == (0, None, 0.0, 0.0)
    assert (figures.elections, figures.term_rise, figures.rounds, figures.phases) == (0, 0, [], [])


class TestGaps:
    def test_the_longest_counts_from_the_first_publish_to_the_last(self) -> None:
        figures = measure([*phases(warm=0.0, drain=90.0), *publishes(10.0, 10.5, 12.0, 12.25)])
        assert (figures.longest_gap_s, figures.longest_gap_at, figures.window_s) == (1.5, 10.5, 2.25)

    def test_none_is_counted_while_clients_connect_for_the_first_time(self) -> None:
        figures = measure([op("publish", 13.0, start=10.0), *publishes(13.5), *fault(0, 13.2, 13.4)])
        assert (figures.longest_gap_s, figures.longest_gap_at) == (0.5, 13.0)
        assert figures.before_s == 3.2

    def test_without_an_acknowledgement_before_the_fault_it_counts_from_the_first_publish(self) -> None:
        figures = measure([op("publish", 13.0, start=10.0), *publishes(13.5), *fault(0, 12.0, 12.4)])
        assert (figures.longest_gap_s, figures.longest_gap_at, figures.rounds[0].gap_s) == (3.0, 10.0, 3.0)

    def test_publishes_that_nobody_acknowledged_end_no_gap(self) -> None:
        middle = [op("publish", 11.0, "unknown"), op("publish", 11.5, "fail"), op("receive", 12.0, values=["a"])]
        figures = measure([*publishes(10.0), *middle, *publishes(13.0)])
        assert figures.longest_gap_s == 3.0

    def test_one_that_stays_unanswered_to_the_end_is_a_gap(self) -> None:
        last = op("publish", 40.0, "unknown", start=12.0)
        assert measure([*publishes(10.0, 11.0), last]).longest_gap_s == 29.0

    def test_no_acknowledgement_at_all_is_one_gap(self) -> None:
        tried = [op("publish", 20.0, "unknown", start=10.0), op("publish", 25.0, "unknown", start=21.0)]
        figures = measure([*tried, *fault(0, 12.0, 14.0)])
        assert (figures.longest_gap_s, figures.rounds[0].gap_s, figures.rounds[0].gap_at) == (15.0, 15.0, 10.0)

    def test_the_drain_is_not_part_of_it(self) -> None:
        late = op("publish", 30.0, "unknown", start=11.0)
        assert measure([*phases(drain=12.0), *publishes(10.0, 11.0), late]).longest_gap_s == 1.0

    def test_a_fault_that_nobody_published_through_is_a_gap_not_a_pass(self) -> None:
        figures = measure([*publishes(10.0, 10.1), *fault(0, 12.0, 14.0)])
        assert figures.rounds[0].gap_s == pytest.approx(4.0)  # to the probe after the heal, 14.1

    @pytest.mark.parametrize(
        ("ends", "gap_s", "gap_at"),
        [
            ((9.0, 9.9, 10.7, 11.0, 13.9, 14.1), 2.9, 11.0),  # within the fault
            ((9.0, 9.9, 11.4, 12.0, 13.0, 14.1), 1.5, 9.9),  # over the injection: in its full length
            ((9.0, 10.1, 11.0, 12.0, 13.5, 15.5), 2.0, 13.5),  # over the heal: to the first acknowledgement after
            ((5.0, 10.0, 11.0, 12.0, 13.0, 14.0, 19.0), 1.0, 10.0),  # before the injection, after the heal: neither
        ],
    )
    def test_of_a_round(self, ends: tuple[float, ...], gap_s: float, gap_at: float) -> None:
        (found,) = measure([*publishes(*ends), *fault(0, 10.0, 14.0)]).rounds
        assert (found.gap_s, found.gap_at) == (pytest.approx(gap_s), gap_at)

    def test_of_a_round_that_was_never_healed_lasts_to_the_next(self) -> None:
        steps = [step(0, "inject", 10.0), step(1, "inject", 12.0)]
        rounds = measure([*publishes(9.0, 10.5, 11.9, 16.0), *steps]).rounds
        assert [each.gap_s for each in rounds] == [pytest.approx(4.1)] * 2
        assert [each.heal_at for each in rounds] == [None, None]

    def test_after_the_heal_is_a_figure_of_its_own(self) -> None:
        ends = (9.0, 10.1, 11.1, 12.1, 12.8, 13.2, 15.0)
        first, second = measure([*publishes(*ends), *fault(0, 10.0, 12.0), *fault(1, 14.0, 14.5)]).rounds
        assert (first.gap_s, first.gap_healed_s) == (1.1, 0.7)
        assert (second.gap_s, second.gap_healed_s) == (1.8, None)


class TestNewLeader:
    def test_is_the_first_of_a_higher_term(self) -> None:
        statuses = [
            status(0, 9.0, 3, "Leader"), status(1, 10.2, 4, "Candidate"), status(0, 10.3, 3, "Leader"),
            status(1, 10.4, 4, "Leader"), status(1, 10.5, 4, "Leader"),
        ]  # fmt: skip
        figures = measure([*statuses, *fault(0, 10.0, 12.0), *publishes(9.0, 13.0)])
        assert figures.rounds[0].leader_s == 0.4
        assert (figures.elections, figures.term_rise) == (1, 1)

    def test_who_led_at_the_injection(self) -> None:
        statuses = [status(1, 8.0, 5, "Leader"), status(0, 9.0, 3, "Leader"), status(2, 10.1, 6, "Leader")]
        rounds = measure([*statuses, *fault(0, 7.0, 7.5), *fault(1, 10.0, 12.0), *fault(2, 14.0, 15.0)]).rounds
        assert [each.leader for each in rounds] == [None, 1, 2]

    def test_is_null_where_none_came(self) -> None:
        statuses = [status(0, 9.0, 3, "Leader"), status(0, 11.0, 3, "Leader")]
        assert measure([*statuses, *fault(0, 10.0, 12.0), *publishes(9.0, 13.0)]).rounds[0].leader_s is None

    def test_was_asked_for_after_the_injection(self) -> None:
        statuses = [
            status(0, 9.0, 3, "Leader"),
            status(1, 10.1, 4, "Leader", start=9.9),
            status(2, 10.6, 5, "Leader", start=10.5),
        ]
        assert measure([*statuses, *fault(0, 10.0, 12.0), *publishes(9.0, 13.0)]).rounds[0].leader_s == 0.6

    def test_is_not_one_that_led_before_another_that_believes_it_still_does(self) -> None:
        statuses = [
            status(1, 8.0, 5, "Leader"), status(0, 9.0, 3, "Leader"), status(1, 10.1, 5, "Leader"),
            status(2, 10.8, 6, "Leader"),
        ]  # fmt: skip
        found = measure([*statuses, *fault(0, 10.0, 12.0), *publishes(9.0, 13.0)])
        assert found.rounds[0].leader_s == pytest.approx(0.8)

    def test_answered_after_the_next_injection_is_no_ones(self) -> None:
        statuses = [status(0, 9.0, 3, "Leader"), status(1, 14.3, 4, "Leader", start=13.9)]
        rounds = measure([*statuses, *fault(0, 10.0, 12.0), *fault(1, 14.0, 15.0), *publishes(9.0, 16.0)]).rounds
        assert [each.leader_s for each in rounds] == [None, None]

    def test_belongs_to_its_own_round(self) -> None:
        statuses = [status(0, 9.0, 3, "Leader"), status(1, 14.3, 4, "Leader")]
        rounds = measure([*statuses, *fault(0, 10.0, 12.0), *fault(1, 14.0, 15.0), *publishes(9.0, 16.0)]).rounds
        assert [each.leader_s for each in rounds] == [None, pytest.approx(0.3)]

    def test_elections_count_terms_not_statuses(self) -> None:
        led = [(0, 3), (0, 3), (1, 5), (1, 5), (0, 9)]
        statuses = [status(node, float(at), term, "Leader") for at, (node, term) in enumerate(led)]
        figures = measure([*statuses, status(2, 9.0, 11)])
        assert (figures.elections, figures.term_rise) == (2, 8)


class TestRounds:
    def test_redundancy_counts_from_the_heal(self) -> None:
        records = [*fault(0, 10.0, 12.0), *fault(1, 20.0, 21.0), Redundant(round=0, at=12.75)]
        assert [each.redundant_s for each in measure(records).rounds] == [0.75, None]

    def test_proofs(self) -> None:
        (found,) = measure(fault(0, 10.0, 12.0)).rounds
        assert (found.proven, found.proof, found.healed, found.healing) == (True, "it is dead", True, "it lives")

    @pytest.mark.parametrize(
        ("steps", "proof", "healing"),
        [
            ([step(0, "inject", 1.0)], "nobody looked whether it was so", "it was not done"),
            ([step(0, "inject", 1.0, "no engine", ok=False)], "no engine", "it was not done"),
            (
                [step(0, "inject", 1.0), step(0, "prove", 1.1, "it still answers", ok=False), step(0, "heal", 2.0)],
                "it still answers",
                "nobody looked whether it was so",
            ),
            (
                [step(0, "inject", 1.0), step(0, "prove", 1.1), step(0, "prove", 1.2, "it came back", ok=False)],
                "it came back",
                "it was not done",
            ),
        ],
    )
    def test_what_was_not_shown_did_not_happen(self, steps: list[Record], proof: str, healing: str) -> None:
        (found,) = measure(steps).rounds
        assert (found.proven, found.proof, found.healed, found.healing) == (False, proof, False, healing)


class TestSpread:
    def test_of_numbers(self) -> None:
        assert spread([3.0, None, 1.0, 2.0]) == Spread(3, 1.0, 2.0, 3.0, 3.0)
        assert spread(float(i) for i in range(1, 21)) == Spread(20, 1.0, 10.5, 18.0, 20.0)
        assert spread([0.5]) == Spread(1, 0.5, 0.5, 0.5, 0.5)

    def test_of_nothing_is_nothing(self) -> None:
        assert spread([None, None]) is None

    def test_by_fault_over_several_runs_leaves_out_what_did_not_take_hold(self) -> None:
        ends = publishes(0.9, 1.3, 2.1, 3.1, 4.1)
        one = measure([*ends, *fault(0, 1.0, 2.0), *fault(1, 3.0, 4.0, "pause-leader")])
        other = measure([*ends, *fault(0, 1.0, 2.0), step(1, "inject", 3.0), *fault(2, 3.5, 4.0, "split")])
        found = by_fault([one, other])
        assert [(each.fault, each.rounds) for each in found] == [("kill-leader", 2), ("pause-leader", 1), ("split", 1)]
        assert found[0].gap_s == Spread(2, 0.8, 0.8, 0.8, 0.8)
        assert (found[0].leader_s, found[0].redundant_s) == (None, None)
