"""The schedule repeats exactly, covers its faults, and every scenario names faults that there are."""

from __future__ import annotations

import pytest

from chaos.faults import FAULTS
from chaos.regressions import REGRESSIONS, Regression
from chaos.scenarios import DEFAULT, Scenario, UnknownScenario, find, nodes_of
from chaos.schedule import enough, plan

ALL = list(FAULTS)
MIXED = Scenario("some", "", ("a", "b", "c"), (1.0, 2.0), (0.5, 1.0))


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert plan(MIXED, 7, 60, "abc") == plan(MIXED, 7, 60, "abc")


def test_another_seed_gives_another() -> None:
    assert plan(MIXED, 7, 60, "abc") != plan(MIXED, 8, 60, "abc")


def test_a_schedule_is_known_by_heart() -> None:
    """Nothing of this machine, nor of this process, goes into it."""
    first = plan(MIXED, 1, 60, "abc")[0]
    assert first == (0, "b", 1.37, 0.844, 3680368115)


def test_rounds_fill_the_time_and_stay_within_their_lengths() -> None:
    rounds = plan(MIXED, 3, 60, "abc")
    assert sum(each.hold_s + each.rest_s for each in rounds) >= 60
    assert all(1.0 <= each.hold_s <= 2.0 and 0.5 <= each.rest_s <= 1.0 for each in rounds)
    assert [each.number for each in rounds] == list(range(len(rounds)))


def test_a_full_run_has_at_least_so_many_rounds_and_a_short_one_need_not() -> None:
    many = MIXED._replace(least_rounds=100)
    assert len(plan(many, 1, 60, "abc")) == enough(many, 60) == 100
    assert enough(many, 59) == 0
    assert len(plan(many, 1, 59, "abc")) < 100


def test_each_fault_comes_once_before_one_comes_again() -> None:
    names = [each.fault for each in plan(MIXED, 3, 60, "abc")]
    for start in range(0, len(names) - 2, 3):
        assert sorted(names[start : start + 3]) == ["a", "b", "c"]


def test_faults_that_need_more_nodes_are_left_out() -> None:
    assert {each.fault for each in plan(MIXED, 3, 60, "ab")} == {"a", "b"}


@pytest.mark.parametrize("scenario", DEFAULT, ids=lambda scenario: scenario.name)
def test_every_scenario_can_be_planned(scenario: Scenario) -> None:
    assert set(scenario.faults) <= FAULTS.keys()
    enough = [name for name in scenario.faults if FAULTS[name].needs_nodes <= scenario.nodes]
    assert enough
    assert len(plan(scenario, 1, 60, enough)) >= 3
    assert scenario.hold_s[0] <= scenario.hold_s[1]
    assert scenario.rest_s[0] <= scenario.rest_s[1]


def test_every_fault_is_in_a_scenario() -> None:
    assert {name for scenario in DEFAULT for name in scenario.faults} == FAULTS.keys()


@pytest.mark.parametrize("each", REGRESSIONS, ids=lambda each: f"{each.scenario}-{each.seed}")
def test_every_regression_can_be_run(each: Regression) -> None:
    assert nodes_of(find(each.scenario), each.nodes) == each.nodes
    assert each.what


def test_names_are_unique_and_found() -> None:
    assert len({scenario.name for scenario in DEFAULT}) == len(DEFAULT)
    assert all(find(scenario.name) is scenario for scenario in DEFAULT)


def test_an_unknown_name_says_what_to_do() -> None:
    with pytest.raises(UnknownScenario, match="LIST=1"):
        find("kill-the-president")


def test_too_few_nodes_say_what_to_write() -> None:
    with pytest.raises(UnknownScenario, match="NODES=5"):
        nodes_of(find("split"), 3)
    assert nodes_of(find("split"), None) == 5
    assert nodes_of(find("pause-leader"), 5) == 5
