"""Snapshots: what a follower needs is compacted away, and everything that can come in between (paper 7)."""

from __future__ import annotations

from app.raft import Role


def behind(s, *commands):
    """n3 missed these commands, and n1 has compacted them away."""
    with s.quietly():
        s.timeout(1)
        s.deliver()
        s.beat(1)
        s.deliver()
        s.cut("3>*", "*>3")
        s.propose(1, *commands)
        s.deliver()
        s.beat(1)
        s.deliver()
        s.compact(1)
        s.heal()


def ask(s, leader=1, to=3):
    """The leader's next heartbeat finds out that this follower needs a snapshot: the first chunk is in flight."""
    s.beat(leader)
    s.flight = s.pick(f"{leader}>{to} Heartbeat")[-1:]
    s.deliver(f"{leader}>{to}")
    s.deliver(f"{to}>{leader}")


def test_snapshot(script):
    s = script()
    behind(s, "a", "b", "c", "d")
    ask(s)
    s.exchange(1, 3)
    s.propose(1, "e")
    s.exchange(1, 3)
    s.beat(1)
    s.exchange(1, 3)
    assert s.commands(3) == "a b c d e"


def test_snapshot_over_a_conflicting_suffix(script):
    s = script()
    s.say("n3 has a long suffix of term 1 that was never committed.")
    s.given(1, [1, 2, 2, 2])
    s.given(2, [1, 2, 2, 2])
    s.given(3, [1, 1, 1, 1, 1, 1, 1, 1], term=2)
    s.win(1, 2)
    s.exchange(1, 2)
    s.compact(1)
    ask(s)
    s.exchange(1, 3)
    s.show()
    assert s.terms(3) == []
    assert s.core(3).log.commit_index == 5


def test_snapshot_of_what_is_there_already_is_not_installed(script):
    s = script()
    behind(s, "a")
    ask(s)
    late = s.hold("1>3 InstallSnapshot")
    s.say("n3's chunk is delayed; the leader asks again, n3 installs, and goes on with newer entries.")
    s.beat_until(1, "1>3 InstallSnapshot")
    s.exchange(1, 3)
    s.propose(1, "b")
    s.exchange(1, 3)
    s.beat(1)
    s.exchange(1, 3)
    s.say("Now the old one comes: newer entries stand, and n3 says that it has all that.")
    s.deliver(late)
    s.exchange(1, 3)
    assert s.commands(3) == "a b"
    assert s.terms(3) == [1]


def test_snapshot_of_matching_entries_commits_them(script):
    s = script()
    s.elect(1)
    s.say("Entries are delayed on their way to n3 for so long that the leader compacts them, and sends a snapshot.")
    s.propose(1, "a", "b")
    entries = s.hold("1>3")
    s.exchange(1, 2)
    s.compact(1)
    s.beat(1)
    s.deliver("1>3 Heartbeat")
    s.deliver("3>1")
    s.say("They come before it. So there is nothing to install; but the snapshot says that they are committed.")
    s.deliver(entries)
    s.drop("3>1")
    s.deliver("1>3 InstallSnapshot")
    assert s.commands(3) == "a b"
    assert s.terms(3) == [1, 1, 1]


def test_chunk_of_a_deposed_leader_is_refused(script):
    s = script()
    behind(s, "a")
    ask(s)
    late = s.hold("1>3 InstallSnapshot")
    s.win(2, 3)
    s.deliver(late)
    s.deliver("3>1")
    assert s.role(1) == Role.FOLLOWER
    assert s.terms(3) == [1]


def test_lost_chunk_is_sent_again(script):
    s = script()
    behind(s, "a", "b", "c", "d")
    ask(s)
    s.drop("1>3 InstallSnapshot")
    s.say("The leader asks again after an election timeout.")
    s.beat_until(1, "1>3 InstallSnapshot")
    s.exchange(1, 3)
    assert s.commands(3) == "a b c d"


def test_doubled_answer_does_not_double_the_transfer(script):
    s = script()
    behind(s, *"abcdefgh")
    ask(s)
    s.deliver("1>3 InstallSnapshot")
    s.say("The answer to the first chunk comes three times. Only one stream of chunks goes on.")
    reply = s.hold("3>1 SnapshotReply")
    s.deliver(reply)
    s.deliver(reply)
    s.deliver(reply)
    s.exchange(1, 3)
    assert s.commands(3) == "a b c d e f g h"
    assert s.transcript().count("InstallSnapshot") == 4


