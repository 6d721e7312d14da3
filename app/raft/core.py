"""One node's Raft, without input or output: ticks and messages go in, a `Ready` comes out.

    core.tick(); core.step(message); core.propose([data]); core.read(token)   ->   core.ready()

Theory of operation. A node is in one role in one term. What only a candidate or only a leader needs lives in
`votes` and in `leader`, which exist only in those roles. The transitions, and what causes them:

    FOLLOWER      -> PRE_CANDIDATE   the election timeout passed without a leader (or its stream closed)
    PRE_CANDIDATE -> CANDIDATE       a majority would vote for it: only now the term rises (dissertation 9.6)
    CANDIDATE     -> LEADER          a majority voted for it
    CANDIDATE     -> PRE_CANDIDATE   the election timeout passed, and no majority had answered either way
    (PRE_)CANDIDATE -> FOLLOWER      a majority refused; the term stays
    PRE_CANDIDATE -> FOLLOWER        it gave another its vote, or lets a rival go first; the term stays
    any but LEADER -> CANDIDATE      TimeoutNow: the leader hands over (dissertation 3.10)
    any           -> FOLLOWER        a higher term, or a leader of this term
    LEADER        -> FOLLOWER        no majority heard for an election timeout, or its own disk stalls

Loyalty: a node that heard from a leader less than the shortest election timeout ago ignores requests for
votes (dissertation 4.2.3), so a node that comes back disturbs nobody.

Incarnations: the configuration names the disk behind each id. A vote or a match index counts only from that
disk, so a node whose disk was wiped can neither vote again in a term it voted in, nor vouch for entries it
lost, until it holds the leader's no-op and a majority of the *others* has committed its new disk. While that is
under way neither its old nor its new disk counts (`RaftLog.disk`).

Nothing here reads a clock or draws from global randomness: time is counted in ticks, `rng` is given.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from app.raft.beginning import WAITS, Beginning
from app.raft.follower import Follower
from app.raft.leader import Leader
from app.raft.log import RaftLog
from app.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendReply,
    InstallSnapshot,
    Persisted,
    RequestVote,
    SnapshotReply,
    SnapshotStaged,
    TimeoutNow,
    VoteReply,
)
from app.raft.ready import Note, Ready
from app.raft.tuning import Tuning
from app.raft.types import NOBODY, HardState, Role, SnapshotMeta


class NotLeader(Exception):
    """Only a leader that is not handing over takes proposals, reads and transfers. `leader` is a hint or None."""

    def __init__(self, leader: int | None):
        super().__init__(f"not the leader; the leader is {leader}")
        self.leader = leader


class RaftCore:
    """See the module. `log` and `hard_state` are what the disk holds; `incarnation` names that disk."""

    def __init__(
        self,
        *,
        node: int,
        cluster: int,
        group: int,
        incarnation: int,
        log: RaftLog,
        hard_state: HardState,
        tuning: Tuning,
        rng: random.Random,
    ):
        assert incarnation != 0
        self.node, self.cluster, self.group, self.incarnation = node, cluster, group, incarnation
        self.log, self.tuning = log, tuning
        self.out = Ready()
        self.role = Role.FOLLOWER
        self.term, self.vote = hard_state.term, hard_state.vote
        self.leader_id: int | None = None
        self.leader: Leader | None = None
        self.votes: dict[int, bool] = {}
        self.elections_started = 0
        self.strangers_refused = 0
        self._rng = rng
        self._saved = hard_state
        self._durable_term = hard_state.term
        self._elapsed_ticks = 0
        self._silent_ticks = tuning.election_min_ticks
        """Since a leader of this term was heard; starts as 'long ago': a restarted node owes nobody loyalty."""
        self._timeout_ticks = 0
        self._hurried = False
        self._beginning = Beginning()
        self.crowded = False
        """The driver's word: this node's disk has no room for what makes the data grow."""
        self._yielded_term = 0
        """The last term for which a rival's pre-vote was let go first."""
        self._draw_timeout()
        if log.configuration.ids() == (node,):
            self._timeout_ticks = 1
        self.follower = Follower(self)
        self._handlers: dict[type, Callable[[Any], None]] = {
            RequestVote: self._on_request_vote,
            VoteReply: self._on_vote_reply,
            AppendEntries: self.follower.on_append_entries,
            InstallSnapshot: self.follower.on_install_snapshot,
            SnapshotStaged: self.follower.on_snapshot_staged,
            TimeoutNow: self._on_timeout_now,
            AppendReply: self._on_append_reply,
            SnapshotReply: self._on_snapshot_reply,
            Persisted: self._on_persisted,
        }

    # -- what the driver calls --------------------------------------------------------------------------

    def tick(self) -> None:
        """Time moves by one tick."""
        self._silent_ticks += 1
        if self.leader is not None:
            self.leader.tick()
            return
        if self.role == Role.CANDIDATE and self.node not in self.votes:
            return  # nobody is asked before the own vote is durable: patience begins when the requests leave
        self._elapsed_ticks += 1
        if self._elapsed_ticks >= self._timeout_ticks and self._electable():
            self._campaign(pre=True)
        elif self._elapsed_ticks == self._timeout_ticks and not self._beginning.may_lead(self.log.last_index):
            self.note(WAITS, grave=True)

    def step(self, message: AnyMessage) -> None:
        """Take one message, from a peer or from this node's own disk (`Ready.after` addressed to itself)."""
        if message.cluster != self.cluster or message.group != self.group or message.to != self.node:
            self.strangers_refused += 1
        elif message.sender == self.node:
            if message.term == self.term:
                self._handlers[type(message)](message)
        elif message.sender not in self.log.configuration.ids():
            self.strangers_refused += 1
        else:
            if not self.log.last_index:
                self._beginning.meet(message)
            if self._in_current_term(message):
                self._handlers[type(message)](message)

    def propose(self, datas: list[bytes]) -> tuple[int, int]:
        """Append commands. Returns (index of the first, term). Raises NotLeader."""
        leader = self._leading()
        return leader.append(datas), self.term

    def read(self, token: int) -> None:
        """Ask for a read index; the answer comes in `Ready.reads`. Raises NotLeader."""
        self._leading().read(token)

    def transfer(self, to: int) -> None:
        """Hand leadership to `to`, a member. Given up after an election timeout. Raises NotLeader, ValueError."""
        leader = self._leading()
        if to not in leader.progress:
            raise ValueError(f"node {to} is no other member of this cluster; the others are {sorted(leader.progress)}")
        leader.transfer(to)

    def peer_lost(self, peer: int) -> None:
        """The stream from `peer` closed. A follower of it need not wait out the timeout to ask for pre-votes."""
        if peer == self.leader_id and self.leader is None:
            self._silent_ticks = self.tuning.election_min_ticks
            hurry = self._elapsed_ticks + self._rng.randint(1, self.tuning.heartbeat_ticks)
            self._timeout_ticks = min(self._timeout_ticks, hurry)
            self._hurried = True

    def offer_snapshot(self, meta: SnapshotMeta) -> None:
        """The snapshot asked for by `Ready.snapshot_wanted` is there."""
        if self.leader is not None:
            self.leader.offer_snapshot(meta)

    def ready(self) -> Ready:
        """All that is to be done now; what is handed out here is not handed out again."""
        if self.leader is not None:
            self.leader.flush()
        out, self.out = self.out, Ready()
        hard_state = HardState(self.term, self.vote)
        if hard_state != self._saved:
            out.hard_state = self._saved = hard_state
        out.entries = self.log.take_unwritten()
        if out.writes():
            log = self.log
            out.after.append(self.message(Persisted, self.node, index=log.last_index, entry_term=log.last_term))
        out.committed = self.log.take_committed(self.tuning.apply_bytes)
        out.snapshot_wanted = self.leader is not None and self.leader.snapshot_wanted
        self.log.release()
        return out

    # -- shared by the roles ----------------------------------------------------------------------------

    def majority(self) -> int:
        """How many voters decide."""
        return len(self.log.configuration.members) // 2 + 1

    def may_count(self, index: int) -> bool:
        """Counting commits only an entry of this term; earlier ones follow from Log Matching (Fig. 8)."""
        return self.log.term(index) == self.term

    def message(self, kind: type, to: int, **fields: object) -> AnyMessage:
        """A message from here, of this term unless `fields` say another."""
        fields.setdefault("term", self.term)
        made: AnyMessage = kind(cluster=self.cluster, group=self.group, sender=self.node, to=to, **fields)
        return made

    def send(self, kind: type, to: int, **fields: object) -> None:
        """Send at once: vouches for nothing that is not yet on disk."""
        self.out.messages.append(self.message(kind, to, **fields))

    def send_after(self, kind: type, to: int, **fields: object) -> None:
        """Send when all that was decided so far is durable."""
        self.out.after.append(self.message(kind, to, **fields))

    def note(self, text: str, *, grave: bool = False) -> None:
        """Tell people who watch."""
        self.out.notes.append(Note(text, grave))

    def is_durable(self, index: int) -> bool:
        """Whether the disk is known to hold the current term and all entries up to `index`."""
        return self._durable_term == self.term and index <= self.log.stable_index

    def become_follower(self, term: int, leader: int | None) -> None:
        """Follow `leader` (None: unknown) in `term`, which is never lower than the own one."""
        assert term >= self.term
        if term > self.term:
            self.term, self.vote = term, NOBODY
        # What vouches in an earlier term would leave after a write in which this term's leader may replace the entries.
        self.out.after = [message for message in self.out.after if message.term >= self.term]
        if self.leader is not None:
            self.leader.abandon_reads()
            self.leader = None
        self.role, self.leader_id, self.votes = Role.FOLLOWER, leader, {}
        self._restart_timer()

    def heard_leader(self, leader: int) -> None:
        """A leader of this term spoke."""
        assert self.leader is None, "two leaders in one term"
        if self.role != Role.FOLLOWER or self.leader_id != leader:
            self.become_follower(self.term, leader)
        elif self._hurried:
            self._draw_timeout()
        self._silent_ticks = 0
        self._elapsed_ticks = 0

    # -- elections --------------------------------------------------------------------------------------

    def _in_current_term(self, message: AnyMessage) -> bool:
        """Settle terms first (paper 5.1). False: the message is dealt with."""
        if message.term > self.term:
            if isinstance(message, RequestVote) and not message.transfer and self._loyal():
                return False
            asks_ahead = isinstance(message, RequestVote | VoteReply) and message.pre
            if not asks_ahead or (isinstance(message, VoteReply) and not message.granted):
                if self.leader is not None:
                    self.note(f"leads no more: node {message.sender} is in term {message.term}")
                self.become_follower(message.term, None)
        elif message.term < self.term:
            if isinstance(message, RequestVote):
                self._answer_vote(message, granted=False)
            elif isinstance(message, AppendEntries | InstallSnapshot):
                self.follower.refuse(message)
            return False
        return True

    def _loyal(self) -> bool:
        return self.leader is not None or (
            self.leader_id is not None and self._silent_ticks < self.tuning.election_min_ticks
        )

    def _electable(self) -> bool:
        return self.log.admits(self.node, self.incarnation) and self._beginning.may_lead(self.log.last_index)

    def _campaign(self, *, pre: bool, transfer: bool = False) -> None:
        """Ask for votes; with `pre`, ask whether it would be worth asking."""
        term = self.term + 1
        self.leader_id, self.votes = None, {}
        if pre:
            self.role = Role.PRE_CANDIDATE
        else:
            self.role, self.term, self.vote = Role.CANDIDATE, term, self.node
            self.elections_started += 1
        self._restart_timer()
        for peer in self.log.configuration.ids():
            if peer == self.node:
                self.send_after(
                    VoteReply, self.node, granted=True, pre=pre, incarnation=self.incarnation, term=self.term
                )
                continue
            (self.send if pre else self.send_after)(
                RequestVote,
                peer,
                term=term,
                last_log_index=self.log.last_index,
                last_log_term=self.log.last_term,
                incarnation=self.log.disk(peer),
                pre=pre,
                transfer=transfer,
            )

    def _on_request_vote(self, message: RequestVote) -> None:
        known = message.incarnation in (0, self.incarnation)
        unbound = self.vote == NOBODY and self.leader_id is None
        free = message.term > self.term or self.vote == message.sender or unbound
        current = self.log.up_to_date(message.last_log_index, message.last_log_term)
        granted = known and free and current and self._beginning.may_lead(message.last_log_index)
        if granted and not message.pre:
            if self.role != Role.FOLLOWER:
                # A pre-candidate that has just voted must not stand against its own choice.
                self.become_follower(self.term, None)
            self.vote = message.sender
            self.note(f"votes for node {message.sender} in term {self.term}")
            self._restart_timer()
        elif granted:
            self._let_go_first(message)
        self._answer_vote(message, granted)

    def _let_go_first(self, rival: RequestVote) -> None:
        """Who grants a pre-vote holds its own candidacy back, so that the two do not split the vote.

        Of two that ask at once the higher id goes first. Only once a term: a rival that can be heard and hears
        nothing must not keep others from standing.
        """
        standing = self.role == Role.PRE_CANDIDATE
        if rival.term <= self._yielded_term or self.role not in (Role.FOLLOWER, Role.PRE_CANDIDATE):
            return
        if standing and rival.sender < self.node:
            return
        self._yielded_term = rival.term
        if standing:
            self.become_follower(self.term, None)
        beat = self.tuning.heartbeat_ticks
        self._timeout_ticks = max(self._timeout_ticks, self._elapsed_ticks + self._rng.randint(2 * beat, 4 * beat))

    def _answer_vote(self, message: RequestVote, granted: bool) -> None:
        self.send_after(
            VoteReply,
            message.sender,
            term=message.term if granted else self.term,
            granted=granted,
            pre=message.pre,
            incarnation=self.incarnation,
        )

    def _on_vote_reply(self, message: VoteReply) -> None:
        phase = Role.PRE_CANDIDATE if message.pre else Role.CANDIDATE
        asked = self.term + 1 if message.pre and message.sender != self.node else self.term
        if self.role != phase or (message.granted and message.term != asked):
            return
        if not self.log.admits(message.sender, message.incarnation):
            return
        self.votes[message.sender] = message.granted
        granted = sum(self.votes.values())
        if granted >= self.majority():
            if message.pre:
                self._campaign(pre=False)
            else:
                self._lead()
        elif len(self.votes) - granted >= self.majority():
            self.become_follower(self.term, None)
        elif not (message.granted or message.pre):
            # A split vote, it seems: waiting out the whole timeout would help nobody.
            soon = self._elapsed_ticks + self._rng.randint(1, self.tuning.election_min_ticks)
            self._timeout_ticks = min(self._timeout_ticks, soon)

    def _lead(self) -> None:
        votes = ", ".join(str(node) for node, granted in sorted(self.votes.items()) if granted)
        self.note(f"has won term {self.term} with the votes of nodes {votes}")
        self.role, self.leader_id, self.votes = Role.LEADER, self.node, {}
        self.leader = Leader(self)

    def _on_append_reply(self, message: AppendReply) -> None:
        if self.leader is not None:
            self.leader.on_append_reply(message)

    def _on_snapshot_reply(self, message: SnapshotReply) -> None:
        if self.leader is not None:
            self.leader.on_snapshot_reply(message)

    def _on_timeout_now(self, message: TimeoutNow) -> None:
        if self.leader is None and self._electable():
            self._campaign(pre=False, transfer=True)

    # -- disk and timers --------------------------------------------------------------------------------

    def _on_persisted(self, message: Persisted) -> None:
        self._durable_term = message.term
        self.log.persisted(message.index, message.entry_term)
        if self.leader is not None:
            self.leader.advance_commit()

    def _leading(self) -> Leader:
        if self.leader is None or self.leader.transfer_to is not None:
            raise NotLeader(self.leader_id if self.leader is None else self.leader.transfer_to)
        return self.leader

    def _restart_timer(self) -> None:
        self._elapsed_ticks = 0
        self._draw_timeout()

    def _draw_timeout(self) -> None:
        """A round of pre-votes costs nobody anything, so it is repeated soon; an election is waited out."""
        self._hurried = False
        low, high = self.tuning.election_min_ticks, self.tuning.election_max_ticks
        if self.role == Role.PRE_CANDIDATE:
            low, high = self.tuning.heartbeat_ticks, 2 * self.tuning.heartbeat_ticks
        self._timeout_ticks = self._rng.randint(low, high)
