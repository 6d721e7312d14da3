"""Random histories of a queue with leases: a small queue is run, and what its users saw is written down.

Theory. Every operation happens at one moment of its interval, or, where nobody was answered, at a later one or never.
So a queue that is right gives a history that is right, and a broken one gives one in which somebody may have seen it.

Rules of this file: all comes from the generator that is given; ends of operations meet starts as often as not, since
times are whole tenths of a second; at the end everything is drained.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Any

from chaos.history import Op, Record, Topic
from tests.chaos.small_queue import SmallQueue, SmallTopic

LEASES_S = (0.5, 2.0, 2.0, 5.0)
GROUPS = ("red", "green", "blue")
TOPICS = ("plain", "plain", "grouped", "mortal", "grave")
PATIENCE_S = 60.0


class Drawn:
    """A history. `records` are in the order in which operations ended; `effects`: how often the queue was wrong."""

    def __init__(self, seed: int, broken: str | None, steps: int = 60) -> None:
        self.rng = Random(seed)
        mortal = SmallTopic(most=self.rng.choice((1, 2, 3)), grave="grave")
        made = {"plain": SmallTopic(), "grouped": SmallTopic(), "mortal": mortal, "grave": SmallTopic()}
        self.queue = SmallQueue(made, broken)
        assert mortal.most is not None
        self.records: list[Record] = [Topic(name="mortal", max_deliveries=mortal.most, dead_letter_topic="grave")]
        self._ops: list[Op] = []
        self._late: list[tuple[float, int, _Asked]] = []
        self._held: dict[str, list[str]] = {name: [] for name in made}
        self._at, self._values = 10.0, 0
        self._sure = self.rng.random() < 0.3
        for _ in range(steps):
            self._step()
        self._drain()
        self.records += sorted(self._ops, key=lambda op: op.end)

    @property
    def effects(self) -> int:
        return self.queue.effects

    def _step(self) -> None:
        rng = self.rng
        self._pass(rng.choice((0.0, 0.1, 0.3, 1.0)))
        topic = rng.choice(TOPICS)
        held = self._held[topic]
        dice = rng.random()
        if dice < 0.3 and topic != "grave":
            self._do(self._publish(topic))
        elif dice < 0.6 or not held:
            self._do(_Asked("receive", topic, {"max": rng.randint(1, 4), "lease_s": rng.choice(LEASES_S)}))
        else:
            tokens = rng.sample(held, min(len(held), rng.randint(1, 2)))
            kind = rng.choice(("ack", "ack", "nack", "extend"))
            more = {"nack": {"delay_s": rng.choice((0.0, 0.0, 2.0))}, "extend": {"lease_s": rng.choice(LEASES_S)}}
            self._do(_Asked(kind, topic, {"tokens": tokens, **more.get(kind, {})}))
            if rng.random() < 0.8:
                self._held[topic] = [token for token in held if token not in tokens]

    def _publish(self, topic: str) -> _Asked:
        values = [f"v{self._values + i}" for i in range(self.rng.choice((1, 1, 3)))]
        self._values += len(values)
        groups = [self.rng.choice(GROUPS) for _ in values] if topic == "grouped" else []
        delay_s = self.rng.choice((0.0, 0.0, 3.0)) if topic == "plain" else 0.0
        return _Asked("publish", topic, {"values": values, "groups": groups, "delay_s": delay_s})

    def _do(self, asked: _Asked) -> None:
        """Ask, and write down what is answered."""
        rng = self.rng
        outcome = "ok" if self._sure else rng.choice(("ok",) * 8 + ("unknown", "fail"))
        start = self._at - rng.choice((0.0, 0.0, 0.1, 0.5))
        end = self._at + rng.choice((0.0, 0.0, 0.1, 0.5))
        answer: dict[str, Any] = {}
        if outcome == "ok":
            answer = self._happen(asked)
        elif outcome == "unknown" and rng.random() < 0.7:
            heappush(self._late, (self._at + rng.choice((0.0, 1.0, 6.0)), len(self._ops), asked))
        self._ops.append(
            Op(
                kind=asked.kind, client=f"c{rng.randrange(3)}", node=0, tries=1, start=round(start, 1),  # type: ignore[arg-type]
                end=round(end, 1), outcome=outcome, topic=asked.topic, **{**asked.fields, **answer},  # type: ignore[arg-type]
            )
        )  # fmt: skip
        self._held[asked.topic] += answer.get("tokens", ()) if asked.kind == "receive" else ()

    def _happen(self, asked: _Asked) -> dict[str, Any]:
        """It takes effect now. -> what would be answered."""
        at, queue, more = round(self._at, 1), self.queue, asked.fields
        if asked.kind == "publish":
            return {"sequences": queue.publish(at, asked.topic, more["values"], more["groups"], more["delay_s"])}
        if asked.kind == "receive":
            taken = queue.receive(at, asked.topic, more["max"], more["lease_s"])
            return {
                "values": [each.value for each in taken], "sequences": [each.sequence for each in taken],
                "tokens": [str(each.token) for each in taken], "deliveries": [each.deliveries for each in taken],
                "groups": [each.group for each in taken],
            }  # fmt: skip
        if asked.kind == "count":
            return {"left": queue.count(at, asked.topic)}
        if asked.kind == "ack":
            return {"codes": queue.ack(at, asked.topic, more["tokens"])}
        seconds = more["delay_s"] if asked.kind == "nack" else more["lease_s"]
        return {"codes": getattr(queue, asked.kind)(at, asked.topic, more["tokens"], seconds)}

    def _pass(self, seconds: float) -> None:
        """Time goes on, and what nobody was answered happens now and then."""
        until = self._at + seconds
        while self._late and self._late[0][0] <= until:
            at, _, asked = heappop(self._late)
            self._at = max(self._at, at)
            self._happen(asked)
        self._at = until

    def _drain(self) -> None:
        """As a run does: all that is left is received and acked, until nothing is."""
        self._sure = True
        deadline = self._at + PATIENCE_S
        for topic in ("plain", "grouped", "mortal", "grave"):
            while self._at < deadline:
                self._do(_Asked("receive", topic, {"max": 10, "lease_s": 5.0}))
                tokens = self._ops[-1].tokens
                self._pass(0.6)
                if tokens:
                    self._do(_Asked("ack", topic, {"tokens": tokens}))
                else:
                    self._do(_Asked("count", topic, {}))
                    if self._ops[-1].left == 0:
                        break
                self._pass(0.6)


@dataclass
class _Asked:
    """An operation, not yet done."""

    kind: str
    topic: str
    fields: dict[str, Any]

    def __lt__(self, other: object) -> bool:
        return False
