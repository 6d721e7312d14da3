"""RMQ, the Raft Message Queue: one node.

Imports point downwards: main, api, node, config, broker, transport, storage, raft.
"""
