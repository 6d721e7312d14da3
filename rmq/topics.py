"""Topics, subscriptions, schedules and members of the cluster, as a node tells of them. Spans are seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

from rmq.messages import time_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A topic's settings. `lease_s`: how long a received message is leased. `ttl_s`, `max_messages`, `max_bytes`,
    `max_deliveries`, `dead_letter_topic`: None for none."""

    lease_s: float
    delay_s: float
    ttl_s: float | None
    max_messages: int | None
    max_bytes: int | None
    overflow: str
    max_deliveries: int | None
    dead_letter_topic: str | None
    dedup_window_s: float
    priorities: bool


class SettingsChange(TypedDict, total=False):
    """What can be changed of a topic's settings; what is left out stays."""

    lease_s: float
    delay_s: float
    ttl_s: float | None
    max_messages: int | None
    max_bytes: int | None
    overflow: Literal["reject", "drop_oldest"]
    max_deliveries: int | None
    dead_letter_topic: str | None
    dedup_window_s: float


class NewSettings(SettingsChange, total=False):
    """What can be said of a topic to create."""

    priorities: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription with its counts of messages."""

    name: str
    start: int
    ready: int
    leased: int
    delayed: int
    dead: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic with its counts. `version` counts the changes of its settings. `oldest_age_s`: None where it is empty.
    Rates are messages a second through the node that answered."""

    name: str
    created_at: datetime
    version: int
    messages: int
    bytes: int
    oldest_age_s: float | None
    published_per_s: float
    delivered_per_s: float
    subscriptions: Sequence[Subscription]
    settings: Settings


@dataclasses.dataclass(frozen=True, slots=True)
class Redriven:
    """`moved` messages have another chance, `kept` found no place and stay."""

    moved: int
    kept: int


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """A message that is published at the ticks of a cron expression. `message`: as it was given."""

    name: str
    cron: str
    zone: str
    next_at: datetime
    message: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node of the cluster; what follows `reachable` is None while it cannot be reached. `state_hash`: of its state at
    the entry `state_hash_index` of the log, where all members say the same. `lag`: entries of the log by which it is
    behind the leader."""

    node: int
    url: str
    peer: str
    reachable: bool
    role: str | None
    term: int | None
    leader: int | None
    first_log_index: int | None
    last_log_index: int | None
    commit_index: int | None
    applied_index: int | None
    state_hash: str | None
    state_hash_index: int | None
    version: str | None
    ready: bool | None
    disk_full: bool | None
    lag: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster as the node that answered sees it. `leader`: None while none is known."""

    node: int
    leader: int | None
    term: int
    members: Sequence[Member]


def settings_of(found: Mapping[str, Any]) -> Settings:
    """From a node's answer. What a newer node knows beyond this is left aside."""
    return Settings(**_known(Settings, found))


def topic_of(found: Mapping[str, Any]) -> Topic:
    """From a node's answer."""
    return Topic(
        **{
            **_known(Topic, {**found, **found["rates"]}), "created_at": time_of(found["created_at"]),
            "subscriptions": [subscription_of(each) for each in found["subscriptions"]],
            "settings": settings_of(found["settings"]),
        }
    )  # fmt: skip


def subscription_of(found: Mapping[str, Any]) -> Subscription:
    """From a node's answer."""
    return Subscription(**_known(Subscription, found))


def schedule_of(found: Mapping[str, Any]) -> Schedule:
    """From a node's answer."""
    return Schedule(**{**_known(Schedule, found), "next_at": time_of(found["next_at"])})


def cluster_of(found: Mapping[str, Any]) -> Cluster:
    """From a node's answer."""
    members = [Member(**_known(Member, each)) for each in found["members"]]
    return Cluster(found["node"], found["leader"], found["term"], members)


def _known(kind: type[Any], found: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: found[field.name] for field in dataclasses.fields(kind) if field.name in found}
