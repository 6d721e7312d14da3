"""Disks that stall, and disks that lose what they had not synced."""

from __future__ import annotations

from app.raft import Entry, Kind, Role
from app.raft.messages import AppendEntries, AppendReply


def test_stalled_disk_costs_the_leadership(script):
    s = script(stall_ticks=60)
    s.elect(1)
    s.say("n1's disk finishes nothing, though its heartbeats flow. The followers' disks commit without it,")
    s.stall(1)
    s.propose(1, "a")
    s.deliver()
    assert s.core(1).log.commit_index == 2
    s.say("but n1 applies only what its own disk holds, and gives up.")
    s.pass_time(60)
    assert (s.role(1), s.commands(1)) == (Role.LEADER, "")
    s.pass_time(40)
    s.show()
    assert s.role(1) != Role.LEADER
    assert Role.LEADER in (s.role(2), s.role(3))


def test_leader_counts_itself_only_when_its_disk_has_answered(script):
    s = script()
    s.elect(1)
    s.say("One follower's disk and the leader's memory are no majority.")
    s.stall(1)
    s.propose(1, "a")
    s.exchange(1, 2)
    assert s.core(1).log.commit_index == 1
    s.unstall(1)
    assert s.core(1).log.commit_index == 2


def test_stalled_followers_cost_no_election(script):
    s = script()
    s.elect(1)
    s.say("Both followers' disks are slow. Nothing commits meanwhile, but they answer heartbeats, and nobody stands.")
    s.stall(2)
    s.stall(3)
    s.propose(1, "a")
    s.pass_time(200)
    assert s.role(1) == Role.LEADER
    assert s.core(1).log.commit_index == 1
    s.unstall(2)
    s.deliver()
    assert s.commands(1) == "a"


def test_follower_vouches_for_nothing_that_a_crash_can_take(script):
    s = script()
    s.elect(1)
    s.stall(2)
    s.propose(1, "a")
    s.deliver("1>2")
    s.say("n2 holds the entry in memory, and says only what is durable.")
    s.beat(1)
    s.deliver("1>2 Heartbeat")
    s.deliver("2>1")
    assert s.core(1).log.commit_index == 1
    s.say("The crash takes the entry; the leader finds the gap and sends it again.")
    s.crash(2)
    s.restart(2)
    s.beat(1)
    s.exchange(1, 2)
    assert s.commands(1) == "a"


def test_answer_of_the_disk_to_an_entry_since_replaced(script):
    s = script(nodes=5)
    s.say("n3 is given 2/t2, then another leader's 2/t3, then 2/t2 again, while its disk writes nothing.")
    s.given(1, [1, 2], term=3)
    s.given(2, [1, 3], term=3)
    for node in (3, 4, 5):
        s.given(node, [1], term=3)
    s.stall(3)
    for leader in (1, 2):
        s.win(leader, 4, 5)
        s.beat(leader)
        s.exchange(leader, 3)
    s.crash(1)
    s.restart(1)
    s.win(1, 4, 5)
    with s.quietly(1, 3):
        s.exchange(1, 4, 5)
        s.beat(1)
        s.exchange(1, 3)
    s.say("Its disk has written the first 2/t2, and goes on to 2/t3. Neither is the one that the log means now.")
    s.persist(3, 2)
    s.persist(3, 2)
    assert s.nodes[3].state.index == 1
    s.unstall(3)
    assert s.nodes[3].state.index == s.core(3).log.commit_index > 1


def test_entry_that_replaces_a_durable_one_is_not_applied_before_it_is_durable(script):
    s = script()
    s.say("n3 holds 2/t1 durably. n1 replaces it by 2/t2, which is committed, while n3's disk writes nothing.")
    s.given(1, [1, 2])
    s.given(2, [1, 2])
    s.given(3, [1, 1], term=2)
    s.win(1, 2)
    s.exchange(1, 2)
    s.stall(3)
    s.beat(1)
    s.exchange(1, 3)
    assert s.nodes[3].state.index <= 1
    s.unstall(3)
    assert s.nodes[3].state.index == 2


def test_answer_waits_for_the_term_to_be_durable(script):
    s = script()
    s.elect(1)
    s.say("n3 learns of term 2 from its leader's heartbeat, and answers only once it cannot forget that term.")
    s.crash(1)
    s.restart(1)
    s.win(2, 1)
    s.stall(3)
    s.beat(2)
    s.deliver("2>3 Heartbeat")
    assert not any(envelope.fits("3>2") for envelope in s.flight)
    s.unstall(3)
    s.deliver("3>2")


def test_crash_of_all(script):
    s = script()
    s.elect(1)
    s.propose(1, "a")
    s.deliver()
    s.say("All crash. What was committed is on a majority's disks, and is committed again by the next leader's no-op.")
    for node in s.nodes:
        s.crash(node)
    for node in s.nodes:
        s.restart(node)
    s.elect(3)
    assert s.commands(3) == "a"


def test_nobody_vouches_for_what_a_later_leader_replaces_in_the_same_write(script):
    """Seed 1031 of the simulation: a process that was paused hears two leaders at once."""
    s = script()
    s.elect(1)
    s.propose(1, "a")
    s.deliver()
    s.say("n2 hears all at once: three more entries of n1, and then n3, which leads a later term without them.")
    core = s.core(2)
    term, last = core.term, core.log.last_index
    for sender, of_term, count in ((1, term, 3), (3, term + 2, 1)):
        entries = [Entry(last + n, of_term, Kind.COMMAND, b"%d" % of_term) for n in range(1, count + 1)]
        said = {"prev_log_index": last, "prev_log_term": term, "leader_commit": 0, "round": 0, "entries": entries}
        core.step(AppendEntries(cluster=core.cluster, group=core.group, sender=sender, to=2, term=of_term, **said))
    ready = core.ready()
    assert [(each.index, each.term) for each in ready.entries] == [(last + 1, term + 2)]
    replies = [each for each in ready.after if isinstance(each, AppendReply)]
    assert [(each.to, each.term, each.match_index) for each in replies] == [(3, term + 2, last + 1)]
    s.say("When its disk has written, it vouches for the one entry of n3, and to n3 alone.")
