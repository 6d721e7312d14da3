"""Leadership transfer: with no loss of time, and never with a loss of entries (dissertation 3.10)."""

from __future__ import annotations

import pytest

from app.raft import NotLeader, Role


def test_transfer(script):
    s = script()
    s.elect(1)
    s.say("n2 has everything: it stands at once, and the others vote though their leader lives.")
    s.transfer(1, 2)
    s.deliver()
    s.beat(2)
    s.deliver()
    assert (s.role(2), s.role(1)) == (Role.LEADER, Role.FOLLOWER)


def test_transfer_to_a_lagging_member(script):
    s = script()
    s.elect(1)
    s.propose(1, "a", "b")
    held = s.hold("1>2")
    s.exchange(1, 3)
    s.say("n2 must catch up first. Until then, and until it has stood, nobody may propose.")
    s.transfer(1, 2)
    assert not s.flight
    with pytest.raises(NotLeader):
        s.core(1).propose([b"c"])
    s.deliver(held)
    s.deliver()
    assert s.role(2) == Role.LEADER
    assert s.terms(2) == [1, 1, 1, 2]


def test_transfer_given_up(script):
    s = script()
    s.elect(1)
    s.say("n2 is dead. After an election timeout the leader goes on.")
    s.crash(2)
    s.transfer(1, 2)
    s.pass_time(s.tuning.election_max_ticks)
    with pytest.raises(NotLeader):
        s.core(1).propose([b"a"])
    s.pass_time(1)
    s.propose(1, "b")
    s.deliver()
    assert s.role(1) == Role.LEADER
    assert s.commands(1) == "b"


def test_lost_timeout_now(script):
    s = script()
    s.elect(1)
    s.transfer(1, 2)
    late = s.hold("1>2 TimeoutNow")
    s.pass_time(s.tuning.election_max_ticks + 1)
    s.say("The leader has given up and gone on when its word arrives after all. n2's log is behind: nobody votes.")
    s.propose(1, "a")
    s.exchange(1, 3)
    s.flight.clear()
    s.deliver(late)
    s.deliver()
    assert s.role(2) != Role.LEADER
    s.say("The term is lost, the entry is not.")
    s.timeout(3)
    s.deliver()
    assert s.role(3) == Role.LEADER
    assert s.terms(2) == [1, 1, 3]


def test_transfer_to_a_stranger_or_itself(script):
    s = script()
    s.elect(1)
    for to in (1, 9):
        with pytest.raises(ValueError, match="the others are"):
            s.core(1).transfer(to)
    with pytest.raises(NotLeader):
        s.core(2).transfer(3)


def test_heartbeat_after_timeout_now_does_not_stop_the_successor(script):
    s = script()
    s.elect(1)
    s.transfer(1, 2)
    s.deliver("1>2 TimeoutNow")
    s.say("A heartbeat of the old term reaches the candidate before any vote: refused, it deposes the old leader.")
    s.beat(1)
    s.deliver("1>2 Heartbeat")
    s.deliver()
    assert s.role(2) == Role.LEADER
