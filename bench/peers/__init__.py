"""What is measured side by side: RMQ and the queues that it is compared with, each behind the same few methods.

    peer        the protocol, and the three nodes that most of them are
    rmq         this project; HTTP or the session
    rabbitmq    a quorum queue; amqp is its wire
    nats        a JetStream stream of three replicas, synced or not
    etcd        keys through the HTTP gateway
    pysyncobj   a list replicated by PySyncObj; the load runs inside its node

Rules of this folder: each peer is driven by the leanest client that its protocol allows, never by a general library
that would be what is measured; `connect` prepares whatever can be prepared, so that a publish is one write.
"""
