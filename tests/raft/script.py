"""Scripts: N production cores over in-memory disks and a network that does only what it is told.

A scenario moves one thing at a time (`timeout`, `propose`, `deliver`, `drop`, `hold`, `crash` …) and each event
is one line of a transcript: who, what, term, indices, and behind `=>` what it changed. After every event the
world checks Raft's own promises (paper, Fig. 3) and that nothing commits before a majority's disks hold it.

Messages in flight are named by a selector: `"1>2"`, `"1>*"`, `"*>3 AppendEntries"`, the number that the
transcript shows, or the envelopes that `hold` returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from app.raft import AnyMessage, Configuration, HardState, Member, RaftCore, Role, Tuning
from app.raft.messages import RequestVote, VoteReply, decode, encode
from app.raft.types import NOBODY
from tests.raft.disk import Disk, Image, State
from tests.raft.node import Node
from tests.raft.promises import Promises
from tests.raft.words import ROLES, changes, facts, of_message, spans

WIDTH = 66


@dataclass(frozen=True)
class Envelope:
    """A message in flight. `number`: in the order of sending, as the transcript shows it."""

    number: int
    message: AnyMessage

    def fits(self, selector: str) -> bool:
        ends, _, words = selector.partition(" ")
        sender, _, to = ends.partition(">")
        return (
            sender in ("*", str(self.message.sender))
            and to in ("*", str(self.message.to))
            and of_message(self.message).startswith(words)
        )


Selector = str | int | Envelope | Sequence[Envelope]


class Script:
    """See the module. `admitted`: the configuration names every node's disk from the start."""

    def __init__(self, nodes: int = 3, *, admitted: bool = True, **tuning: int):
        self.tuning = Tuning(**tuning)
        self.lines: list[str] = []
        self.flight: list[Envelope] = []
        self.snapshots = True
        self.promises = Promises(self)
        self._sent = 0
        self.quiet = 0
        self._cut: set[tuple[int, int]] = set()
        ids = range(1, nodes + 1)
        self._incarnations = 10 * nodes
        self.blank = Configuration(tuple(Member(node) for node in ids))
        genesis = Configuration(tuple(Member(node, 10 * node) for node in ids)) if admitted else self.blank
        self.nodes: dict[int, Node] = {}
        for node in ids:
            image = Image(HardState(), State(0, 0, genesis))
            self.nodes[node] = Node(self, node, Disk(10 * node, image))

    # -- the transcript ---------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A remark."""
        self.lines += ["", f"# {text}"] if self.lines else [f"# {text}"]

    def line(self, text: str, said: Sequence[str] = ()) -> None:
        if not self.quiet:
            self.lines.append(f"{text:{WIDTH}} => {'; '.join(said)}" if said else text)

    @contextmanager
    def quietly(self, *nodes: int) -> Iterator[None]:
        """No lines for what happens inside; how things stand afterwards instead."""
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1
        self.show(*nodes)

    def show(self, *nodes: int) -> None:
        """One line a node: how it stands."""
        for node in nodes or self.nodes:
            core = self.nodes[node].core
            if core is None:
                self.line(f"n{node} is down")
                continue
            f = facts(core)
            base = f"1-{f.base} compacted, " if f.base else ""
            self.line(f"n{node} {ROLES[f.role]:13} t{f.term:<2} commit {f.commit:<2} log {base}{spans(f.log)}")

    def event(self, node: int, text: str, act: Callable[[RaftCore], object]) -> None:
        """One event at one node, with all that follows from it there."""
        core = self.core(node)
        before, reads = facts(core), len(self.nodes[node].reads)
        act(core)
        self.nodes[node].carry_out()
        said = changes(before, facts(core))
        for answer in self.nodes[node].reads[reads:]:
            said.append(f"read {answer.token} {'refused' if answer.index is None else f'at {answer.index}'}")
        self.line(text, said)
        self.promises.check(node)

    # -- asking -----------------------------------------------------------------------------------------

    def core(self, node: int) -> RaftCore:
        core = self.nodes[node].core
        assert core is not None, f"n{node} is down"
        return core

    def role(self, node: int) -> Role:
        return self.core(node).role

    def terms(self, node: int) -> list[int]:
        """The terms of the node's entries, from its first."""
        return [term for _, term in facts(self.core(node)).log]

    def commands(self, node: int) -> str:
        """What its state machine has applied."""
        return " ".join(self.nodes[node].state.commands)

    # -- one thing at a time ----------------------------------------------------------------------------

    def given(self, node: int, terms: Sequence[int], *, term: int | None = None, vote: int = NOBODY) -> None:
        """Start `node` anew with a log of these terms on its disk, in `term` (default: the log's last)."""
        image = self.nodes[node].disk.durable
        image.hard_state = HardState(term if term is not None else max(terms, default=0), vote)
        image.entries = [self.promises.entry(index, of_term) for index, of_term in enumerate(terms, 1)]
        self.nodes[node].disk.crash()
        self.nodes[node].start()
        self.promises.check(node)

    def tick(self, node: int, ticks: int = 1) -> None:
        """Time passes for one node alone."""

        def act(core: RaftCore) -> None:
            for _ in range(ticks):
                core.tick()
                self.nodes[node].carry_out()

        self.event(node, f"n{node} ticks {ticks}", act)

    def timeout(self, node: int) -> None:
        """Time passes for one node alone until it stands for election."""

        def act(core: RaftCore) -> None:
            for _ in range(2 * self.tuning.election_max_ticks):
                core.tick()
                if core.out.messages or core.out.after:
                    return
            raise AssertionError(f"n{node} does not stand for election")

        self.event(node, f"n{node} times out", act)

    def beat(self, node: int) -> None:
        """The leader's time passes until its next heartbeat."""
        self.tick(node, self.tuning.heartbeat_ticks)

    def propose(self, node: int, *commands: str) -> None:
        self.event(
            node,
            f"n{node} proposes {' '.join(commands)}",
            lambda core: core.propose([command.encode() for command in commands]),
        )

    def read(self, node: int, token: int) -> None:
        self.event(node, f"n{node} is asked for read {token}", lambda core: core.read(token))

    def transfer(self, node: int, to: int) -> None:
        self.event(node, f"n{node} is told to hand over to n{to}", lambda core: core.transfer(to))

    def peer_lost(self, node: int, peer: int) -> None:
        self.event(node, f"n{node} sees the stream from n{peer} close", lambda core: core.peer_lost(peer))

    def compact(self, node: int) -> None:
        """The node makes its state durable and drops all entries that it has applied."""
        state = self.nodes[node].state

        def act(core: RaftCore) -> None:
            core.log.compact(state.index)
            self.nodes[node].disk.compact(state)

        self.event(node, f"n{node} compacts its log", act)

    # -- the network ------------------------------------------------------------------------------------

    def send(self, message: AnyMessage) -> None:
        self._sent += 1
        if (message.sender, message.to) not in self._cut:
            self.flight.append(Envelope(self._sent, decode(encode(message))))

    def pick(self, selector: Selector) -> list[Envelope]:
        """Those messages in flight, in the order of sending; never none."""
        if isinstance(selector, str):
            picked = [envelope for envelope in self.flight if envelope.fits(selector)]
        elif isinstance(selector, int):
            picked = [envelope for envelope in self.flight if envelope.number == selector]
        else:
            picked = [selector] if isinstance(selector, Envelope) else list(selector)
        assert picked, f"nothing in flight fits {selector}: {[of_message(e.message) for e in self.flight]}"
        return picked

    def deliver(self, selector: Selector | None = None) -> None:
        """These messages arrive; without a selector: all, and all that follows, until nothing is in flight."""
        if selector is not None:
            for envelope in self.pick(selector):
                self._arrive(envelope)
            return
        for _ in range(10_000):
            if not self.flight:
                return
            self._arrive(self.flight[0])
        raise AssertionError("the nodes never come to rest")

    def exchange(self, *nodes: int) -> None:
        """What is in flight between these nodes arrives, and all that follows between them; the rest stays."""
        for _ in range(10_000):
            between = [e for e in self.flight if {e.message.sender, e.message.to} <= set(nodes)]
            if not between:
                return
            self._arrive(between[0])
        raise AssertionError("the nodes never come to rest")

    def _arrive(self, envelope: Envelope) -> None:
        self._take(envelope)
        message = envelope.message
        if self.nodes[message.to].core is not None:
            text = f"n{message.sender}>n{message.to} #{envelope.number:<3} {of_message(message)}"
            self.event(message.to, text, lambda core: core.step(message))

    def _take(self, envelope: Envelope) -> None:
        if envelope in self.flight:
            self.flight.remove(envelope)

    def _each(self, selector: Selector, what: str) -> list[Envelope]:
        picked = self.pick(selector)
        for envelope in picked:
            message = envelope.message
            self._take(envelope)
            self.line(f"n{message.sender}>n{message.to} #{envelope.number:<3} {of_message(message)} {what}")
        return picked

    def drop(self, selector: Selector) -> None:
        """These messages are lost."""
        self._each(selector, "-- lost")

    def hold(self, selector: Selector) -> list[Envelope]:
        """These messages are delayed: `deliver` them when and as often as you like."""
        return self._each(selector, "-- delayed")

    def cut(self, *links: str) -> None:
        """Links like "1>2", "1>*", "*>3" carry nothing from now on; what is on them is lost."""
        for link in links:
            sender, _, to = link.partition(">")
            self._cut |= {
                (a, b) for a in self.nodes for b in self.nodes if sender in ("*", str(a)) and to in ("*", str(b))
            }
        self.flight = [e for e in self.flight if (e.message.sender, e.message.to) not in self._cut]
        self.line(f"cut {' '.join(links)}")

    def heal(self) -> None:
        """All links work."""
        self._cut.clear()
        self.line("heal")

    # -- machines ---------------------------------------------------------------------------------------

    def stall(self, node: int) -> None:
        """From now on nothing becomes durable on this node."""
        self.nodes[node].disk.stalled = True
        self.line(f"n{node}'s disk stalls")

    def persist(self, node: int, writes: int = 1) -> None:
        """A stalled disk does this many of its writes."""
        self.nodes[node].disk.allowed = writes
        self.event(node, f"n{node}'s disk does {writes} write{'s' * (writes > 1)}", lambda core: None)

    def unstall(self, node: int) -> None:
        """The disk does all that it was given."""
        self.nodes[node].disk.stalled = False
        self.event(node, f"n{node}'s disk goes on", lambda core: None)

    def crash(self, node: int) -> None:
        """The process ends; what was not durable is lost, and so is what was under way to and from it."""
        self.nodes[node].disk.crash()
        self.nodes[node].core = None
        self.flight = [e for e in self.flight if node not in (e.message.sender, e.message.to)]
        self.line(f"n{node} crashes")

    def restart(self, node: int) -> None:
        self.nodes[node].start()
        f = facts(self.core(node))
        self.line(f"n{node} restarts in t{f.term} with log {spans(f.log)}")

    def wipe(self, node: int) -> None:
        """The machine comes back with an empty disk under its old name."""
        self._incarnations += 1
        self.crash(node) if self.nodes[node].core is not None else None
        self.nodes[node].disks.append(Disk(self._incarnations, Image(HardState(), State(0, 0, self.blank))))
        self.nodes[node].start()
        self.line(f"n{node} starts on an empty disk")

    # -- whole episodes ---------------------------------------------------------------------------------

    def elect(self, node: int) -> None:
        """`node` stands and wins, and everyone learns of it."""
        with self.quietly():
            self.timeout(node)
            self.deliver()
            assert self.role(node) == Role.LEADER, f"n{node} did not win"
            self.beat(node)
            self.deliver()

    def win(self, node: int, *voters: int) -> None:
        """`node` wins with these votes alone, and nobody has heard of it yet: what it sends them is in flight."""
        assert self.role(node) != Role.LEADER
        self.quiet += 1
        self.flight.clear()
        for voter in voters:
            self.tick(voter, self.tuning.election_min_ticks)
        for _ in range(20):
            if self.role(node) == Role.LEADER:
                break
            if not self._votes(node, voters):
                self.flight.clear()
                self.timeout(node)
            for envelope in self._votes(node, voters):
                self._arrive(envelope)
        else:
            raise AssertionError(f"n{node} does not win")
        self.quiet -= 1
        self.flight = [e for e in self.flight if e.message.sender == node and e.message.to in voters]
        votes = " ".join(f"n{voter}" for voter in voters)
        self.line(f"n{node} wins t{self.core(node).term} with the votes of {votes}")

    def _votes(self, node: int, voters: Sequence[int]) -> list[Envelope]:
        """The requests of `node` to these voters, and their answers."""
        asked = [e for e in self.flight if isinstance(e.message, RequestVote) and e.message.sender == node]
        answered = [e for e in self.flight if isinstance(e.message, VoteReply) and e.message.to == node]
        return [e for e in asked if e.message.to in voters] + [e for e in answered if e.message.sender in voters]

    def settle(self, leader: int, beats: int = 2) -> None:
        """Heartbeats and all that follows from them, until everyone knows what the leader knows."""
        with self.quietly():
            for _ in range(beats):
                self.beat(leader)
                self.deliver()

    def beat_until(self, leader: int, selector: str) -> None:
        """Heartbeats and their answers go on, unseen, until this is in flight; all else is delivered."""
        self.quiet += 1
        for _ in range(100):
            self.beat(leader)
            found = [envelope for envelope in self.flight if envelope.fits(selector)]
            self.flight = [envelope for envelope in self.flight if envelope not in found]
            self.deliver()
            if found:
                break
        else:
            raise AssertionError(f"{selector} is never sent")
        self.quiet -= 1
        self.line(f"n{leader} goes on")
        self.flight += found

    def pass_time(self, ticks: int, *nodes: int) -> None:
        """Time passes for all (or these) alike and messages arrive at once; only lines with a change are kept."""
        mark = len(self.lines)
        self.line(f"{ticks} ticks pass")
        for _ in range(ticks):
            for node in nodes or self.nodes:
                if self.nodes[node].core is not None:
                    self.tick(node)
            self.deliver()
        self.lines[mark + 1 :] = [line for line in self.lines[mark + 1 :] if " => " in line]

    def transcript(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines) + "\n"
