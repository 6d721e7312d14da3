"""What a start makes of a log and a state that a crash may have left apart, and the core that goes on from them.

    applied within the log, terms agree    the usual case: the log's tail is applied again
    applied within the log, terms differ   a snapshot was installed over a conflicting log, which still stands
    applied beyond the log's end           the same, over a shorter log
    applied before the log's beginning     the state was lost or exchanged: entries are missing, refuse
    a state, and no log                    the node's votes are missing: refuse, before one is begun (`LogMissing`);
                                           at a first start the log is made before the state
"""

from __future__ import annotations

import random

import msgspec

from app.node.protocols import StateMachine
from app.raft import Configuration, Member, RaftCore, RaftLog, Tuning
from app.storage import SegmentedLog

GROUP = 0
"""The one group that exists today. Its number stands in every message, record and path."""


class StateLost(Exception):
    """The state lacks entries that the log no longer has."""


def reconcile(log: SegmentedLog, machine: StateMachine) -> None:
    """Make the log meet the state. Raises StateLost when it cannot."""
    index, term = machine.applied_index, machine.applied_term
    if index < log.first_index - 1:
        raise StateLost(
            f"the queue's state ends at entry {index}, but the log begins at entry {log.first_index}: the state "
            "file was lost or exchanged. Move this node's directory away and start it again empty; it will get "
            "everything from its peers."
        )
    if index > log.last_index or log.term(index) != term:
        log.reset(index, term)


def restore_core(
    log: SegmentedLog, machine: StateMachine, nodes: int, tuning: Tuning, rng: random.Random
) -> RaftCore:
    """The core as the disk left it. `nodes`: how many the cluster file names, for a log that names none yet."""
    reconcile(log, machine)
    if machine.configuration is None:
        configuration = Configuration(tuple(Member(node) for node in range(nodes)))
    else:
        configuration = msgspec.msgpack.decode(machine.configuration, type=Configuration)
    identity = log.identity
    return RaftCore(
        node=identity.node,
        cluster=identity.cluster,
        group=identity.group,
        incarnation=identity.incarnation,
        log=RaftLog(log, machine.applied_index, configuration),
        hard_state=log.hard_state,
        tuning=tuning,
        rng=rng,
    )
