"""Counters of the API and gauges of the node, in Prometheus' format.

Rules of this file: what hot routes pay is an index into a list and an addition; names, labels and text come
into being when somebody asks. A rate is what this node saw in the last ten whole seconds and the present
one. A registry of its own, so that nothing else in the process leaks in. Labels come from small closed sets; topics
and subscriptions are listed up to a bound. A scrape asks nobody else, and costs the loop up to 20 ms.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from app.api.calls import NO_STORE, Answer, Call
from app.api.operations import Operation
from app.broker import StateFull, TopicInfo

if TYPE_CHECKING:
    from app.node.service import Node

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
LISTED_TOPICS = 100
"""Topics with lines of their own."""
LISTED_SUBSCRIPTIONS = 400
"""Subscriptions with lines of their own, in all of those topics together."""
STATES = "ready", "leased", "delayed", "dead"
RATE_SECONDS = 10
RATED_TOPICS = 16_384
"""Topics whose rates are known at once."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class RouteMeter:
    """What one route has cost."""

    __slots__ = ("counts", "name", "statuses", "sum_s")

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0
        self.statuses: dict[int, int] = {}

    def observe(self, status: int, elapsed_s: float) -> None:
        """Count one answer."""
        self.counts[bisect_left(BUCKETS_S, elapsed_s)] += 1
        self.sum_s += elapsed_s
        self.statuses[status] = self.statuses.get(status, 0) + 1


class Rate:
    """Events a second over the last ten seconds: one count for each of them, and one for the present second."""

    __slots__ = ("_counts", "_seconds")

    def __init__(self) -> None:
        self._counts = [0] * (RATE_SECONDS + 1)
        self._seconds = [-1] * (RATE_SECONDS + 1)

    def add(self, count: int, now_s: float) -> None:
        """So many, now."""
        second = int(now_s)
        place = second % (RATE_SECONDS + 1)
        if self._seconds[place] != second:
            self._seconds[place], self._counts[place] = second, 0
        self._counts[place] += count

    def per_second(self, now_s: float) -> float:
        """The mean from ten whole seconds ago until now."""
        first = int(now_s) - RATE_SECONDS
        counted = sum(count for second, count in zip(self._seconds, self._counts, strict=True) if second >= first)
        return counted / (now_s - first)


class Rates:
    """What came into each topic through this node, and what went out; of the topics used last, which stand last."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._topics: OrderedDict[str, tuple[Rate, Rate]] = OrderedDict()

    def add(self, topic: str, *, published: int = 0, delivered: int = 0) -> None:
        """So many messages, now."""
        rates, now_s = self._topics.get(topic) or self._new(topic), self._now_s()
        self._topics.move_to_end(topic)
        if published:
            rates[0].add(published, now_s)
        if delivered:
            rates[1].add(delivered, now_s)

    def of(self, topic: str) -> tuple[float, float]:
        """Messages published and delivered a second."""
        found, now_s = self._topics.get(topic), self._now_s()
        return (0.0, 0.0) if found is None else (found[0].per_second(now_s), found[1].per_second(now_s))

    def _new(self, topic: str) -> tuple[Rate, Rate]:
        if len(self._topics) >= RATED_TOPICS:
            self._topics.popitem(last=False)
        rates = self._topics[topic] = Rate(), Rate()
        return rates


class Meters:
    """All of the API's counters. `published` and `consumed` count messages through this node."""

    def __init__(self) -> None:
        self.routes: list[RouteMeter] = []
        self.published = 0
        self.consumed = 0
        self.rates = Rates()

    def count_published(self, topic: str, messages: int) -> None:
        """So many messages were stored."""
        if messages:
            self.published += messages
            self.rates.add(topic, published=messages)

    def count_consumed(self, topic: str, messages: int) -> None:
        """So many messages were handed out."""
        if messages:
            self.consumed += messages
            self.rates.add(topic, delivered=messages)

    def route(self, name: str) -> RouteMeter:
        """The meter of a new route."""
        meter = RouteMeter(name)
        self.routes.append(meter)
        return meter


