"""Elections: who wins, who may not, and what a vote must survive (paper 5.2, 5.4.1; dissertation 9.6)."""

from __future__ import annotations

from app.raft import Role


def test_election(script):
    s = script()
    s.say("A timeout, a pre-vote, a vote, and the no-op that opens the term.")
    s.timeout(1)
    s.deliver()
    s.say("The next heartbeat tells the others what is committed.")
    s.beat(1)
    s.deliver()
    assert [s.role(node) for node in (1, 2, 3)] == [Role.LEADER, Role.FOLLOWER, Role.FOLLOWER]


def test_single_node(script):
    s = script(nodes=1)
    s.say("A majority of one leads at the first tick, and commits once its own disk has answered.")
    s.tick(1)
    s.stall(1)
    s.propose(1, "a")
    assert s.commands(1) == ""
    s.unstall(1)
    s.read(1, 7)
    assert s.commands(1) == "a"


def test_five_nodes(script):
    s = script(nodes=5)
    s.say("With two of five down the others elect a leader and commit.")
    s.crash(4)
    s.crash(5)
    s.elect(1)
    s.propose(1, "a")
    s.deliver()
    s.say("With three down nothing commits, and the leader notices that it leads nobody.")
    s.crash(3)
    s.propose(1, "b")
    s.deliver()
    s.pass_time(60, 1)
    assert s.role(1) != Role.LEADER
    assert s.commands(1) == "a"


def test_split_vote_resolves(script):
    s = script()
    s.say("n3 is down. n1 grants n2's pre-vote; its answer is slow, and n1's own timeout ends as well.")
    s.crash(3)
    s.timeout(2)
    s.deliver("2>1")
    slow = s.hold("1>2 PreVoteReply")
    s.timeout(1)
    s.deliver("1>2")
    s.deliver("2>1")
    s.deliver(slow)
    s.say("Each would be elected, and each votes for itself.")
    s.deliver()
    assert s.role(1) == s.role(2) == Role.CANDIDATE
    assert s.core(1).term == s.core(2).term == 1
    s.say("They do not wait out the timeout. The one whose random time ends first wins the next term.")
    s.pass_time(25, 1)
    s.deliver()
    assert s.role(1) == Role.LEADER
    assert s.core(1).term == 2


def test_who_grants_a_pre_vote_lets_the_asker_go_first(script):
    s = script()
    s.say("n3 is down. n1's timeout is about to end as well when it grants n2's pre-vote: now it holds back.")
    s.crash(3)
    s.timeout(2)
    before = s.core(1)._timeout_ticks - s.core(1)._elapsed_ticks
    s.core(1)._elapsed_ticks += before - 1
    s.deliver("2>1")
    s.tick(1, 9)
    assert s.role(1) == Role.FOLLOWER
    s.deliver()
    assert s.role(2) == Role.LEADER


def test_of_two_that_ask_at_once_one_steps_back(script):
    s = script()
    s.say("n3 is down, and the others ask for pre-votes in the same moment: the higher id goes on.")
    s.crash(3)
    s.timeout(1)
    s.timeout(2)
    s.deliver()
    assert s.role(2) == Role.LEADER
    assert s.core(2).term == 1


def test_a_rival_that_hears_nothing_holds_nobody_back_for_long(script):
    s = script()
    s.say("n3 is down. n2 can be heard and hears nothing: it asks again and again.")
    s.crash(3)
    s.cut("1>2")
    for _ in range(12):
        s.timeout(2)
        s.deliver()
        s.tick(1, 5)
    s.say("n1 let it go first once; then it stood itself, as often as its timeout ended.")
    assert s.role(1) == Role.PRE_CANDIDATE


def test_stale_vote_counts_for_nothing(script):
    s = script()
    s.say("n2's vote of term 1 is under way for so long that n1 stands again, in term 2.")
    s.crash(3)
    s.timeout(1)
    s.deliver("1>2")
    s.deliver("2>1")
    s.deliver("1>2")
    late = s.hold("2>1 VoteReply")
    s.timeout(1)
    s.deliver("1>2")
    s.deliver("2>1")
    s.drop("1>2")
    s.say("It arrives now, and twice.")
    s.deliver(late)
    s.deliver(late)
    assert s.role(1) == Role.CANDIDATE


def test_no_second_vote_after_a_restart(script):
    s = script()
    s.say("n1 and n3 both stand in term 1. n2 votes for n1.")
    s.timeout(1)
    s.timeout(3)
    s.deliver("1>2")
    s.deliver("3>2")
    s.deliver("2>*")
    s.deliver("1>2 RequestVote")
    request = s.hold("3>2 RequestVote")
    s.say("A restart does not make n2 forget.")
    s.crash(2)
    s.restart(2)
    s.deliver(request)
    s.deliver("2>3")
    assert s.role(3) == Role.CANDIDATE


