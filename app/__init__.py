"""RMQ, the Raft Message Queue: one node. Imports point downwards: main, config, api, node, broker, transport, storage, raft."""
