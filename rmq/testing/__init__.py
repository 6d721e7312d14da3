"""RMQ in the tests of those who use it: real nodes for pytest, and faults to break them with. See docs/testing.md.

`rmq.testing.plugin` is the pytest plugin, which an installed `rmq` brings along: the fixtures `rmq_cluster` and
`rmq_client`, and the marker `rmq(nodes=3, shared=False)`. `Cluster` is what `rmq_cluster` gives, for annotations.

Who does what:

    pytest's process       plugin -> cluster -> server
                                                  |  a pipe; its end is the end of everything below
    the helper process     helper: forks the nodes, and carries what they say to each other
                                   |           |           |
    a process each              node 0      node 1      node 2
"""

from rmq.testing.cluster import Cluster

__all__ = ["Cluster"]
