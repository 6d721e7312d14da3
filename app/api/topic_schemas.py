"""The shapes of topics, subscriptions and schedules in bodies of /v1. Rules as in `schemas`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from app.api.kinds import (
    CRON_LENGTH_MAX,
    DELIVERIES_MAX,
    TIME_SCHEMA,
    ZONE_LENGTH_MAX,
    Count,
    Delay,
    Integer,
    Lease,
    Lifetime,
    Name,
    Window,
)
from app.api.message_schemas import ScheduledMessage

Deliveries = Annotated[Integer, Meta(ge=1, le=DELIVERIES_MAX)]
Overflow = Literal["reject", "drop_oldest"]


class NewSettings(Struct, kw_only=True, forbid_unknown_fields=True):
    """Settings of a topic to create. What is null or left out is as the example of a topic shows it."""

    lease_s: Annotated[Lease | None, Meta(description="How long a received message is leased")] = None
    delay_s: Annotated[Delay | None, Meta(description="How long a message waits before it is handed out")] = None
    ttl_s: Annotated[Lifetime | None, Meta(description="How long a message may wait; null: for ever")] = None
    max_messages: Annotated[Count | None, Meta(description="Messages that it stores; null: any number")] = None
    max_bytes: Annotated[Count | None, Meta(description="Bytes that it stores; null: any number")] = None
    overflow: Annotated[
        Overflow | None, Meta(description="What a full topic does: refuse, or drop its oldest messages")
    ] = None
    max_deliveries: Annotated[
        Deliveries | None, Meta(description="A message that was handed out so often is dead; null: never")
    ] = None
    dead_letter_topic: Annotated[Name | None, Meta(description="Where dead messages go; null: they stand still")] = None
    dedup_window_s: Annotated[
        Window | None, Meta(description="How long keys and dedup_ids are remembered; null: the cluster's default")
    ] = None
    priorities: Annotated[bool | None, Meta(description="Whether messages may have one; cannot be changed")] = None


class SettingsChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """The settings to change. What is left out stays; null means none, where there need not be any."""

    lease_s: Lease | UnsetType = UNSET
    delay_s: Delay | UnsetType = UNSET
    ttl_s: Lifetime | UnsetType | None = UNSET
    max_messages: Count | UnsetType | None = UNSET
    max_bytes: Count | UnsetType | None = UNSET
    overflow: Overflow | UnsetType = UNSET
    max_deliveries: Deliveries | UnsetType | None = UNSET
    dead_letter_topic: Name | UnsetType | None = UNSET
    dedup_window_s: Window | UnsetType = UNSET


class TopicSettings(Struct, kw_only=True):
    """All settings of a topic; times are seconds."""

    lease_s: float
    delay_s: float
    ttl_s: float | None
    max_messages: int | None
    max_bytes: int | None
    overflow: Overflow
    max_deliveries: int | None
    dead_letter_topic: str | None
    dedup_window_s: float
    priorities: bool


class CreatedTopic(Struct, kw_only=True):
    """A topic as it was created."""

    name: str
    settings: TopicSettings


class ChangedTopic(Struct, kw_only=True):
    """A topic after a change."""

    name: str
    version: Annotated[int, Meta(ge=1, description="The one in the ETag")]


class Subscription(Struct, kw_only=True):
    """A subscription with its counts."""

    name: str
    start: Annotated[int, Meta(ge=1, description="The first sequence that it gets")]
    ready: Annotated[int, Meta(ge=0, description="Messages that can be handed out")]
    leased: Annotated[int, Meta(ge=0, description="Messages that are handed out and not done")]
    delayed: Annotated[int, Meta(ge=0, description="Messages whose time has not come")]
    dead: Annotated[int, Meta(ge=0, description="Dead messages that stand still here")]


class Rates(Struct, kw_only=True):
    """Messages a second through the answering node, over the last 10 s."""

    published_per_s: Annotated[float, Meta(ge=0)]
    delivered_per_s: Annotated[float, Meta(ge=0)]


class Topic(Struct, kw_only=True):
    """A topic with its counts."""

    name: str
    created_at: Annotated[str, Meta(description="RFC 3339, UTC", extra_json_schema=TIME_SCHEMA)]
    version: Annotated[int, Meta(ge=1, description="Counts the changes of its settings")]
    messages: Annotated[int, Meta(ge=0, description="Messages that are stored")]
    bytes: Annotated[int, Meta(ge=0, description="Size of their bodies, and of what they carry beside")]
    oldest_age_s: Annotated[float | None, Meta(description="Since the oldest of them was published; null: none")]
    rates: Rates
    subscriptions: list[Subscription]
    settings: TopicSettings


class Topics(Struct, kw_only=True):
    """A page of topics in the order of their creation."""

    items: list[Topic]
    next_cursor: Annotated[str | None, Meta(description="Send it as `cursor` for the next page; null at the end")]


class Purge(Struct, forbid_unknown_fields=True):
    """There is nothing to choose: all messages go, for all subscriptions."""


class Purged(Struct, kw_only=True):
    """What a purge did."""

    purged: Annotated[int, Meta(ge=0, description="Messages that are gone")]


class Redrive(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which dead messages get another chance."""

    max: Annotated[Count | None, Meta(description="How many at most; null: all")] = None
    to: Annotated[Name | None, Meta(description="The topic to send them to; null: each where it came from")] = None
    start: Annotated[Count | None, Meta(description="The sequence to begin at: the `next` of the answer before")] = (
        field(default=None, name="from")
    )


class Redriven(Struct, kw_only=True):
    """What a redrive did."""

    moved: Annotated[int, Meta(ge=0, description="Messages that have another chance")]
    kept: Annotated[int, Meta(ge=0, description="Dead letters that found no place, and stay")]
    next: Annotated[int | None, Meta(description="Send it as `from` to go on; null: all were looked at")]


class NewSubscription(Struct, kw_only=True, forbid_unknown_fields=True):
    """Where a subscription begins."""

    start: Annotated[
        Literal["earliest", "latest"] | Count,
        Meta(description="With the oldest message still stored, with what comes, or with a sequence"),
    ] = "latest"


class CreatedSubscription(Struct, kw_only=True):
    """A subscription as it is there now."""

    name: str
    start: Annotated[int, Meta(ge=1, description="The first sequence that it gets")]


class Subscriptions(Struct, kw_only=True):
    """All subscriptions of a topic."""

    items: list[Subscription]
    next_cursor: Annotated[None, Meta(description="There is one page")] = None


class NewSchedule(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message, and when to publish it."""

    cron: Annotated[
        str,
        Meta(max_length=CRON_LENGTH_MAX, description="Minute, hour, day of month, month, day of week"),
    ]
    message: ScheduledMessage
    zone: Annotated[str, Meta(max_length=ZONE_LENGTH_MAX, description="The time zone that it counts in")] = "UTC"


class Schedule(Struct, kw_only=True):
    """A schedule."""

    name: str
    cron: str
    zone: str
    next_at: Annotated[str, Meta(description="The next tick: RFC 3339, UTC", extra_json_schema=TIME_SCHEMA)]
    message: ScheduledMessage


class Schedules(Struct, kw_only=True):
    """All schedules of a topic, by name."""

    items: list[Schedule]
    next_cursor: Annotated[None, Meta(description="There is one page")] = None


COMPONENTS = (
    NewSettings, SettingsChange, TopicSettings, CreatedTopic, ChangedTopic, Subscription, Rates, Topic, Topics, Purge,
    Purged, Redrive, Redriven, NewSubscription, CreatedSubscription, Subscriptions, NewSchedule, Schedule, Schedules,
)  # fmt: skip
