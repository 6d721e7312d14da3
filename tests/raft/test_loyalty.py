"""Pre-vote, loyalty and check-quorum together: who is cut off disturbs nobody, and a leader nobody answers
steps down (dissertation 4.2.3, 6.2, 9.6)."""

from __future__ import annotations

from app.raft import Role


def test_follower_of_a_live_leader_refuses_to_listen(script):
    s = script()
    s.elect(1)
    s.say("n3 lost patience too early. Nobody answers it, and the next heartbeat brings it back.")
    s.timeout(3)
    s.deliver("3>*")
    s.beat(1)
    s.deliver("1>3")
    assert s.role(3) == Role.FOLLOWER
    assert s.core(3).term == 1


def test_returning_node_disturbs_nobody(script):
    s = script()
    s.elect(1)
    s.cut("3>*", "*>3")
    s.say("n3 is alone for a long time, and its term does not rise.")
    s.pass_time(200)
    s.propose(1, "a")
    s.deliver()
    s.say("When it is back the leader stays, in its term.")
    s.heal()
    s.pass_time(20)
    s.show()
    assert (s.role(1), s.core(1).term) == (Role.LEADER, 1)
    assert s.commands(3) == "a"


def test_node_stuck_in_a_higher_term_is_let_back_in(script):
    s = script()
    s.elect(1)
    s.say("n3 raised its term once, and nobody heard of it. It cannot follow a leader of term 1 any more.")
    s.given(3, [1], term=5, vote=3)
    s.say("Its refusal deposes the leader: the one way to lift the others to its term.")
    s.beat(1)
    s.deliver()
    assert s.role(1) == Role.FOLLOWER
    s.timeout(1)
    s.deliver()
    assert (s.role(1), s.core(3).term) == (Role.LEADER, 6)


def test_leader_that_sends_and_does_not_hear_steps_down(script):
    s = script()
    s.elect(1)
    s.say("n1's heartbeats flow, so the others stay loyal; but it hears nobody.")
    s.cut("*>1")
    s.pass_time(s.tuning.election_max_ticks)
    assert s.role(1) == Role.LEADER
    s.say("Then it gives up, and the others go on without it.")
    s.pass_time(60)
    s.show()
    assert s.role(1) != Role.LEADER
    assert Role.LEADER in (s.role(2), s.role(3))


def test_follower_that_hears_no_leader_and_is_heard(script):
    s = script()
    s.elect(1)
    s.say("Only the link from the leader to n2 is cut: n2 asks again and again, n1 and n3 stay loyal.")
    s.cut("1>2")
    s.pass_time(200)
    s.propose(1, "a")
    s.deliver("1>3")
    s.deliver("3>1")
    assert (s.role(1), s.core(1).term, s.commands(1)) == (Role.LEADER, 1, "a")
    s.heal()
    s.pass_time(10)
    assert s.commands(2) == "a"


def test_follower_that_hears_and_is_not_heard(script):
    s = script()
    s.elect(1)
    s.say("n2's answers are lost. n3's are enough.")
    s.cut("2>*")
    s.propose(1, "a")
    s.deliver()
    s.pass_time(100)
    s.show()
    assert (s.role(1), s.commands(2)) == (Role.LEADER, "a")


def test_new_leader_gets_time_to_be_answered(script):
    s = script()
    s.say("A leader that nobody has answered yet is not deposed by its first tick.")
    s.win(1, 2)
    s.tick(1)
    assert s.role(1) == Role.LEADER


def test_partition_of_five_leaves_one_leader(script):
    s = script(nodes=5)
    s.elect(1)
    s.say("n1 is cut off with n2. The majority elects another leader; the minority's one commits nothing.")
    s.cut("1>3", "1>4", "1>5", "2>3", "2>4", "2>5", "3>1", "4>1", "5>1", "3>2", "4>2", "5>2")
    s.propose(1, "lost")
    s.deliver()
    s.pass_time(100)
    (leader,) = [node for node in s.nodes if s.role(node) == Role.LEADER]
    s.propose(leader, "kept")
    s.deliver()
    s.say("After the partition the minority's entry is gone.")
    s.heal()
    s.pass_time(60)
    s.show()
    assert all(s.commands(node) == "kept" for node in s.nodes)
