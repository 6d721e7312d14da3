"""How RMQ scales: one thing grows, all else stands still, so that a bend of a curve has one cause.

    sweeps      what grows, through which values; and what a point is
    points      measures one: a cluster of its own, clients that publish
    backlog     the one that cannot be had so: a topic that is filled from level to level
    curves      draws: panels with lines on logarithmic axes, as SVG
    report      makes tables and pictures of what was measured
    run         goes through all of it

Beside rate and latency stands who was busy meanwhile, for that tells why a curve bends: a node's loop is one thread, so
a leader that uses a whole core is at its limit; and where all processes together use all cores, the machine is.
"""
