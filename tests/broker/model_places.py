"""The model's half that stores messages and takes them away: limits, arrivals, ends, dead letters."""

from __future__ import annotations

from app.broker import dead_letters, overflow
from app.broker.commands import Command, Redrive
from app.broker.results import DeadLetter, Redriven, Result
from tests.broker.model_state import (
    PLAIN,
    Claims,
    Counters,
    Lane,
    Lease,
    Message,
    Refusal,
    Stand,
    Subscription,
    Token,
    Topic,
)


class Places:
    """Where messages are."""

    def __init__(self, beside: int, in_a_tick: int) -> None:
        """How many due things go with any command, and with a Tick."""
        self.beside, self.in_a_tick = beside, in_a_tick
        self.now_ms, self.may_drop_more = 0, True
        self.next = Counters()
        self.topics: dict[str, Topic] = {}
        self.leases: list[Lease] = []
        self.tokens: dict[str, Token] = {}
        self.claims = Claims()
        self.room_bytes = self.skips = 0
        """What is left of what one command that receives may hand out, and clear away."""

    def do(self, command: Command) -> Result | str:
        """What comes of it, or the code of its refusal."""
        try:
            return getattr(self, type(command).__name__.lower())(command)
        except Refusal as refusal:
            return refusal.code

    def topic(self, name: str) -> Topic:
        if name not in self.topics:
            raise Refusal("topic_not_found")
        return self.topics[name]

    # --- how messages come

    def make_room(self, topic: Topic, sizes: list[int]) -> bool:
        """Whether messages of these sizes are taken, the oldest ones gone for them if that is the topic's way."""
        limits = topic.settings

        def over(stored: list[Message], new: list[int]) -> tuple[int, int]:
            size = sum(each.size_bytes() for each in stored) + sum(new) if limits.max_bytes else 0
            return (
                max(0, len(stored) + len(new) - limits.max_messages) if limits.max_messages else 0,
                max(0, size - limits.max_bytes) if limits.max_bytes else 0,
            )

        def is_enough() -> bool:
            return all(now <= then for now, then in zip(over(left, sizes), over(topic.messages, []), strict=True))

        left, going = list(topic.messages), []
        if over(left, sizes) == (0, 0):
            return True
        if limits.overflow == "reject" or over([], sizes) != (0, 0):
            return False
        more_bytes = overflow.DROPS_BYTES if self.may_drop_more else 0
        for message in topic.messages[: overflow.DROPS_MAX]:
            if over(left, sizes) == (0, 0) or (is_enough() and more_bytes <= 0):
                break
            if any(message.stands[each].state == "leased" for each in topic.living(message)):
                continue
            if is_enough():
                more_bytes -= message.size_bytes()
                self.may_drop_more = False
            left.remove(message)
            going.append(message)
        if not is_enough():
            return False
        for message in going:
            self.withdraw(topic, message)
        return True

    def add(self, topic: Topic, message: Message, delay_ms: int, getting: list[Subscription]) -> None:
        """At the topic's end; a message with a group arrives after all others of groups."""
        message.sequence = topic.next_sequence
        topic.next_sequence += 1
        arrives_ms, waits = self.now_ms + delay_ms, delay_ms > 0
        if message.group is not None:
            if any(each.group is not None and each.later_ms is not None for each in topic.messages):
                arrives_ms, waits = max(arrives_ms, topic.last_arrival_ms), True
            topic.last_arrival_ms = arrives_ms
        message.later_ms = arrives_ms if waits else None
        topic.messages.append(message)
        message.stands = {each: Stand("delayed" if waits else "ready") for each in getting}
        if not waits:
            self.arrive(topic, message)

    def arrive(self, topic: Topic, message: Message) -> None:
        message.later_ms = None
        for stand in message.stands.values():
            stand.state = "ready"
        if message.group is None:
            message.lane = Lane(message.priority) if topic.settings.priorities else PLAIN
            return
        found = [lane for lane in topic.lanes if lane.group == message.group]
        message.lane = found[0] if found else Lane(next(self.next.others), message.group)
        topic.lanes += [] if found else [message.lane]
        for each in topic.living(message):
            if message.lane not in each.line and not topic.at(each, message.lane, "leased", "delayed"):
                each.line.append(message.lane)

    def release(self, topic: Topic, subscription: Subscription, lane: Lane) -> None:
        """Nothing of the group is on its way: it goes to the end of the line, or away if it has nothing."""
        if lane in subscription.line:
            subscription.line.remove(lane)
        if topic.at(subscription, lane, "ready"):
            subscription.line.append(lane)

    def shrink(self, topic: Topic, subscription: Subscription, lane: Lane) -> None:
        """One of the group's messages went that was not on its way: the group stays where it is, or goes if it has
        nothing."""
        if lane in subscription.line and not topic.at(subscription, lane, "ready"):
            subscription.line.remove(lane)

    # --- how messages go

    def is_over(self, message: Message) -> bool:
        return message.expires_ms is not None and message.expires_ms <= self.now_ms

    def finish(self, topic: Topic, subscription: Subscription, message: Message, how: str) -> None:
        """The subscription is done with it. That a first delivery was acked goes without saying."""
        deliveries = message.stands.pop(subscription).deliveries
        if deliveries > 1 or (deliveries == 1 and how != "acked"):
            owner = (topic.number, "ended", subscription.number, message.sequence)
            self.claims.remember(self.now_ms, topic.settings.dedup_window_ms, deliveries, how, *owner)
        if not topic.living(message):
            self.remove(topic, message)

    def remove(self, topic: Topic, message: Message) -> None:
        topic.messages.remove(message)
        topic.lanes = [lane for lane in topic.lanes if any(each.lane is lane for each in topic.messages)]

    def withdraw(self, topic: Topic, message: Message) -> None:
        """It goes for all who have not leased it."""
        for each in topic.living(message):
            was = message.stands[each].state
            if was != "leased":
                self.finish(topic, each, message, "lost")
                if message.group is None or message.later_ms is not None:
                    continue
                if was == "delayed":
                    self.release(topic, each, message.lane)
                else:
                    self.shrink(topic, each, message.lane)
        if not topic.living(message) and message in topic.messages:
            self.remove(topic, message)

    # --- dead letters

    def bury(self, topic: Topic, subscription: Subscription, message: Message) -> None:
        stand = message.stands[subscription]
        stand.state = "dead"
        stand.due_ms = None if topic.settings.dead_letter_topic is None else self.now_ms + dead_letters.RETRY_MS
        target = self.topics.get(topic.settings.dead_letter_topic or "")
        if target is None or target is topic:
            return
        origin = DeadLetter(topic.name, subscription.name, message.sequence, stand.deliveries, self.now_ms)
        letter = self.copy(message, target, origin)
        if self.make_room(target, [letter.size_bytes()]):
            self.finish(topic, subscription, message, "nacked" if stand.nacked else "lost")
            letter.id = next(self.next.messages) if message in topic.messages else message.id
            self.add(target, letter, 0, target.subscriptions)

    def copy(self, message: Message, target: Topic, origin: DeadLetter | None) -> Message:
        """The same in another topic, with that one's time to live."""
        ttl_ms = target.settings.ttl_ms
        expires_ms = None if ttl_ms is None else self.now_ms + ttl_ms
        return Message(
            message.id, 0, message.body, message.binary, message.headers, message.group, message.priority,
            message.published_ms, expires_ms, origin,
        )  # fmt: skip

    def redrive(self, command: Redrive) -> Result:
        topic = self.topic(command.topic)
        to = None if command.to is None else self.topic(command.to)
        moved, kept, start = 0, 0, command.start
        for each in topic.subscriptions if to is None else []:
            dead = [m for m in topic.messages if each in m.stands and m.stands[each].state == "dead"]
            for message in sorted(dead, key=lambda m: (m.lane.number, m.sequence))[: command.max - moved]:
                stand = message.stands[each]
                stand.state, stand.due_ms = "ready", None
                is_waiting = topic.at(each, message.lane, "leased", "delayed")
                if message.group is not None and message.lane not in each.line and not is_waiting:
                    each.line.append(message.lane)
                moved += 1
        page = [each for each in topic.messages if each.sequence >= start]
        limit = command.max - moved
        for message in page[:limit]:
            start = message.sequence + 1
            if message.origin is not None:
                went = self.send_back(topic, message, to)
                moved, kept = moved + went, kept + (not went)
        return Redriven(moved, kept, None if len(page) < limit else start)

    def send_back(self, topic: Topic, message: Message, to: Topic | None) -> bool:
        assert message.origin is not None
        target = to or self.topics.get(message.origin.topic)
        leased = any(message.stands[each].state == "leased" for each in topic.living(message))
        if target is None or target is topic or leased:
            return False
        getting = target.subscriptions
        if to is None and len(getting) > 1:
            getting = [each for each in getting if each.name == message.origin.subscription]
        letter = self.copy(message, target, None)
        if not getting or not self.make_room(target, [letter.size_bytes()]):
            return False
        self.withdraw(topic, message)
        self.add(target, letter, 0, getting)
        return True
