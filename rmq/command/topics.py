"""`rmq topic …`: list, make, look at, change, empty, delete."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, cast

import typer

from rmq import errors
from rmq.command.exits import UsageError
from rmq.command.shell import Shell, Topic, Yes, command, number, option
from rmq.topics import NewSettings, SettingsChange
from rmq.topics import Topic as Found

app = typer.Typer(no_args_is_help=True, help="Topics: list, make, look at, change, empty, delete.")


Lease = Annotated[float | None, option("--lease", "S", "A received message is leased so long.")]
Delay = Annotated[float | None, option("--delay", "S", "A message is not handed out before.")]
Ttl = Annotated[str | None, option("--ttl", "S|none", "A message that nobody took by then is gone.")]
MaxMessages = Annotated[str | None, option("--max-messages", "N|none", "More than these do not fit.")]
MaxBytes = Annotated[str | None, option("--max-bytes", "N|none", "More than these do not fit.")]
Overflow = Annotated[str | None, option("--overflow", "reject|drop_oldest", "What becomes of one too many.")]
MaxDeliveries = Annotated[str | None, option("--max-deliveries", "N|none", "Handed out so often, it is dead.")]
DeadLetterTopic = Annotated[str | None, option("--dead-letter-topic", "TOPIC|none", "Where dead messages go.")]
DedupWindow = Annotated[float | None, option("--dedup-window", "S", "A dedup_id is known so long.")]
Priorities = Annotated[bool, typer.Option("--priorities", help="Messages have priorities, 0 to 9.", show_default=False)]


@command(app, "ls")
def ls(shell: Shell, prefix: Annotated[str, typer.Argument(metavar="PREFIX", show_default=False)] = "") -> None:
    """All topics, with counts of the default group."""
    found = list(shell.client.topics(prefix))
    rows = [(each.name, each.messages, *_counts(each), each.bytes, each.oldest_age_s) for each in found]
    columns = ["TOPIC", ">MESSAGES", ">READY", ">LEASED", ">DELAYED", ">DEAD", ">BYTES", ">OLDEST S"]
    shell.out.table(columns, rows, found)


def _counts(topic: Found) -> tuple[int, int, int, int]:
    default = topic.subscriptions[0]
    return default.ready, default.leased, default.delayed, default.dead


@command(app, "create")
def create(
    shell: Shell, topic: Topic, lease: Lease = None, delay: Delay = None, ttl: Ttl = None,
    max_messages: MaxMessages = None, max_bytes: MaxBytes = None, overflow: Overflow = None,
    max_deliveries: MaxDeliveries = None, dead_letter_topic: DeadLetterTopic = None,
    dedup_window: DedupWindow = None, priorities: Priorities = False,
) -> None:  # fmt: skip
    """Make a topic. One that is there with the same settings is found as it is."""
    settings = _settings(
        lease, delay, ttl, max_messages, max_bytes, overflow, max_deliveries, dead_letter_topic, dedup_window
    )
    if priorities:
        settings["priorities"] = True
    made = shell.client.create_topic(topic, **cast("NewSettings", settings))
    said = f"Topic {topic} is there.{_missing(shell, made.max_deliveries, made.dead_letter_topic)}"
    shell.out.done({"name": topic, "settings": made}, said)


def _missing(shell: Shell, max_deliveries: int | None, dead_letter_topic: str | None) -> str:
    """What is still to do until dead messages move."""
    if dead_letter_topic is None:
        return ""
    if max_deliveries is None:
        return " No message becomes a dead one before it has --max-deliveries."
    try:
        shell.client.topic(dead_letter_topic)
    except errors.TopicNotFound:
        return f" Dead messages stand still until you make {dead_letter_topic}: `rmq topic create {dead_letter_topic}`."
    return ""


@command(app, "show")
def show(shell: Shell, topic: Topic) -> None:
    """Settings and counts of a topic."""
    found = shell.client.topic(topic)
    rows: dict[str, Any] = {
        "topic": found.name, "created": found.created_at, "messages": found.messages, "bytes": found.bytes,
        "oldest": "-" if found.oldest_age_s is None else f"{found.oldest_age_s:,.1f} s",
        "published": f"{found.published_per_s:,.1f}/s", "delivered": f"{found.delivered_per_s:,.1f}/s",
    }  # fmt: skip
    for each in found.subscriptions:
        rows[f"group {each.name}"] = (
            f"{each.ready:,} ready, {each.leased:,} leased, {each.delayed:,} delayed, {each.dead:,} dead"
        )
    rows |= dataclasses.asdict(found.settings)
    shell.out.fields(found, rows)


@command(app, "set")
def set_(
    shell: Shell, topic: Topic, lease: Lease = None, delay: Delay = None, ttl: Ttl = None,
    max_messages: MaxMessages = None, max_bytes: MaxBytes = None, overflow: Overflow = None,
    max_deliveries: MaxDeliveries = None, dead_letter_topic: DeadLetterTopic = None,
    dedup_window: DedupWindow = None,
) -> None:  # fmt: skip
    """Change settings: what is named; `none` takes a limit away."""
    settings = _settings(
        lease, delay, ttl, max_messages, max_bytes, overflow, max_deliveries, dead_letter_topic, dedup_window
    )
    if not settings:
        raise UsageError(f"Nothing to change is named, such as `rmq topic set {topic} --lease 60`.")
    version = shell.client.change_topic(topic, **cast("SettingsChange", settings))
    missing = ""
    if max_deliveries is not None or dead_letter_topic is not None:
        now = shell.client.topic(topic).settings
        missing = _missing(shell, now.max_deliveries, now.dead_letter_topic)
    said = f"Topic {topic} is changed; its settings are version {version}.{missing}"
    shell.out.done({"name": topic, "version": version}, said)


@command(app, "purge")
def purge(shell: Shell, topic: Topic, yes: Yes = False) -> None:
    """All messages of a topic go, for all groups."""
    waiting = shell.client.topic(topic).messages
    shell.confirm(f"Delete the {waiting:,} messages of {topic}?", yes)
    purged = shell.client.purge(topic)
    shell.out.done({"name": topic, "purged": purged}, f"{purged:,} messages of {topic} are gone.")


@command(app, "rm")
def rm(shell: Shell, topic: Topic, yes: Yes = False) -> None:
    """Delete a topic, with everything in it."""
    waiting = shell.client.topic(topic).messages
    shell.confirm(f"Delete the topic {topic} and its {waiting:,} messages?", yes)
    shell.client.delete_topic(topic)
    shell.out.done({"name": topic, "deleted": True}, f"Topic {topic} is gone.")


def _settings(
    lease: float | None, delay: float | None, ttl: str | None, max_messages: str | None, max_bytes: str | None,
    overflow: str | None, max_deliveries: str | None, dead_letter_topic: str | None, dedup_window: float | None,
) -> dict[str, Any]:  # fmt: skip
    """What was named, as the client takes it."""
    found: dict[str, Any] = {
        "lease_s": lease, "delay_s": delay, "overflow": overflow, "dedup_window_s": dedup_window
    }  # fmt: skip
    found = {name: value for name, value in found.items() if value is not None}
    if overflow not in (None, "reject", "drop_oldest"):
        raise UsageError(f"--overflow is reject or drop_oldest, not {overflow!r}.")
    limits: list[tuple[str, str | None, Callable[[str], Any]]] = [
        ("ttl_s", ttl, float), ("max_messages", max_messages, int), ("max_bytes", max_bytes, int),
        ("max_deliveries", max_deliveries, int),
    ]  # fmt: skip
    for name, text, kind in limits:
        if text is not None:
            flag = "--" + name.removesuffix("_s").replace("_", "-")
            found[name] = None if text == "none" else number(flag, text, kind, "none")
    if dead_letter_topic is not None:
        found["dead_letter_topic"] = None if dead_letter_topic == "none" else dead_letter_topic
    return found
