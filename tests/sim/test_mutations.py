"""The simulation is itself tested: faults are planted in the production code, and each must be caught.

`CAUGHT_BY` says by which invariants. Another one than those means that something else broke than was meant.
"""

from __future__ import annotations

import pytest

from tests.sim import checks, ending, leases
from tests.sim.mutations import MUTATIONS
from tests.sim.runs import first_caught
from tests.sim.world import CONVERGENCE, CRASHED

SEEDS = range(60)
CAUGHT_BY = {
    "skip_fsync": {checks.DURABLE_FIRST},
    "sync_what_one_try_wrote": {checks.DURABLE_FIRST},
    "count_old_terms": {checks.COMPLETENESS, checks.COMMITTED_STAYS},
    "half_is_enough": {checks.DURABLE_FIRST, checks.ONE_LEADER, checks.COMPLETENESS},
    "forget_vote": {checks.ONE_VOTE},
    "vote_not_written": {checks.DURABLE_FIRST, checks.DURABLE_STAYS, checks.TERM_RISES, checks.ONE_VOTE},
    "vote_twice": {checks.ONE_VOTE, checks.ONE_LEADER, checks.DURABLE_FIRST},
    "vote_for_stale_logs": {checks.COMPLETENESS},
    "answer_before_durable": {checks.DURABLE_FIRST},
    "leader_counts_itself_early": {checks.DURABLE_FIRST},
    "truncate_on_any_append": {checks.COMMITTED_STAYS, checks.COMPLETENESS},
    "ignore_previous_entry": {
        checks.LOG_MATCHING, checks.COMMITTED_STAYS, checks.COMPLETENESS, checks.DURABLE_FIRST,
    },
    "commit_beyond_match": {checks.COMMITTED_STAYS, checks.DURABLE_FIRST},
    "acknowledge_beyond_match": {checks.COMMITTED_STAYS, checks.COMPLETENESS, checks.DURABLE_FIRST},
    "reads_without_confirmation": {checks.FRESH_READS},
    "snapshot_keeps_old_log": {checks.LOG_MATCHING, checks.DURABLE_STAYS, CONVERGENCE, CRASHED},
    "compact_before_checkpoint": {checks.CHECKPOINT_FIRST},
    "wiped_disk_votes": {checks.COMPLETENESS, checks.ONE_VOTE, checks.ONE_LEADER, checks.LOG_MATCHING},
    "wiped_disk_keeps_its_match": {CONVERGENCE, checks.COMPLETENESS, checks.DURABLE_FIRST},
    "apply_before_commit": {checks.STATE_SAFETY},
    "claims_not_in_snapshot": {checks.STATE_SAFETY, ending.AUDIT},
    "key_ignored_after_restart": {checks.STATE_SAFETY},
    "leases_end_early": {ending.ANSWERS, leases.TOO_EARLY},
    "repeated_receives_get_nothing": {ending.ANSWERS},
    "acks_are_forgotten": {ending.ANSWERS, leases.AFTER_ACK},
    "memory_decides_how_acks_go": {checks.STATE_SAFETY, ending.AUDIT},
    "groups_do_not_wait": {ending.ANSWERS, ending.AUDIT, leases.IN_ORDER, CRASHED, CONVERGENCE},
    "recovery_cuts_a_record": {checks.DURABLE_STAYS},
}


def test_every_planted_fault_is_named_here() -> None:
    assert CAUGHT_BY.keys() == MUTATIONS.keys()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mutation", CAUGHT_BY)
def test_a_planted_fault_is_caught(mutation: str) -> None:
    outcome = first_caught(mutation, SEEDS)
    assert outcome is not None, f"{len(SEEDS)} seeds did not notice {mutation}: the simulation is too weak"
    assert outcome.violation in CAUGHT_BY[mutation], outcome.what
