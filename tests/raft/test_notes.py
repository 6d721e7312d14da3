"""What people who watch are told: a sentence for each thing that they would ask about."""

from __future__ import annotations

from app.raft import Entry, Kind
from app.raft.leader import DENIALS
from app.raft.messages import AppendEntries


def test_an_election_and_its_disks_are_told_of(script):
    s = script(admitted=False)
    s.elect(1)
    s.deliver()
    assert s.nodes[1].notes == [
        "has won term 1 with the votes of nodes 1, 2",
        "writes down whose disks count: new are those of nodes 1, 2",
        "writes down whose disks count: new are those of nodes 3",
    ]
    assert s.nodes[2].notes == ["votes for node 1 in term 1"]


def test_what_is_cut_is_told_of(script):
    s = script()
    s.given(1, [1, 1, 2], term=2)
    s.given(2, [1, 1, 3], term=3)
    s.given(3, [1, 1], term=3)
    s.elect(2)
    assert "cuts its entries 3 to 3, the last one of term 2: node 2 leads term 4" in s.nodes[1].notes[-1]


def test_silence_and_its_end_are_told_of_once(script):
    s = script()
    s.elect(1)
    s.cut("3>1")
    s.pass_time(100)
    s.heal()
    s.pass_time(20)
    told = [text for text in s.nodes[1].notes if "node 3" in text]
    assert told == ["node 3 does not answer", "node 3 answers again"]


def test_why_a_leader_gives_up_is_told(script):
    s = script()
    s.elect(1)
    s.cut("2>1", "3>1")
    s.tick(1, 100)
    assert s.nodes[1].notes[-1] == "gives up the leadership of term 1: no majority answers"


def test_a_disk_that_lost_what_it_vouched_for_is_told_of(script):
    s = script()
    s.elect(1)
    s.propose(1, "a", "b")
    s.deliver()
    s.given(3, s.terms(3)[:1])
    told = []
    for _ in range(2 * DENIALS):
        s.beat(1)
        s.deliver()
        told = [text for text in s.nodes[1].notes if "vouched" in text]
    assert len(told) == 1 and "node 3 has vouched for all entries up to 3, and has none after 1 now" in told[0]


def test_what_is_cut_behind_the_base_is_told_of_at_once(script):
    """Found by a review: a message that began before the base told nobody, and the next one did, of another leader."""
    s = script()
    s.elect(1)
    s.propose(1, "a")
    s.deliver()
    s.compact(3)
    core, log = s.core(3), s.core(3).log
    base, last = log.base_index, log.last_index
    log.append([Entry(last + 1, 1, Kind.NOOP, b"")])
    same = [Entry(index, log.term(index), Kind.COMMAND, b"") for index in range(base, last + 1)]
    core.step(
        AppendEntries(
            cluster=core.cluster, group=core.group, sender=2, to=3, term=2, prev_log_index=base - 1, prev_log_term=1,
            leader_commit=base, round=0, entries=[*same, Entry(last + 1, 2, Kind.NOOP, b"")],
        )
    )  # fmt: skip
    assert [f"cuts its entries {last + 1} to {last + 1}" in note.text for note in core.out.notes] == [True]
    assert log.cut is None
