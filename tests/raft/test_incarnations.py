"""Disks have names of their own: a wiped disk is a stranger under an old name, until it is admitted."""

from __future__ import annotations

import msgspec
import pytest

from app.raft import Role
from app.raft.messages import AppendEntries, RequestVote


def admitted(s, node):
    return s.core(1).log.committed_configuration.incarnation(node)


def silent_for_long(s, *others):
    """n1 leads, and hears these alone for an election timeout."""
    s.line(f"n1 hears nobody but {' '.join(f'n{node}' for node in others if node != 1)} for long")
    s.quiet += 1
    for _ in range(s.tuning.election_max_ticks // s.tuning.heartbeat_ticks + 1):
        s.beat(1)
        s.exchange(*{1, *others})
        s.flight.clear()
    s.quiet -= 1


def test_first_leader_names_the_disks(script):
    s = script(admitted=False)
    s.say("Behind its no-op a first leader writes which disk stands behind each name.")
    s.timeout(1)
    s.deliver()
    assert [admitted(s, node) for node in (1, 2, 3)] == [10, 20, 30]


def test_wiped_disk_does_not_vote(script):
    s = script(admitted=False)
    s.elect(1)
    s.propose(1, "a")
    s.cut("3>*", "*>3")
    s.deliver()
    s.say("n1 and n2 have committed an entry without n3. n2 loses its disk, n1 dies: n3 must not win with n2.")
    s.wipe(2)
    s.crash(1)
    s.heal()
    for _ in range(2):
        s.timeout(3)
        s.deliver()
    assert s.role(3) != Role.LEADER
    s.say("Nor may n2 itself lead anyone: it has met a log, and waits for it.")
    with pytest.raises(AssertionError, match="does not stand"):
        s.timeout(2)


def test_wiped_disks_found_no_cluster_beside_one_that_holds_the_log(script):
    s = script(admitted=False)
    s.elect(1)
    s.propose(1, "a")
    s.deliver()
    s.say("n2 and n3 lose their disks. n1 stands, and is refused: its configuration names the disks that are gone.")
    s.wipe(2)
    s.wipe(3)
    s.crash(1)
    s.restart(1)
    s.timeout(1)
    s.deliver()
    assert s.role(1) != Role.LEADER
    s.say("But now n2 and n3 know of a log, and wait for it, whatever they could agree on between the two of them.")
    for node in (2, 3):
        s.tick(node, 2 * s.tuning.election_max_ticks)
        assert s.role(node) == Role.FOLLOWER
        assert sum("stands for no election" in text for text in s.nodes[node].notes) == 1
    s.say("n3 starts once more, and has met nobody yet: it stands, and n2 refuses.")
    s.crash(3)
    s.restart(3)
    s.cut("1>3", "3>1")
    s.timeout(3)
    s.deliver()
    assert s.role(3) != Role.LEADER


def test_nodes_that_have_met_no_log_begin_one(script):
    s = script(admitted=False)
    s.crash(1)
    s.timeout(2)
    s.deliver()
    assert s.role(2) == Role.LEADER


def test_who_has_met_a_log_holds_it(script):
    s = script(admitted=False)
    s.say("n1 wins, its no-op is lost on the way, and after one heartbeat it is gone: the others must not wait for it.")
    s.win(1, 2, 3)
    s.drop("1>2")
    s.drop("1>3")
    s.beat(1)
    s.deliver("1>2")
    s.deliver("1>3")
    s.crash(1)
    s.pass_time(300, 2, 3)
    assert Role.LEADER in (s.role(2), s.role(3))


def test_wiped_disk_counts_once_it_is_admitted(script):
    s = script(admitted=False)
    s.elect(1)
    s.say("n3 starts on an empty disk while n2's disk is busy. Once the old one is silent it is given the log,")
    s.stall(2)
    s.wipe(3)
    s.pass_time(50)
    s.say("but its word does not commit.")
    s.propose(1, "a")
    s.exchange(1, 3)
    assert s.commands(1) == ""
    s.say("With n2 a majority of admitted disks commits, the new disk's admission as well.")
    s.deliver()
    s.unstall(2)
    s.deliver()
    assert admitted(s, 3) == s.nodes[3].disk.incarnation
    s.say("From now on n3 counts: n2 may go.")
    s.crash(2)
    s.propose(1, "b")
    s.deliver()
    assert s.commands(1) == "a b"


def test_wiped_disk_keeps_no_leader_alive(script):
    s = script(admitted=False)
    s.elect(1)
    s.stall(2)
    s.wipe(3)
    s.pass_time(50)
    s.say("n3 answers from a new disk that n2 did not live to confirm. No majority of admitted disks is left,")
    s.crash(2)
    s.read(1, 7)
    s.deliver()
    assert not s.nodes[1].reads
    s.say("so n1 may confirm no read, and gives up.")
    s.pass_time(60)
    assert s.role(1) != Role.LEADER


def test_no_two_leaders_by_an_admission_that_is_not_committed(script):
    s = script(nodes=5)
    s.elect(1)
    s.say("n3 cannot reach its leader n1 any more. It votes for n4 in term 2, then loses its disk and forgets.")
    silent_for_long(s, 2, 5)
    s.win(4, 3, 5)
    s.flight.clear()
    s.wipe(3)
    s.say("n1, still leader of term 1, takes the new disk in, and gives n2 the entry that would admit it.")
    s.beat(1)
    s.exchange(1, 2, 3)
    s.show(1, 2, 3, 4)
    s.say("n2 stands in term 2 as well. Were n3's new disk to count already, term 2 had two leaders.")
    s.crash(1)
    s.restart(1)
    s.tick(3, s.tuning.election_min_ticks)
    s.flight.clear()
    s.timeout(2)
    s.exchange(1, 2, 3)
    assert s.role(2) != Role.LEADER


def test_admission_does_not_wait_for_a_pause_in_the_load(script):
    s = script(admitted=False)
    s.elect(1)
    s.wipe(3)
    silent_for_long(s, 2)
    s.say("n3 is always a little late: each time it answers, n2 has committed more. It is admitted all the same.")
    s.beat(1)
    s.deliver("1>3 Heartbeat")
    s.deliver("3>1")
    for command in "abc":
        s.deliver("1>3")
        answers = s.hold("3>1")
        s.propose(1, command)
        s.exchange(1, 2)
        s.deliver(answers)
    s.settle(1)
    assert admitted(s, 3) == s.nodes[3].disk.incarnation


def test_late_word_of_the_old_disk(script):
    s = script(admitted=False)
    s.elect(1)
    s.stall(2)
    s.propose(1, "a")
    s.deliver("1>3")
    late = s.hold("3>1")
    s.say("n3 vouched for an entry, then lost its disk. Its last word arrives long after the new disk's first.")
    s.wipe(3)
    s.pass_time(50)
    s.deliver(late)
    assert s.core(1).log.commit_index == 3
    s.say("While the change of disk is under way neither counts. n2 must confirm it.")
    s.unstall(2)
    s.settle(1)
    assert s.commands(3) == "a"
    assert admitted(s, 3) == s.nodes[3].disk.incarnation
    assert s.core(1).log.last_index == 5


def test_late_word_of_a_disk_that_was_replaced(script):
    s = script(admitted=False)
    s.elect(1)
    s.propose(1, "a")
    s.deliver("1>3")
    late = s.hold("3>1")
    with s.quietly():
        s.wipe(3)
        s.pass_time(60)
    assert admitted(s, 3) == s.nodes[3].disk.incarnation
    s.say("n3's new disk is admitted. A last word of the old one must not bring it back into the configuration.")
    s.deliver(late)
    s.settle(1)
    assert s.core(1).log.configuration.incarnation(3) == s.nodes[3].disk.incarnation


def test_strangers_are_refused(script):
    s = script()
    s.elect(1)
    s.say("Another cluster, another group, another address, no member: none moves anything.")
    beat = AppendEntries(
        cluster=7, group=0, sender=2, to=1, term=9, prev_log_index=0, prev_log_term=0, leader_commit=0, round=0
    )
    vote = RequestVote(
        cluster=7, group=0, sender=2, to=1, term=9, last_log_index=9, last_log_term=9, incarnation=0, transfer=True
    )
    for message in (beat, vote):
        for wrong in ({"cluster": 8}, {"group": 1}, {"to": 3}, {"sender": 9}):
            stranger = msgspec.structs.replace(message, **wrong)
            s.event(1, f"n1 gets {type(message).__name__} with {wrong}", lambda core, m=stranger: core.step(m))
    assert s.core(1).strangers_refused == 8
    assert (s.role(1), s.core(1).term) == (Role.LEADER, 1)
