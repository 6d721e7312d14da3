"""Hand-made histories of queues, good ones and bad ones: see `hand_made` for how to read them."""

from __future__ import annotations

from tests.chaos.hand_made import HandMade

GOOD = [
    HandMade("one after another", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1
        c0 receive 4-5 empty
    """),
    HandMade("nothing at all, seen empty", (), """
        c0 receive 0-1 empty
        c0 receive 0-1 empty
    """),
    HandMade("received before the publish was answered", (), """
        c0 receive 1-2 a=1
        p0 publish 0-3 a=1
    """),
    HandMade("ends touch starts: concurrent", (), """
        p0 publish 1-2 a=1
        c0 receive 0-1 a=1
        c1 receive 0-1 empty
    """),
    HandMade("concurrent publishes in either order", (), """
        p0 publish 0-5 a=2
        p1 publish 0-5 b=1
        c0 receive 6-7 b=1
        c0 receive 8-9 a=2
    """),
    HandMade("concurrent receives in either order", (), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-5 b=2
        c1 receive 2-5 a=1
        c0 receive 6-7 empty
    """),
    HandMade("sequences with gaps", (), """
        p0 publish 0-1 a=7
        p0 publish 2-3 b=900
        c0 receive 4-5 a=7 b=900
    """),
    HandMade("unknown publish that never took effect", (), """
        p0 publish 0-1? a
        c0 receive 2-3 empty
    """),
    HandMade("unknown publish that took effect at once", (), """
        p0 publish 0-5? a
        c0 receive 1-2 a=1
    """),
    HandMade("unknown publish that took effect long after its client gave up", (), """
        p0 publish 0-1? a
        p1 publish 2-3 b=1
        c0 receive 4-5 b=1
        c0 receive 6-7 empty
        c0 receive 8-9 a=2
    """),
    HandMade("failed publish that nobody saw", (), """
        p0 publish 0-1x a
        c0 receive 2-3 empty
    """),
    HandMade("failed receive took nothing", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3x max=1
        c0 receive 4-5 a=1
    """),
    HandMade("unknown receive that explains a missing message", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3? max=1
        c0 receive 4-5 empty
    """),
    HandMade("unknown receive that took its message after its client gave up", (), """
        c0 receive 0-1? max=1
        p0 publish 2-3 a=1
        p0 publish 4-5 b=2
        c1 receive 6-7 b=2
    """),
    HandMade("unknown receive that took two of three", (), """
        p0 publish 0-1 a=1 b=2 c=3
        c0 receive 2-3? max=5
        c1 receive 4-5 c=3
        c1 receive 6-7 empty
    """),
    HandMade("two unknown receives, two missing messages", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3? max=1
        p0 publish 4-5 b=2
        c1 receive 6-7? max=1
        c2 receive 8-9 empty
    """),
    HandMade("empty answer just between two messages", (), """
        p0 publish 0-10 a=1
        p0 publish 10-20 b=2
        c0 receive 0-11 a=1
        c1 receive 11-12 empty
        c0 receive 12-20 b=2
    """),
    HandMade("two topics know nothing of each other", (), """
        p0 publish/t 0-1 a=1
        p0 publish/u 0-1 b=1
        c0 receive/u 2-3 b=1
        c0 receive/u 4-5 empty
        c0 receive/t 4-5 a=1
    """),
    HandMade("messages of an unknown publish that were received one by one", (), """
        p0 publish 0-1? a b c
        c0 receive 2-3 a=4
        c0 receive 4-5 b=5
        c0 receive 6-7 c=6
        c0 receive 8-9 empty
    """),
    HandMade("a message of an unknown publish that an unknown receive took", (), """
        p0 publish 0-1? a b
        c0 receive 2-3? max=1
        c1 receive 4-5 b=9
        c1 receive 6-7 empty
    """),
]  # fmt: skip

BAD = [
    HandMade("lost: acknowledged, and the queue was empty later", ("lost 1 2",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 empty
    """),
    HandMade("lost: acknowledged, and one behind it was received", ("lost 1 3",), """
        p0 publish 0-1 a=1
        p0 publish 2-3 b=2
        c0 receive 4-5 b=2
    """),
    HandMade("lost: the unknown receive began too late to have taken it", ("lost 1 3",), """
        p0 publish 0-1 a=1
        p0 publish 2-3 b=2
        c0 receive 4-5 b=2
        c1 receive 6-7? max=1
        c0 receive 8-9 empty
    """),
    HandMade("lost: fewer unknown receives than missing messages", ("lost 3 5",), """
        p0 publish 0-1 a=1
        p0 publish 2-3 b=2
        p0 publish 4-5 c=3
        c0 receive 6-7? max=2
        c1 receive 8-9 empty
    """),
    HandMade("lost: the first of two missing, where the only unknown receive came between", ("lost 1 3",), """
        p0 publish 0-1 a=1
        p0 publish 2-3 b=2
        c0 receive 4-5 b=2
        c0 receive 6-7? max=1
        p0 publish 8-9 c=3
        c0 receive 10-11 empty
    """),
    HandMade("lost: seen empty by two, and the unknown receive began after the first was answered", ("lost 1 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-20 empty
        c1 receive 3-4 empty
        c2 receive 6-7? max=1
    """),
    HandMade("lost: a failed receive takes nothing", ("lost 1 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3x max=1
        c0 receive 4-5 empty
    """),
    HandMade("lost: on one topic, received on none", ("lost 1 4",), """
        p0 publish/t 0-1 a=1
        p0 publish/u 0-1 b=1
        c0 receive/u 2-3 b=1
        c0 receive/t 2-3 empty
    """),
    HandMade("phantom: nobody published it", ("phantom 1",), """
        c0 receive 0-1 a=1
    """),
    HandMade("phantom: its publish surely failed", ("phantom 1 2",), """
        p0 publish 0-1x a
        c0 receive 2-3 a=1
    """),
    HandMade("phantom: received before its publish began", ("phantom 1 2",), """
        c0 receive 0-1 a=1
        p0 publish 2-3 a=1
    """),
    HandMade("phantom: an unknown publish has no effect before its start either", ("phantom 1 2",), """
        c0 receive 0-1 a=1
        p0 publish 2-3? a
    """),
    HandMade("phantom: between two true messages in one answer", ("phantom 2",), """
        p0 publish 0-1 a=1 b=3
        c0 receive 2-3 a=1 x=2 b=3
    """),
    HandMade("phantom: published to another topic", ("phantom 2",), """
        p0 publish/t 0-1 a=1
        c0 receive/u 2-3 a=1
    """),
    HandMade("duplicate: received twice", ("duplicate 2 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1
        c1 receive 4-5 a=1
    """),
    HandMade("duplicate: received twice in one answer", ("duplicate 2 2",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1 a=2
    """),
    HandMade("duplicate: a retry stored it again, and both were received", ("duplicate 2 2",), """
        p0 publish 0-1? a
        c0 receive 2-3 a=1 a=2
        c0 receive 4-5 empty
    """),
    HandMade("duplicate: acknowledged under one sequence, received under another", ("duplicate 1 2",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=2
    """),
    HandMade("same sequence: two messages with one place", ("same_sequence 1 2",), """
        p0 publish 0-1 a=1
        p1 publish 0-1 b=1
    """),
    HandMade("publisher order: the second stands before the first", ("publisher_order 1 2",), """
        p0 publish 0-1 a=2
        p0 publish 2-3 b=1
    """),
    HandMade("reordered: published later, stands before", ("reordered 1 2",), """
        p0 publish 0-1 a=2
        p1 publish 2-3 b=1
    """),
    HandMade("reordered: received the other way round", ("reordered 3 4",), """
        p0 publish 0-1 a=1
        p0 publish 2-3 b=2
        c0 receive 4-5 b=2
        c1 receive 6-7 a=1
    """),
    HandMade("reordered: stands in front of what was received before its publish began", ("reordered 2 3",), """
        p0 publish 0-9 b=2
        c0 receive 2-3 b=2
        p1 publish 4-5? a
        c0 receive 6-7 a=1
    """),
    HandMade("torn: one publish out of order", ("torn 1",), """
        p0 publish 0-1 a=2 b=1
    """),
    HandMade("torn: another message between those of one publish", ("torn 1",), """
        p0 publish 0-9 a=1 b=3
        p1 publish 0-9 c=2
    """),
    HandMade("torn: three of one publish, the last two the other way round", ("torn 1",), """
        p0 publish 0-1 a=1 b=3 c=2
    """),
    HandMade("torn: two publishes exchanged their second messages", ("torn 1", "torn 2"), """
        p0 publish 0-9 a=1 b=4
        p1 publish 0-9 c=3 d=2
    """),
    HandMade("torn: a receive that skipped one", ("torn 4",), """
        p0 publish 0-1 a=1
        p0 publish 2-3 b=2
        p0 publish 4-5 c=3
        c0 receive 6-9 a=1 c=3
        c1 receive 6-9 b=2
    """),
    HandMade("torn: a receive that gave them out the other way round", ("torn 2",), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-3 b=2 a=1
    """),
    HandMade("torn: half of an unknown publish", ("torn 1 3",), """
        p0 publish 0-1? a b
        c0 receive 2-3 a=1
        c0 receive 4-5 empty
    """),
    HandMade("torn: the second half of an unknown publish", ("torn 1 2",), """
        p0 publish 0-1? a b
        c0 receive 2-3 b=2
    """),
    HandMade("stale read: empty while a message waited", ("stale_read 2 1 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 empty
        c0 receive 4-5 a=1
    """),
    HandMade("stale read: empty while the second of two waited", ("stale_read 4 2 5",), """
        p0 publish 0-1 a=1
        p0 publish 2-3 b=2
        c0 receive 4-5 a=1
        c1 receive 3.5-4.5 empty
        c0 receive 6-7 b=2
    """),
    HandMade("stale read: no moment between two messages in turn", ("stale_read 5 1 2",), """
        p0 publish 0-1 a=1
        c0 receive 6-7 a=1
        p0 publish 2-5 b=2
        c0 receive 9-9 b=2
        c1 receive 4-8 empty
    """),
    HandMade("stale read: half received of what was published at once, and empty between", ("stale_read 3 1 4",), """
        p0 publish 0-9 a=1 b=2
        c0 receive 1-2 a=1
        c1 receive 3-4 empty
        c0 receive 5-6 b=2
    """),
    HandMade("stale read: the one that waited went together with one that came later", ("stale_read 3 1 4",), """
        p0 publish 0-1 a=1
        p0 publish 8-9 b=2
        c0 receive 6-7 empty
        c1 receive 5-20 a=1 b=2
    """),
    HandMade("misfit: more messages than were asked for", ("misfit 2",), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-3 a=1 b=2 max=1
    """),
    HandMade("misfit: a publish answered with too few sequences", ("misfit 1",), """
        p0 publish 0-1 a=1 b
        c0 receive 2-3 a=1 b=2
    """),
    HandMade("misfit: a message without its sequence", ("misfit 2",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a
        c0 receive 4-5 empty
    """),
]  # fmt: skip
