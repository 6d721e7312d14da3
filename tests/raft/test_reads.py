"""Read index: a linearizable read without a log entry (dissertation 6.4)."""

from __future__ import annotations

import pytest

from app.raft import NotLeader, Role


def test_read_is_confirmed_by_a_majority(script):
    s = script(nodes=5)
    s.elect(1)
    s.say("The leader and one of five are no majority. The second answer confirms.")
    s.read(1, 7)
    s.deliver("1>*")
    s.deliver("2>1")
    assert not s.nodes[1].reads
    s.deliver("3>1")
    assert s.nodes[1].reads == [(7, 1)]


def test_read_waits_for_the_no_op(script):
    s = script()
    s.elect(1)
    s.propose(1, "a")
    s.exchange(1, 2)
    s.say("n2 holds an entry that n1 has committed, and does not know that it is. n2 takes over.")
    s.crash(1)
    s.win(2, 3)
    s.read(2, 7)
    assert s.core(2).log.commit_index == 1
    s.say("Its read waits for the no-op: then its commit index is as good as any before.")
    s.exchange(2, 3)
    assert s.nodes[2].reads == [(7, 3)]


def test_read_is_refused_when_leadership_is_lost(script):
    s = script()
    s.elect(1)
    s.read(1, 7)
    s.say("Before anyone has answered, n2 leads term 2.")
    s.flight.clear()
    s.win(2, 3)
    s.beat(2)
    s.deliver("2>1")
    assert s.nodes[1].reads == [(7, None)]
    with pytest.raises(NotLeader):
        s.read(1, 8)


def test_deposed_leader_serves_no_read_after_a_pause(script):
    s = script()
    s.elect(1)
    s.beat(1)
    s.deliver("1>*")
    early = s.hold("*>1")
    s.say("n1 is paused. Meanwhile n2 leads and commits.")
    s.win(2, 3)
    s.exchange(2, 3)
    s.propose(2, "new")
    s.exchange(2, 3)
    s.flight.clear()
    s.say("n1 wakes, believes itself leader, and is asked for a read. Answers from before the pause confirm nothing.")
    s.read(1, 7)
    s.deliver(early)
    assert not s.nodes[1].reads
    s.deliver("1>*")
    s.deliver("2>1")
    assert s.nodes[1].reads == [(7, None)]
    assert s.role(1) == Role.FOLLOWER


def test_reads_share_a_round(script):
    s = script()
    s.elect(1)
    s.say("Reads that come after a round began wait for the next one.")
    s.read(1, 7)
    s.deliver("1>2")
    s.read(1, 8)
    s.deliver("2>1")
    assert s.nodes[1].reads == [(7, 1)]
    s.deliver("1>2")
    s.deliver("2>1")
    assert s.nodes[1].reads == [(7, 1), (8, 1)]


def test_read_does_not_wait_for_a_disk(script):
    s = script()
    s.elect(1)
    s.say("Both followers' disks are busy. They confirm the leadership all the same.")
    s.stall(2)
    s.stall(3)
    s.propose(1, "a")
    s.deliver()
    s.read(1, 7)
    s.deliver()
    assert s.nodes[1].reads == [(7, 1)]
    assert s.commands(1) == ""


def test_lost_round_is_repeated_by_the_heartbeat(script):
    s = script()
    s.elect(1)
    s.read(1, 7)
    s.drop("1>*")
    s.beat(1)
    s.deliver()
    assert s.nodes[1].reads == [(7, 1)]
