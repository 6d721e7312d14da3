"""Hand-made histories of topics whose messages are leased that no right queue gives: see `hand_made`."""

from __future__ import annotations

from tests.chaos.hand_made import HandMade

BAD_LEASES = [
    HandMade("early: the lease was not over", ("early 2 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=3
        c1 receive 4-4.8 a=1#2 lease=3
    """),
    HandMade("early: the lease had been extended", ("early 3 4",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 extend  3-4 a#1 lease=2
        c1 receive 4-4.5 a=1#2 lease=2
    """),
    HandMade("early: extended twice, and the longer was the last", ("early 4 5",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 extend  3-4 a#1 lease=1
        c0 extend  4.1-5 a#1 lease=4
        c1 receive 6-7 a=1#2 lease=2
    """),
    HandMade("early: given back only later", ("early 3 4",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 nack    6-7 a#1
        c1 receive 4.5-5 a=1#2 lease=2
    """),
    HandMade("early: the lease of two deliveries ago", ("early 2 4",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=9
        c1 receive 2-3? max=1 lease=2
        c1 receive 6-7 a=1#3 lease=2
    """),
    HandMade("early: told that the lease is lost", ("early 2 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=3
        c0 ack     4-4.5 a#1:lost
    """),
    HandMade("early: told that the lease is lost, and then it was not", ("early 4 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=5
        c0 extend  4-5 a#1:lost lease=3
        c0 ack     6-7 a#1
    """),
    HandMade("early: an ack refused, and then not", ("early 4 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 ack     4-5 a#1:lost
        c0 ack     6-7 a#1
    """),
    HandMade("early: a dead letter while it was leased", ("early 3 4",), """
        t  topic   0 most=1 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=9
        c1 receive/u 4-5 a=1#1 lease=9
    """),
    HandMade("undelayed: published for later", ("undelayed 1 2",), """
        p0 publish 0-1 a=1 delay=3
        c0 receive 2-2.5 a=1#1 lease=2
    """),
    HandMade("undelayed: given back for later", ("undelayed 3 4",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 nack    3-4 a#1 delay=5
        c1 receive 5-6 a=1#2 lease=2
    """),
    HandMade("phantom: handed out before its publish began", ("phantom 1 2",), """
        p0 publish 2-3 a=1
        c0 receive 0-1 a=1#1 lease=2
    """),
    HandMade("phantom: nobody published it, on a lease", ("phantom 1",), """
        c0 receive 0-1 a=1#1 lease=2
        c0 ack     2-3 a#1
    """),
    HandMade("phantom: a dead letter of a topic that sends none", ("phantom 2",), """
        p0 publish/v 0-1 a=1
        c0 receive/u 2-3 a=1#1 lease=2
    """),
    HandMade("recount: one delivery twice", ("recount 2 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c1 receive 4-5 a=1#01 lease=1
    """),
    HandMade("recount: one token twice", ("recount 2 3", "recount 2 3"), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c1 receive 4-5 a=1#1 lease=1
    """),
    HandMade("recount: the second was over before the first began", ("recount 3 2",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#2 lease=1
        c1 receive 4-5 a=1#1 lease=1
        c2 receive 1-2? max=1 lease=1
    """),
    HandMade("after ack: handed out again", ("after_ack 3 4",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 ack     3-4 a#1
        c1 receive 6-7 a=1#2 lease=2
    """),
    HandMade("after ack: handed out again before the ack was asked for", ("after_ack 4 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c1 receive 5-6 a=1#2 lease=2
        c0 ack     7-8 a#1
    """),
    HandMade("after ack: a dead letter", ("after_ack 4 5",), """
        t  topic   0 most=1 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 ack     3-4 a#1
        c1 receive/u 6-7 a=1#1 lease=2
    """),
    HandMade("double ack", ("double_ack 4 5",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c1 receive 4-5 a=1#2 lease=2
        c0 ack     5-6 a#1
        c1 ack     5-6 a#2
    """),
    HandMade("double end", ("double_end 3 4",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 ack     3-4 a#1
        c0 nack    3-4 a#1
    """),
    HandMade("stale token: extended after its ack", ("stale_token 3 4",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=9
        c0 ack     3-4 a#1
        c0 extend  5-6 a#1 lease=2
    """),
    HandMade("overrun: handed out too often", ("overrun 4",), """
        t  topic   0 most=1 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 receive 4-5 a=1#2 lease=1
    """),
    HandMade("skipped: a delivery that nobody got", ("skipped 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 receive 6-7 a=1#3 lease=1
        c1 receive 8-9? max=5 lease=1
    """),
    HandMade("skipped: more than the unknown receive asked for", ("skipped 3",), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-3? max=1 lease=1
        c0 receive 6-7 a=1#2 b=2#2 lease=1
    """),
    HandMade("skipped: who tried again was told all that he asked for", ("skipped 3",), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-4 b=2#1 max=1 lease=9 tries=2
        c1 receive 5-6 a=1#2 lease=9
    """),
    HandMade("skipped: he tried once", ("skipped 3",), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-4 b=2#1 max=2 lease=9 tries=1
        c1 receive 5-6 a=1#2 lease=9
    """),
    HandMade("unworn: a dead letter too soon", ("unworn 4",), """
        t  topic   0 most=2 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c1 receive/u 6-7 a=1#1 lease=2
    """),
    HandMade("duplicate: a second dead letter", ("duplicate 2 5",), """
        t  topic   0 most=1 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c1 receive/u 6-7 a=1#1 lease=2
        c1 receive/u 9-9 a=2#2 lease=2
    """),
    HandMade("duplicate: under another sequence, on a lease", ("duplicate 1 2",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=2#1 lease=2
    """),
    HandMade("lost: never handed out", ("lost 1 2",), """
        p0 publish 0-1 a=1
        c0 count   2-3 left=0
    """),
    HandMade("lost: handed out, never acked", ("lost 1 4",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 ack     5-6 a#1:lost
        c0 count   7-8 left=0
    """),
    HandMade("lost: an unknown receive only leases", ("lost 1 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3? max=1 lease=2
        c0 count   7-8 left=0
    """),
    HandMade("lost: a failed ack", ("lost 1 4",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 ack     3-4x a#1
        c0 count   7-8 left=0
    """),
    HandMade("lost: a dead letter that never came", ("lost 2 5",), """
        t  topic   0 most=1 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 count   6-7 left=0
        c0 count/u 8-9 left=0
    """),
    HandMade("lost: not worn out, so no dead letter", ("lost 2 4",), """
        t  topic   0 most=2 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 count   6-7 left=0
    """),
    HandMade("lost: of a dead letter", ("lost 2 6",), """
        t  topic   0 most=1 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c1 receive/u 6-7 a=1#1 lease=2
        c0 count   7-8 left=1
        c0 count/u 8-9 left=0
    """),
    HandMade("lost: of an unknown publish that surely came", ("lost 1 3",), """
        p0 publish 0-1? a
        c0 receive 2-3 a=1#1 lease=1
        c0 count   6-7 left=0
    """),
    HandMade("torn: half of an unknown publish, on a lease", ("torn 1 4",), """
        p0 publish 0-1? a b
        c0 receive 2-3 a=1#1 lease=9
        c0 ack     4-5 a#1
        c0 count   6-7 left=0
    """),
    HandMade("torn: a publish that does not stand together", ("torn 1",), """
        p0 publish 0-9 a=1 b=3
        p1 publish 0-9 c=2
        c0 receive 10-11 a=1#1 c=2#1 b=3#1 lease=9
    """),
    HandMade("publisher order", ("publisher_order 1 2",), """
        p0 publish 0-1 a=2
        p0 publish 2-3 b=1
        c0 receive 4-5 b=1#1 lease=9
    """),
    HandMade("same sequence", ("same_sequence 1 2",), """
        p0 publish 0-1 a=1
        p1 publish 0-1 b=1
        c0 receive 4-5 b=1#1 lease=9
        c0 receive 4-5 a=1#1 lease=9
    """),
    HandMade("stale read: nothing left, and then there was", ("stale_read 2 1 3",), """
        p0 publish 0-1 a=1
        c0 count   2-3 left=0
        c0 receive 4-5 a=1#1 lease=2
        c0 ack     5-6 a#1
    """),
    HandMade("stale read: nothing waits, while something did", ("stale_read 2 1 3",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 empty lease=2
        c0 receive 4-5 a=1#1 lease=2
    """),
    HandMade("reordered: the second was first", ("reordered 2 3",), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-3 b=2#1 lease=9
        c1 receive 4-5 a=1#1 lease=9
    """),
    HandMade("reordered: the second was first, and gone before", ("reordered 2 3",), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-3 b=2#2 lease=9
        c1 receive 4-5 a=1#1 lease=9
        c2 receive 1-2? max=1 lease=1
    """),
    HandMade("reordered: within one answer", ("reordered 2",), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-3 b=2#1 a=1#1 lease=9
    """),
    HandMade("overtaken: the first of the group was leased", ("overtaken 3 1 2",), """
        p0 publish 0-1 a=1 b=2 group=g
        c0 receive 2-3 a=1#1 lease=9
        c1 receive 4-5 b=2#1 lease=9
        c0 ack     6-7 a#1
        c1 ack     8-9 b#1
    """),
    HandMade("overtaken: the first of the group was handed out later", ("overtaken 2 1 3",), """
        p0 publish 0-1 a=1 b=2 group=g
        c0 receive 2-3 b=2#1 lease=9
        c1 receive 4-5 a=1#1 lease=9
    """),
    HandMade("overtaken: the first of the group was given back", ("overtaken 4 1 5",), """
        p0 publish 0-1 a=1 b=2 group=g
        c0 receive 2-3 a=1#1 lease=9
        c0 nack    4-5 a#1 delay=5
        c1 receive 6-7 b=2#1 lease=9
        c1 receive 9-10 a=1#2 lease=9
        c1 ack     11-12 a#2
    """),
    HandMade("overtaken: both of a group in one answer", ("overtaken 2 1 2",), """
        p0 publish 0-1 a=1 b=2 group=g
        c0 receive 2-3 a=1#1 b=2#1 lease=9
        c0 ack     4-5 a#1
    """),
    HandMade("misfit: of another group", ("misfit 1 2",), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=9 group=g
    """),
    HandMade("misfit: a message without a token", ("misfit 2",), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-3 a=1#1 b=2 lease=9
    """),
]  # fmt: skip
