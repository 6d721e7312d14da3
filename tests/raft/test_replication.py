"""Replication: logs that diverged meet again, and what may be committed (paper 5.3, 5.4.2; Fig. 7, Fig. 8)."""

from __future__ import annotations

import pytest

from app.raft import Role

LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
FIGURE_7 = {
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


def meet_first_by_heartbeat(s):
    """n1 is elected by n2; the first that n3 hears of it is a heartbeat."""
    s.win(1, 2)
    s.beat(1)
    s.flight = s.pick("1>3 Heartbeat")[-1:]
    s.exchange(1, 3)


@pytest.mark.parametrize("follower", FIGURE_7)
def test_figure_7(script, follower):
    s = script()
    s.say(f"Follower ({follower}) of the paper's Fig. 7 is n3. n1 has just come to power for term 8.")
    s.given(1, LEADER, term=7)
    s.given(2, LEADER, term=7)
    s.given(3, FIGURE_7[follower], term=7)
    s.show()
    meet_first_by_heartbeat(s)
    assert s.terms(3) == [*LEADER, 8]


def test_figure_8(script):
    s = script(nodes=5, message_bytes=1)
    s.say("(a) n1 led term 2 and has brought its entry 2 to n2 alone. (b) n5 leads term 3, accepts another entry 2.")
    s.given(1, [1, 2])
    s.given(2, [1, 2])
    for node in (3, 4, 5):
        s.given(node, [1], term=2)
    s.crash(1)
    s.win(5, 3, 4)
    s.show(5)
    s.crash(5)
    s.say("(c) n1 is back, leads term 4, and brings 2/t2 to n3: a majority holds it, and it is not committed.")
    s.restart(1)
    s.win(1, 2, 3)
    s.deliver("1>3")
    s.deliver("3>1")
    s.deliver("1>3 AppendEntries t4 after 1/t1: 2/t2")
    s.deliver("3>1")
    s.beat(1)
    s.deliver("1>2 Heartbeat")
    s.deliver("2>1")
    s.show(1, 2, 3)
    assert s.core(1).log.commit_index == 0
    s.say("(d) n1 crashes, n5 wins with votes of n2, n3 and n4, and overwrites 2/t2 everywhere.")
    s.crash(1)
    s.restart(5)
    s.win(5, 2, 3, 4)
    s.settle(5)
    assert s.terms(2) == s.terms(3) == [1, 3, 5]


def test_figure_8_with_an_entry_of_its_own_term(script):
    s = script(nodes=5)
    s.say("(e) Had n1 brought an entry of its own term to a majority, 2/t2 would be committed with it,")
    s.given(1, [1, 2], term=3)
    s.given(2, [1, 2], term=3)
    s.given(3, [1], term=3)
    s.given(4, [1], term=3)
    s.given(5, [1, 3])
    s.win(1, 2, 3)
    s.exchange(1, 2, 3)
    assert s.core(1).log.commit_index == 3
    s.say("and n5 could not win.")
    s.crash(1)
    with s.quietly(2, 3, 4, 5):
        for node in (2, 3, 4):
            s.tick(node, s.tuning.election_min_ticks)
        s.flight.clear()
    for _ in range(2):
        s.timeout(5)
        s.exchange(2, 3, 4, 5)
    assert s.role(5) == Role.PRE_CANDIDATE


def test_old_terms_are_committed_by_the_no_op(script):
    s = script()
    s.say("All hold two entries of term 1 that nobody knows to be committed. The no-op of term 2 commits them.")
    for node in (1, 2, 3):
        s.given(node, [1, 1])
    s.win(1, 2, 3)
    s.deliver()
    assert s.core(1).log.commit_index == 3


def test_conflict_costs_one_round_trip_a_term(script):
    s = script()
    s.say("n3 has three terms of ten entries each that the leader lacks.")
    shared = [1] * 5
    s.given(1, shared + [5] * 30, term=5)
    s.given(2, shared + [5] * 30, term=5)
    s.given(3, shared + [2] * 10 + [3] * 10 + [4] * 10, term=5)
    meet_first_by_heartbeat(s)
    assert s.terms(3) == s.terms(1)


def test_missing_terms_cost_one_round_trip_together(script):
    s = script()
    s.say("The other way round: the leader has three terms that n3 lacks. n3's hint skips them all.")
    shared = [1] * 5
    for node in (1, 2):
        s.given(node, shared + [2] * 10 + [3] * 10 + [5] * 10, term=5)
    s.given(3, shared + [1] * 20, term=5)
    meet_first_by_heartbeat(s)
    assert s.terms(3) == s.terms(1)


def test_delayed_duplicates_truncate_nothing(script):
    s = script(message_bytes=1)
    s.elect(1)
    s.say("Three appends are under way to n3; the first is delayed, and all come twice.")
    s.propose(1, "a", "b", "c")
    first, second, third = s.hold("1>3")
    s.deliver(first)
    s.deliver(second)
    s.deliver(third)
    assert s.terms(3) == [1, 1, 1, 1]
    s.deliver(third)
    s.deliver(first)
    s.deliver(second)
    assert s.terms(3) == [1, 1, 1, 1]
    s.exchange(1, 3)
    assert s.commands(1) == "a b c"


def test_reordered_appends_are_refused_and_come_again(script):
    s = script(message_bytes=1)
    s.elect(1)
    s.propose(1, "a", "b", "c")
    first, second, third = s.hold("1>3")
    s.say("The last comes first: n3 misses what stands before it, and says where its log ends.")
    s.deliver(third)
    s.deliver("3>1")
    s.say("The leader starts again from there. Whatever comes late changes nothing.")
    s.exchange(1, 3)
    s.deliver([second, first])
    s.exchange(1, 3)
    assert s.commands(1) == "a b c"
    assert s.terms(3) == [1, 1, 1, 1]


def test_append_of_a_deposed_leader_is_refused(script):
    s = script()
    s.elect(1)
    s.propose(1, "old")
    (late,) = s.hold("1>3")
    s.say("n2 leads term 2 now. What n1 sent in term 1 comes late, and deposes n1.")
    s.win(2, 3)
    s.exchange(2, 3)
    s.deliver(late)
    s.deliver("3>1")
    assert s.role(1) == Role.FOLLOWER
    assert s.terms(3) == [1, 2]


def test_flow_control(script):
    s = script(window=2, message_bytes=1)
    s.elect(1)
    s.say("With a window of two, two appends leave; each answer lets another go.")
    s.propose(1, "a", "b", "c", "d", "e")
    s.exchange(1, 3)
    s.drop("1>2")
    s.say("What was lost to n2 fills its window, until a heartbeat shows the gap.")
    s.propose(1, "f")
    assert not any(envelope.fits("1>2") for envelope in s.flight)
    s.beat(1)
    s.drop("1>3 Heartbeat")
    s.exchange(1, 2)
    assert s.terms(2) == s.terms(1)


def test_silent_member_is_not_sent_the_log_again_and_again(script):
    s = script()
    s.elect(1)
    s.crash(3)
    s.say("n1 leads anew while n3 is down: the entries go out once, then only heartbeats knock.")
    s.crash(1)
    s.restart(1)
    s.win(1, 2)
    s.exchange(1, 2)
    with s.quietly():
        for command in "abcd":
            s.propose(1, command)
            s.beat(1)
            assert not any(envelope.fits("1>3 AppendEntries") for envelope in s.flight)
            s.deliver()
    s.say("When it is back the first heartbeat finds where the logs meet.")
    s.restart(3)
    s.beat(1)
    s.exchange(1, 3)
    assert s.terms(3) == s.terms(1)


def test_disk_that_lost_what_it_vouched_for_starts_no_storm(script):
    s = script()
    s.elect(1)
    s.propose(1, "a", "b")
    s.settle(1)
    s.say("n3's disk lied: entries that it had synced are gone. It is refused, quietly, until somebody looks.")
    s.crash(3)
    s.given(3, [1], term=1)
    s.beat(1)
    s.exchange(1, 3)
    s.propose(1, "c")
    s.deliver()
    assert s.commands(1) == "a b c"


def test_a_leader_knows_who_lags_and_who_answers(script):
    s = script()
    s.say("n1 has won with n2's vote, and nobody has heard of it yet: where the logs meet is unknown.")
    s.win(1, 2)
    leader = s.core(1).leader
    assert [leader.lag(peer) for peer in (2, 3)] == [None, None]
    s.exchange(1, 2)
    s.cut("3>*", "*>3")
    s.say("n3 hears nothing.")
    s.propose(1, "a", "b")
    s.flight.clear()
    assert leader.lag(2) == 2
    s.exchange(1, 2)
    s.pass_time(60, 1, 2)
    assert (leader.lag(2), leader.hears(2)) == (0, True)
    assert (leader.lag(3), leader.hears(3)) == (None, False)
    s.heal()
    s.settle(1)
    assert [(leader.lag(peer), leader.hears(peer)) for peer in (2, 3)] == [(0, True), (0, True)]