def test_doubled_chunk_is_written_once(script):
    s = script()
    behind(s, "a", "b", "c")
    ask(s)
    first = s.hold("1>3 InstallSnapshot")
    s.deliver(first)
    s.deliver(first)
    s.exchange(1, 3)
    s.say("And once more when all is over.")
    s.deliver(first)
    assert s.commands(3) == "a b c"


def test_restart_in_mid_transfer(script):
    s = script()
    behind(s, "a", "b", "c", "d")
    ask(s)
    s.deliver("1>3 InstallSnapshot")
    s.deliver("3>1 SnapshotReply")
    s.say("What n3 had received dies with it. It says so, and the leader begins again.")
    s.crash(3)
    s.restart(3)
    s.beat_until(1, "1>3 InstallSnapshot")
    s.exchange(1, 3)
    assert s.commands(3) == "a b c d"


def test_new_leader_in_mid_transfer(script):
    s = script()
    behind(s, "a", "b", "c", "d")
    s.compact(2)
    ask(s)
    s.deliver("1>3 InstallSnapshot")
    s.say("n1 dies. n2 offers a snapshot of the same index, but its file is another one: n3 begins anew.")
    s.crash(1)
    s.win(2, 3)
    s.exchange(2, 3)
    s.beat(2)
    s.exchange(2, 3)
    assert s.commands(3) == "a b c d"


def test_log_compacted_past_the_snapshot_while_it_is_sent(script):
    s = script()
    behind(s, "a", "b", "c")
    ask(s)
    s.deliver("1>3 InstallSnapshot")
    s.deliver("3>1 SnapshotReply")
    s.say("Meanwhile the leader goes on, and compacts its log past that snapshot.")
    s.propose(1, "d", "e")
    s.exchange(1, 2)
    s.compact(1)
    s.say("n3 stands at the old snapshot, where the log no longer reaches: it needs another one.")
    s.exchange(1, 3)
    assert s.commands(3) == "a b c d e"


def test_compaction_behind_a_full_window(script):
    s = script(window=2, message_bytes=1)
    s.elect(1)
    s.say("All that was sent to n3 is lost, its window is full, and what it needs next is compacted away.")
    s.propose(1, "a", "b", "c", "d")
    s.drop("1>3")
    s.exchange(1, 2)
    s.compact(1)
    s.deliver()
    assert s.commands(3) == "a b c d"


def test_lost_last_word_of_a_transfer(script):
    s = script()
    behind(s, "a")
    ask(s)
    s.deliver("1>3 InstallSnapshot")
    s.say("n3 has installed the snapshot, and its answers are lost.")
    s.drop("3>1")
    s.beat_until(1, "1>3 InstallSnapshot")
    s.exchange(1, 3)
    s.propose(1, "b")
    s.exchange(1, 3)
    assert s.terms(3) == [1]


def test_silent_member_asks_for_no_snapshot(script):
    s = script()
    behind(s, "a")
    s.crash(3)
    s.say("n3 is dead. Nobody copies a state for it,")
    s.pass_time(60)
    s.flight.clear()
    s.crash(1)
    s.restart(1)
    s.win(1, 2)
    s.exchange(1, 2)
    s.compact(1)
    s.pass_time(60)
    assert s.role(1) == Role.LEADER
    s.nodes[1].files.clear()
    s.propose(1, "b")
    s.pass_time(60)
    s.compact(1)
    s.pass_time(60)
    assert not s.nodes[1].files
    s.say("until it is back.")
    s.restart(3)
    s.pass_time(120)
    s.show()
    assert s.commands(3) == "a b"


def test_crash_before_the_snapshot_is_in_force(script):
    s = script()
    behind(s, "a", "b", "c")
    ask(s)
    s.deliver("1>3 InstallSnapshot")
    s.deliver("3>1 SnapshotReply")
    s.say("n3's disk stalls at the last chunk, then n3 crashes: it has vouched for nothing.")
    s.stall(3)
    s.deliver("1>3 InstallSnapshot")
    assert not s.flight
    s.crash(3)
    s.restart(3)
    assert s.commands(3) == ""
    s.beat_until(1, "1>3 InstallSnapshot")
    s.exchange(1, 3)
    assert s.commands(3) == "a b c"