def test_vote_is_durable_before_it_is_given(script):
    s = script()
    s.say("n2's disk stalls while it votes for n1: nobody may hear of that vote.")
    s.timeout(1)
    s.timeout(3)
    s.deliver("1>2")
    s.deliver("3>2")
    s.deliver("2>*")
    request = s.hold("3>2 RequestVote")
    s.stall(2)
    s.deliver("1>2 RequestVote")
    assert not any(envelope.fits("2>1") for envelope in s.flight)
    s.say("The crash takes the vote with it, so n2 is free to give its first one.")
    s.crash(2)
    s.restart(2)
    s.deliver(request)
    s.deliver("2>3")
    assert s.role(3) == Role.LEADER
    assert s.role(1) != Role.LEADER


def test_candidate_votes_for_itself_durably_before_it_asks(script):
    s = script()
    s.say("A candidate that forgot its term could stand in it again with a shorter log, and count old votes.")
    s.timeout(1)
    s.deliver("1>*")
    s.stall(1)
    s.deliver("2>1")
    assert not s.flight or not any(envelope.fits("1>*") for envelope in s.flight)
    s.unstall(1)
    s.deliver("1>2")
    s.deliver("2>1")
    assert s.role(1) == Role.LEADER


def test_patience_of_a_candidate_begins_when_its_requests_leave(script):
    s = script()
    s.say("n1's disk is slower than its timeout: its own vote is not durable, so nobody has been asked yet.")
    s.timeout(1)
    s.stall(1)
    s.deliver("1>2")
    s.deliver("2>1")
    s.tick(1, 2 * s.tuning.election_max_ticks)
    assert s.role(1) == Role.CANDIDATE
    s.say("When the disk goes on, the requests leave, and n1 waits for their answers as if nothing had been.")
    s.unstall(1)
    s.tick(1, s.tuning.election_min_ticks - 1)
    s.deliver("1>2 RequestVote")
    s.deliver("2>1")
    assert s.role(1) == Role.LEADER
    assert s.core(1).term == 1


def test_a_candidate_whose_disk_stalls_holds_nobody_back(script):
    s = script()
    s.timeout(1)
    s.stall(1)
    s.deliver("1>2")
    s.deliver("2>1")
    s.say("n1 waits for its disk. The others hear nothing of it, elect one of them, and n1 follows.")
    s.timeout(2)
    s.exchange(2, 3)
    assert s.role(2) == Role.LEADER
    s.unstall(1)
    s.deliver()
    assert [s.role(node) for node in (1, 2, 3)] == [Role.FOLLOWER, Role.LEADER, Role.FOLLOWER]


def test_log_behind_the_majority_gets_no_votes(script):
    s = script()
    s.say("n3 lacks what n1 and n2 hold. Its log ends in a lower term, though it is longer.")
    s.given(1, [1, 2])
    s.given(2, [1, 2])
    s.given(3, [1, 1, 1], term=2)
    s.timeout(3)
    s.deliver()
    assert s.role(3) == Role.FOLLOWER
    s.say("n2 can be elected, by n3 as well.")
    s.timeout(2)
    s.deliver()
    assert s.role(2) == Role.LEADER
    assert s.terms(3) == [1, 2, 3]


def test_long_log_and_high_term_apart(script):
    s = script()
    s.say("n1 has the longer log, n2 the higher term, n3 is down. n2 can never win; n1 must learn the term first.")
    s.crash(3)
    s.given(1, [1, 1])
    s.given(2, [1], term=3)
    s.timeout(2)
    s.deliver()
    s.timeout(1)
    s.deliver()
    s.say("The refusal told n1 the term.")
    s.timeout(1)
    s.deliver()
    assert s.role(1) == Role.LEADER
    assert s.core(1).term == 4


def test_voter_does_not_stand_against_its_own_choice(script):
    s = script()
    s.say("n2 is a pre-candidate when n1's request for a vote in its very term comes; n3's pre-vote comes after.")
    s.given(2, [], term=1)
    s.timeout(1)
    s.deliver("1>3")
    s.deliver("3>1")
    s.timeout(2)
    s.deliver("2>3")
    s.drop("1>2 PreVote")
    s.deliver("1>2 RequestVote")
    s.deliver("3>2 PreVoteReply")
    s.deliver("2>1 VoteReply")
    assert s.role(1) == Role.LEADER
    assert s.core(2).term == 1


def test_lost_stream_hurries_the_election(script):
    s = script()
    s.elect(1)
    s.say("The leader dies. Both followers see their streams close, and need not wait for the timeout.")
    s.crash(1)
    s.peer_lost(2, 1)
    s.peer_lost(3, 1)
    s.tick(2, s.tuning.heartbeat_ticks)
    s.deliver()
    assert s.role(2) == Role.LEADER


def test_stream_that_comes_back_ends_the_hurry(script):
    s = script()
    s.elect(1)
    s.say("Only the stream broke. The leader's next word gives n2 its patience back.")
    s.peer_lost(2, 1)
    s.beat(1)
    s.deliver("1>2")
    s.tick(2, s.tuning.election_min_ticks - 1)
    assert s.role(2) == Role.FOLLOWER
