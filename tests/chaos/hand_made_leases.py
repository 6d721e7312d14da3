"""Good hand-made histories of topics whose messages are leased: see `hand_made` for how to read them."""

from __future__ import annotations

from tests.chaos.hand_made import HandMade

GOOD_LEASES = [
    HandMade("what is settled when a receive is tried again is left out", (), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-9 b=2#1 max=2 lease=1 tries=2
        c1 receive 5-6 a=1#2 max=1 lease=9
        c1 ack     7-8 a#2
        c0 ack     9-9.5 b#1
    """),
    HandMade("a dead letter of which the last one was told nothing, who tried again", (), """
        t  topic   0 most=1 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-9 empty max=1 lease=1 tries=2
        c1 receive/u 6-7 a=1#1 lease=2
    """),
    HandMade("who is told nothing when he tries again knows of nobody who waits", (), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-9 empty max=1 lease=1 tries=3
        c1 receive 5-6 a=1#2 max=1 lease=9
        c1 ack     7-8 a#2
        c1 receive 10-11 b=2#1 lease=9
    """),
    HandMade("leased, acked, nothing left", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 ack     4-5 a#1
        c0 count   6-7 left=0
    """),
    HandMade("handed out again once the lease can be over", (), """
        p0 publish 0-1 a=1
        c0 receive 2-4 a=1#1 lease=3
        c1 receive 4-5 a=1#2 lease=3
        c1 ack     6-7 a#2
    """),
    HandMade("clocks may differ a little", (), """
        p0 publish 0-1 a=1 delay=2
        c0 receive 1.9-1.95 a=1#1 lease=2
        c1 receive 3-3.85 a=1#2 lease=2
        c1 nack    5-6 a#2 delay=2
        c1 receive 6.5-6.95 a=1#3 lease=2
    """),
    HandMade("given back, and handed out again before the nack was answered", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=60
        c0 nack    4-9 a#1
        c1 receive 4-5 a=1#2 lease=60
        c1 ack     6-7 a#2
    """),
    HandMade("unknown nack that took effect", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=60
        c0 nack    4-5? a#1
        c1 receive 8-9 a=1#2 lease=60
    """),
    HandMade("unknown nack with a delay, and the lease ran out first", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=3
        c0 nack    4-5? a#1 delay=60
        c1 receive 5-6 a=1#2 lease=3
    """),
    HandMade("unknown ack that took no effect", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=3
        c0 ack     4-5? a#1
        c1 receive 6-7 a=1#2 lease=3
        c1 ack     8-9 a#2
    """),
    HandMade("unknown ack that took effect late", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=60
        c0 ack     4-5? a#1
        c1 count   6-7 left=1
        c1 count   8-9 left=0
    """),
    HandMade("an extend that was shorter", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=60
        c0 extend  4-5 a#1 lease=1
        c1 receive 4.5-5 a=1#2 lease=60
    """),
    HandMade("an unknown extend that was shorter", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=60
        c0 extend  4-5? a#1 lease=1
        c1 receive 4.5-5 a=1#2 lease=60
    """),
    HandMade("two extends at once: the shorter may have been the last", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 extend  3-6 a#1 lease=60
        c0 extend  3-6 a#1 lease=1
        c1 receive 4-5 a=1#2 lease=60
    """),
    HandMade("told that the lease is lost, when it may have been over", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 ack     3-4 a#1:lost
        c1 receive 4-5 a=1#2 lease=2
        c0 nack    6-7 a#1:lost
    """),
    HandMade("the lease ran out, and an ack came before anybody else did", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 extend  4-5 a#1:lost lease=3
        c0 nack    5-6 a#1:lost
        c0 ack     6-7 a#1
        c0 count   8-9 left=0
    """),
    HandMade("lost after an ack that nobody was answered", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=60
        c0 ack     3-4? a#1
        c0 extend  5-6 a#1:lost lease=3
    """),
    HandMade("an ack that is repeated", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=2
        c0 ack     3-4 a#1
        c0 ack     8-9 a#1
    """),
    HandMade("unknown receive that explains a missing delivery", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3? max=1 lease=2
        c1 receive 5-6 a=1#2 lease=2
    """),
    HandMade("one unknown receive, missing deliveries of two messages", (), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-3? max=2 lease=2
        c1 receive 5-6 a=1#2 b=2#2 lease=2
    """),
    HandMade("delayed ones fall in behind", (), """
        p0 publish 0-1 a=1 delay=3
        p0 publish 2-3 b=2
        c0 receive 3-4 b=2#1 lease=9
        c0 receive 4-5 a=1#1 lease=9
    """),
    HandMade("concurrent first deliveries the other way round", (), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-4 b=2#1 lease=9
        c1 receive 3-5 a=1#1 lease=9
    """),
    HandMade("a later delivery says nothing of the order", (), """
        p0 publish 0-1 a=1 b=2
        c0 receive 2-3? max=1 lease=1
        c1 receive 4-5 b=2#1 lease=9
        c1 receive 6-7 a=1#2 lease=9
    """),
    HandMade("a group in turn", (), """
        p0 publish 0-1 a=1 b=2 group=g
        p0 publish 0-1 c=3 group=h
        c0 receive 2-3 a=1#1 c=3#1 lease=9
        c0 ack     4-6 a#1
        c1 receive 4-5 b=2#1 lease=9
        c1 ack     6-7 b#1
        c0 ack     6-7 c#1
        c0 count   8-9 left=0
    """),
    HandMade("a group goes on after an unknown ack", (), """
        p0 publish 0-1 a=1 b=2 group=g
        c0 receive 2-3 a=1#1 lease=9
        c0 ack     4-5? a#1
        c1 receive 6-7 b=2#1 lease=9
    """),
    HandMade("nothing waits while all are leased", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=9
        c1 receive 4-5 empty lease=9
        c0 ack     6-7 a#1
    """),
    HandMade("a dead letter, acked", (), """
        t  topic   0 most=2 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 receive 4-5 a=1#2 lease=9
        c0 nack    6-7 a#2 delay=9
        c0 count   7-8 left=0
        c1 receive/u 6-7 a=1#1 lease=9
        c1 ack/u   8-9 a#1
        c1 count/u 10-11 left=0
    """),
    HandMade("a dead letter that an unknown receive wore out", (), """
        t  topic   0 most=2 grave=u
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1#1 lease=1
        c0 receive 3-4? max=1 lease=1
        c1 receive/u 6-7 a=1#1 lease=9
        c1 ack/u   8-9 a#1
    """),
    HandMade("dead letters stand in another order", (), """
        t  topic   0 most=1 grave=u
        p0 publish 0-1 a=1
        p0 publish 2-3 b=2
        c0 receive 4-5 a=1#1 b=2#1 lease=9
        c0 nack    6-7 b#1
        c0 nack    8-9 a#1
        c1 receive/u 10-11 b=1#1 a=2#1 lease=9
    """),
    HandMade("messages of an unknown publish, all acked", (), """
        p0 publish 0-1? a b
        c0 receive 2-3 a=4#1 lease=9
        c0 receive 4-5 b=5#1 lease=9
        c0 ack     6-7 a#1 b#1
        c0 count   8-9 left=0
    """),
    HandMade("unknown publish that came after the end", (), """
        p0 publish 0-1? a
        c0 count   2-3 left=0
    """),
    HandMade("nothing left, said by a queue without leases", (), """
        p0 publish 0-1 a=1
        c0 receive 2-3 a=1
        c0 count   4-5 left=0
    """),
]  # fmt: skip
