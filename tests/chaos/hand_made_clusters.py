"""Hand-made histories of the list of topics and of what nodes say: see `hand_made` for how to read them."""

from __future__ import annotations

from tests.chaos.hand_made import HandMade

GOOD_TOPICS = [
    HandMade("created, found there, listed", (), """
        c0 create 0-1 a made
        c1 create 2-3 a there
        c0 list 4-5 a
    """),
    HandMade("concurrent creations: one made it", (), """
        c0 create 0-2 a there
        c1 create 1-3 a made
        c2 list 0-3
    """),
    HandMade("unknown creation that took effect late", (), """
        c0 create 0-1? a
        c1 list 2-3
        c1 list 4-5 a
    """),
    HandMade("unknown creation that never took effect", (), """
        c0 create 0-1? a
        c1 list 2-3
        c1 create 4-5 b made
        c1 list 6-7 b
    """),
    HandMade("unknown creation that another one found there", (), """
        c0 create 0-1? a
        c1 create 2-3 a there
    """),
    HandMade("unknown creation that came second", (), """
        c0 create 0-1? a
        c1 create 2-3 a made
        c1 list 4-5 a
    """),
    HandMade("concurrent lists, one sees more", (), """
        c0 create 0-9 a made
        c1 list 1-5 a
        c2 list 2-6
    """),
    HandMade("failed creation of a name that was there", (), """
        c0 create 0-1 a made
        c1 create 2-3x a
        c0 list 4-5 a
    """),
]  # fmt: skip

BAD_TOPICS = [
    HandMade("double create", ("double_create 1 2",), """
        c0 create 0-2 a made
        c1 create 1-3 a made
    """),
    HandMade("topic phantom: listed, made by nobody", ("topic_phantom 1",), """
        c0 list 0-1 a
    """),
    HandMade("topic phantom: found there, its creation surely failed", ("topic_phantom 2 1",), """
        c0 create 0-1x a
        c1 create 2-3 a there
    """),
    HandMade("topic phantom: listed before its making began", ("topic_phantom 1 2",), """
        c0 list 0-1 a
        c1 create 2-3 a made
    """),
    HandMade("topic phantom: found there before its making began", ("topic_phantom 1 2",), """
        c0 create 0-1 a there
        c1 create 2-3 a made
    """),
    HandMade("topic stale: lacks what was made before", ("topic_stale 1 2",), """
        c0 create 0-1 a made
        c1 list 2-3
    """),
    HandMade("topic stale: lacks what was found there before", ("topic_stale 2 3",), """
        c0 create 0-1? a
        c1 create 2-3 a there
        c2 list 4-5
    """),
    HandMade("topic stale: lacks what an earlier list showed", ("topic_stale 2 3",), """
        c0 create 0-1? a
        c1 list 2-3 a
        c2 list 4-5
    """),
    HandMade("topic order: listed the other way round than made", ("topic_order 1 2",), """
        c0 create 0-1 a made
        c0 create 2-3 b made
        c1 list 4-5 b a
    """),
    HandMade("topic order: two lists that do not continue one another", ("topic_order 4 3",), """
        c0 create 0-9 a made
        c1 create 0-9 b made
        c0 list 0-9 a
        c1 list 0-9 b
    """),
    HandMade("topic order: a name twice", ("topic_order 2",), """
        c0 create 0-1 a made
        c0 list 2-3 a a
    """),
]  # fmt: skip

GOOD_NODES = [
    HandMade("three nodes at one", (), """
        n0 status 1 Follower term=1 index=4 hash=aa
        n1 status 1 Leader   term=1 index=4 hash=aa
        n1 status 2 Leader   term=1 index=5 hash=bb
        n2 status 3 Leader   term=2 index=4 hash=aa
        n0 log    9 first=1 1:aa 1:bb 2:cc
        n1 log    9 first=2 1:bb 2:cc
        n2 log    9 first=1 1:aa
        n2 log    9 first=2 1:bb 2:cc
        n0 final  9 index=9 hash=ff
        n1 final  9 index=9 hash=ff
        n2 final  9 index=9 hash=ff
    """),
    HandMade("states of two indices, and as much applied", (), """
        n0 status 1 Leader   term=1 index=4 applied=6 hash=aa
        n1 status 1 Follower term=1 index=5 applied=6 hash=bb
    """),
    HandMade("a candidate of the leader's term, and a former leader", (), """
        n0 status 1 Leader    term=1 index=4 hash=aa
        n1 status 1 Candidate term=1 index=4 hash=aa
        n1 status 2 Leader    term=2 index=4 hash=aa
        n0 status 3 Leader    term=1 index=4 hash=aa
    """),
]  # fmt: skip

BAD_NODES = [
    HandMade("two leaders of one term, at different times", ("two_leaders 1 3",), """
        n0 status 1 Leader   term=3 index=4 hash=aa
        n1 status 1 Follower term=3 index=4 hash=aa
        n1 status 9 Leader   term=3 index=4 hash=aa
    """),
    HandMade("state differs on the way", ("state_differs 1 3",), """
        n0 status 1 Leader   term=1 index=4 hash=aa
        n1 status 1 Follower term=1 index=3 hash=bb
        n1 status 2 Follower term=1 index=4 hash=cc
    """),
    HandMade("state differs from what the node itself had", ("state_differs 1 2",), """
        n0 status 1 Leader term=1 index=4 hash=aa
        n0 status 2 Leader term=1 index=4 hash=bb
    """),
    HandMade("state differs at the end", ("state_differs 1 2",), """
        n0 final 9 index=9 hash=aa
        n1 final 9 index=9 hash=bb
    """),
    HandMade("one node is behind at the end", ("state_differs 2 1",), """
        n0 final 9 index=9 hash=aa
        n1 final 9 index=8 hash=bb
    """),
    HandMade("log differs: another entry", ("log_differs 1 2",), """
        n0 log 9 first=1 1:aa 1:bb
        n1 log 9 first=2 1:cc
    """),
    HandMade("log differs: the same entry of another term", ("log_differs 1 2",), """
        n0 log 9 first=1 1:aa 2:bb
        n1 log 9 first=1 1:aa 3:bb
    """),
    HandMade("log order: the term falls", ("log_order 1",), """
        n0 log 9 first=5 2:aa 1:bb
    """),
]  # fmt: skip