class Metrics:
    """The route /metrics over one node."""

    def __init__(self, node: Node, meters: Meters, waiting: Callable[[], int], sessions: Callable[[], int]) -> None:
        self._node, self._meters = node, meters
        self._waiting, self._sessions = waiting, sessions
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    async def look(self, call: Call) -> Answer:
        """GET /metrics."""
        headers = ((b"content-type", CONTENT_TYPE.encode()), NO_STORE)
        return Answer(200, generate_latest(self._registry), headers)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: the registry would collect, and the node may not stand yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        yield from self._node_metrics()
        yield from self._peer_metrics()
        yield from self._disk_metrics()
        yield from self._route_metrics()
        yield from self._topic_metrics()

    def _node_metrics(self) -> Iterator[Metric]:
        status = self._node.status()
        role = GaugeMetricFamily("rmq_role", "1 for the role that this node has", labels=["role"])
        for name in ("Leader", "Follower", "Candidate"):
            role.add_metric([name], float(status.role == name))
        yield role
        yield GaugeMetricFamily("rmq_leader", "The leader's id; -1 when none is known", _or_none(status.leader))
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"rmq_{name}", text, float(getattr(status, name)))
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"rmq_{name}", text, float(getattr(status, name)))
        yield GaugeMetricFamily("rmq_uptime_seconds", "Time since the start", status.uptime_s)
        # The commit index counts every entry that this log ever committed, and survives a restart.
        yield CounterMetricFamily("rmq_commits", "Entries committed", float(status.commit_index))

    def _peer_metrics(self) -> Iterator[Metric]:
        text = "Entries of the leader's log that this member is not known to hold; of the leader alone"
        lag = GaugeMetricFamily("rmq_peer_lag_entries", text, labels=["peer"])
        text = "1 when this member answers the leader; of the leader alone"
        reachable = GaugeMetricFamily("rmq_peer_reachable", text, labels=["peer"])
        for peer in self._node.peers():
            if peer.lag is not None:
                lag.add_metric([str(peer.id)], peer.lag)
            reachable.add_metric([str(peer.id)], float(peer.reachable))
        yield lag
        yield reachable

    def _disk_metrics(self) -> Iterator[Metric]:
        disk = self._node.disk()
        for name, text in _DISK.items():
            size_bytes = getattr(disk, name)
            if size_bytes is not None:
                yield GaugeMetricFamily(f"rmq_{name}", text, size_bytes)

    def _route_metrics(self) -> Iterator[Metric]:
        answers = CounterMetricFamily("rmq_requests", "Answers by route and status", labels=["route", "status"])
        latency = HistogramMetricFamily("rmq_request_duration_seconds", "Time to answer, by route", labels=["route"])
        for meter in self._meters.routes:
            if not meter.statuses:
                continue
            for status, count in sorted(meter.statuses.items()):
                answers.add_metric([meter.name, str(status)], count)
            latency.add_metric([meter.name], _cumulated(meter.counts), meter.sum_s)
        yield answers
        yield latency
        yield CounterMetricFamily("rmq_published_messages", "Published through this node", self._meters.published)
        yield CounterMetricFamily("rmq_consumed_messages", "Handed out through this node", self._meters.consumed)
        yield GaugeMetricFamily("rmq_long_polls", "Requests that wait for a message", self._waiting())
        yield GaugeMetricFamily("rmq_sessions", "WebSockets that are open", self._sessions())

    def _topic_metrics(self) -> Iterator[Metric]:
        of_which = f"of the {LISTED_TOPICS} topics created first"
        depth = GaugeMetricFamily("rmq_topic_messages", f"Messages stored, {of_which}", labels=["topic"])
        text = f"Time since the oldest message stored was published, {of_which}; none of an empty one"
        age = GaugeMetricFamily("rmq_topic_oldest_message_age_seconds", text, labels=["topic"])
        text = f"Messages by state, {of_which}, up to {LISTED_SUBSCRIPTIONS} subscriptions"
        states = GaugeMetricFamily("rmq_subscription_messages", text, labels=["topic", "subscription", "state"])
        left, now_ms = LISTED_SUBSCRIPTIONS, time.time_ns() // 1_000_000
        for topic in self._topics():
            depth.add_metric([topic.name], topic.messages)
            if topic.oldest_ms is not None:
                age.add_metric([topic.name], max(0, now_ms - topic.oldest_ms) / 1000)
            for subscription in topic.subscriptions[:left]:
                for state in STATES:
                    states.add_metric([topic.name, subscription.name, state], getattr(subscription, state))
            left = max(0, left - len(topic.subscriptions))
        yield depth
        yield age
        yield states

    def _topics(self) -> list[TopicInfo]:
        try:
            return self._node.machine.topics("", limit=LISTED_TOPICS)
        except StateFull:
            # On a full disk all else is wanted the more.
            return []

    def operations(self) -> list[Operation]:
        """The route."""
        text = {"schema": {"type": "string"}, "examples": {"metrics": {"summary": "A line", "value": "rmq_term 3.0\n"}}}
        return [
            Operation(
                method="GET", path="/metrics", name="get_metrics", tag="operations", summary="Metrics for Prometheus",
                description=(
                    "Of this node: role, term, positions, lag of the others while it leads, disk, requests, latencies, "
                    "topics and subscriptions, process."
                ),
                handler=self.look,
                answers={200: {"description": "Prometheus' text format", "content": {CONTENT_TYPE: text}}},
            )
        ]  # fmt: skip


_GAUGES = {
    "term": "The current term", "first_log_index": "First entry in the log", "last_log_index": "Last entry in the log",
    "commit_index": "Last entry known to be committed", "applied_index": "Last entry applied to the state",
    "ready": "1 when the node may be sent work",
    "disk_full": "1 when the log has no room, or less than disk_reserve_bytes is free",
}  # fmt: skip
_DISK = {
    "disk_free_bytes": "Free on the data directory's disk, for this node's user",
    "disk_owed_bytes": "Of what is free, what the database is yet to take in of its own log of writes",
    "disk_reserve_bytes": "The setting disk_reserve_bytes: with less than that free and not owed, the disk is full",
    "log_size_bytes": "What the Raft log takes of the disk, with files that stand ready",
    "state_size_bytes": "What the database takes of the disk, with its own log of writes",
}
_COUNTERS = {
    "elections_started": "Elections that this node stood for", "syncs": "Times that the log was synced to the disk",
    "strangers_refused": "Messages from outside the cluster that were refused",
}  # fmt: skip


def _or_none(leader: int | None) -> float:
    return -1.0 if leader is None else float(leader)


def _cumulated(counts: list[int]) -> list[tuple[str, float]]:
    total, found = 0, []
    for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
