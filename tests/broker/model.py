"""The queue as one would first write it: lists and loops, nothing kept up to date by halves.

The machine must answer as this does, command for command. It knows no SQLite, no hashes, no batches, no rows. What
docs/semantics.md leaves open and both must do alike:

- What is due is done before the command itself, a bounded number of things: leases that end first, by their end and
  then their age; then messages that come back after a delay or are tried for their dead-letter topic again, by time,
  subscription and lane; then messages that arrive or are over, by time and sequence. The bounds are the machine's.
- Acks and the like are worked on lease by lease, in the order in which the leases are first named.
- Of a command and all that is due with it, the first that finds a topic over its limit may drop more than it needs.
- What a deleted topic or subscription, or a purge, leaves behind is cleared up before the next command. The machine
  takes several commands for it when there is much, and each is then one thing less that it does when due; so logs that
  delete are compared under bounds that are never reached, and logs under small bounds do not delete (see `logs`).
"""

from __future__ import annotations

from collections.abc import Sequence

from app.broker import dedup, schedules, subscriptions
from app.broker.commands import (
    Acks,
    BadCommand,
    ChangeTopic,
    Command,
    CreateSubscription,
    CreateTopic,
    DeleteSchedule,
    DeleteSubscription,
    DeleteTopic,
    Fire,
    NewMessage,
    Once,
    Publish,
    Publishes,
    PublishKeyed,
    Purge,
    PutSchedule,
    Receive,
    Receives,
    Tick,
    decode,
)
from app.broker.results import (
    Fired,
    Published,
    PublishedEach,
    PublishedMessage,
    Purged,
    Refused,
    Result,
    ScheduleChanged,
    ScheduleCreated,
    ScheduleDeleted,
    SubscriptionCreated,
    SubscriptionDeleted,
    SubscriptionExists,
    Ticked,
    TopicChanged,
    TopicCreated,
    TopicDeleted,
    TopicExists,
)
from tests.broker.model_deliveries import Deliveries
from tests.broker.model_state import PLAIN, Message, Refusal, Schedule, Stand, Subscription, Topic


class Model(Deliveries):
    """`apply` takes a command and its stamp and gives a Result, or the code of a refusal. Its tokens are its own."""

    def apply(self, time_ms: int, data: bytes) -> Result | str:
        self.now_ms, self.may_drop_more = max(self.now_ms, time_ms), True
        try:
            command: Command | None = decode(data)
        except BadCommand:
            command = None
        self.pass_time(self.in_a_tick if isinstance(command, Tick) else self.beside)
        self.clear_up()
        return "bad_command" if command is None else self.do(command)

    def nothing(self, time_ms: int) -> None:
        """An entry that carries no command."""
        self.now_ms, self.may_drop_more = max(self.now_ms, time_ms), True
        self.pass_time(self.beside)
        self.clear_up()

    # --- topics and subscriptions

    def createtopic(self, command: CreateTopic) -> Result:
        check_name(command.name)
        if command.name in self.topics:
            return TopicExists(self.topics[command.name].settings == command.settings)
        first = Subscription(next(self.next.others), "default", 1)
        self.topics[command.name] = Topic(
            next(self.next.topics), command.name, command.settings, self.now_ms, [first]
        )  # fmt: skip
        return TopicCreated()

    def changetopic(self, command: ChangeTopic) -> Result:
        topic = self.topic(command.name)
        if command.version is not None and command.version != topic.version:
            raise Refusal("version_conflict")
        if command.change.of(topic.settings) != topic.settings:
            topic.settings = command.change.of(topic.settings)
            topic.version += 1
        return TopicChanged(topic.version)

    def deletetopic(self, command: DeleteTopic) -> Result:
        self.lose_leases(*self.topic(command.name).subscriptions)
        del self.topics[command.name]
        return TopicDeleted()

    def purge(self, command: Purge) -> Result:
        topic = self.topic(command.topic)
        answer = Purged(len(topic.messages))
        topic.messages, topic.lanes = [], []
        self.lose_leases(*topic.subscriptions)
        for each in topic.subscriptions:
            each.number, each.line = next(self.next.others), [PLAIN]
        return answer

    def lose_leases(self, *gone: Subscription) -> None:
        self.leases = [lease for lease in self.leases if lease.subscription not in gone]

    def createsubscription(self, command: CreateSubscription) -> Result:
        topic = self.topic(command.topic)
        check_name(command.name)
        if found := topic.subscription(command.name):
            return SubscriptionExists(found.start)
        if len(topic.subscriptions) + len(topic.gone) >= subscriptions.SLOTS:
            raise Refusal("too_many")
        asked = {"earliest": 1, "latest": topic.next_sequence}.get(str(command.start), command.start)
        assert isinstance(asked, int)
        new = Subscription(next(self.next.others), command.name, min(asked, topic.next_sequence))
        topic.subscriptions.append(new)
        for message in topic.messages:
            if message.sequence >= new.start:
                message.stands[new] = Stand("ready" if message.later_ms is None else "delayed")
        new.line += [lane for lane in topic.lanes if topic.at(new, lane, "ready")]
        return SubscriptionCreated(new.start)

    def deletesubscription(self, command: DeleteSubscription) -> Result:
        topic = self.topic(command.topic)
        found = topic.subscription(command.name)
        if found is None:
            raise Refusal("subscription_not_found")
        if len(topic.subscriptions) == 1:
            raise Refusal("last_subscription")
        topic.subscriptions.remove(found)
        topic.gone.append(found)
        self.lose_leases(found)
        return SubscriptionDeleted()

    def clear_up(self) -> None:
        for topic in self.topics.values():
            for gone in topic.gone:
                for message in list(topic.messages):
                    message.stands.pop(gone, None)
                    if not topic.living(message):
                        self.remove(topic, message)
            topic.gone = []

    # --- publish

    def publish(self, command: Publish | PublishKeyed) -> Result:
        (answer,) = self.together([command], self.may_drop_more)
        if isinstance(answer, str):
            raise Refusal(answer)
        return answer

    publishkeyed = publish

    def publish_one(self, command: Publish) -> Published:
        topic = self.topic(command.topic)
        owner = (topic.number, "publish", command.key)
        if command.key is not None and (claim := self.claims.find(self.now_ms, *owner)):
            if claim.fingerprint != command.fingerprint:
                raise Refusal("key_reused")
            assert isinstance(claim.answer, list)
            return Published([again(each) for each in claim.answer])
        if command.atomic:
            answers = self.publish_all(topic, command.messages)
        else:
            answers = []
            for new in command.messages:
                try:
                    answers += self.publish_all(topic, [new])
                except Refusal as refusal:
                    first = refusal.first
                    place = (first.id, first.sequence) if first else ("", 0)
                    answers.append(PublishedMessage(*place, code=refusal.code))
        if command.key is not None and any(each.code is None for each in answers):
            window_ms = topic.settings.dedup_window_ms
            self.claims.remember(self.now_ms, window_ms, command.fingerprint, answers, *owner)
        return Published(answers)

    def publishes(self, command: Publishes) -> Result:
        told = self.together(command.publishes, may_drop_more=True)
        return PublishedEach([Refused(each, "") if isinstance(each, str) else each for each in told])

    def together(self, publishes: Sequence[Publish | PublishKeyed], may_drop_more: bool) -> list[Published | str]:
        """Each for itself; what is plain claims its keys together."""
        told: list[Published | str] = []
        for each in publishes:
            self.may_drop_more = may_drop_more
            if self.is_plain(each):
                with self.claims.gathered(self.now_ms) as gathered:
                    told.append(self.one_of(each))
                    answer = told[-1]
                    gathered.wait = isinstance(answer, Published) and not any(one.code for one in answer.messages)
            else:
                self.claims.settle(self.now_ms)
                told.append(self.one_of(each))
        self.claims.settle(self.now_ms)
        return told

    def is_plain(self, command: Publish | PublishKeyed) -> bool:
        topic = self.topics.get(command.topic)
        if topic is None or topic.settings.overflow != "reject":
            return False
        if isinstance(command, Publish):
            new, keys = command.messages, [] if command.key is None else [command.key]
        else:
            new, keys = [each.message for each in command.messages], [each.key for each in command.messages]
        owners = [("publish", key) for key in keys]
        owners += [("message", message.dedup_id) for message in new if message.dedup_id is not None]
        return len(set(owners)) == len(owners) and not any(
            self.claims.is_known(topic.number, *owner) for owner in owners
        )

    def one_of(self, command: Publish | PublishKeyed) -> Published | str:
        try:
            if isinstance(command, Publish):
                return self.publish_one(command)
            self.topic(command.topic)
        except Refusal as refusal:
            return refusal.code
        answers: list[PublishedMessage] = []
        for each in command.messages:
            alone = self.one_of(Publish(command.topic, [each.message], each.key, each.fingerprint))
            if isinstance(alone, Published):
                answers += alone.messages
            else:
                answers.append(PublishedMessage("", 0, code=alone))
        return Published(answers)

    def publish_all(self, topic: Topic, news: Sequence[NewMessage]) -> list[PublishedMessage]:
        """All of them or none."""
        fresh: list[NewMessage] = []
        known: dict[str, PublishedMessage] = {}
        for new in news:
            check_message(topic, new)
            same = [each for each in fresh if new.dedup_id is not None and each.dedup_id == new.dedup_id]
            if same and content(same[0]) != content(new):
                raise Refusal("key_reused")
            if same:
                continue
            if new.dedup_id is not None:
                claim = self.claims.find(self.now_ms, topic.number, "message", new.dedup_id)
                if claim is not None and claim.fingerprint != content(new):
                    assert isinstance(claim.answer, PublishedMessage)
                    raise Refusal("key_reused", claim.answer)
                if claim is not None:
                    assert isinstance(claim.answer, PublishedMessage)
                    known[new.dedup_id] = claim.answer
                    continue
            fresh.append(new)
        composed = [self.compose(topic, new) for new in fresh]
        sizes, limits = [each.size_bytes() for each in composed], topic.settings
        if len(sizes) > (limits.max_messages or len(sizes)) or sum(sizes) > (limits.max_bytes or sum(sizes)):
            raise Refusal("invalid_message")
        if composed and not self.make_room(topic, sizes):
            raise Refusal("topic_full")
        answers = []
        for new in news:
            if new.dedup_id in known:
                answers.append(again(known[new.dedup_id]))
                continue
            message = composed.pop(0)
            message.id = next(self.next.messages)
            delay_ms = topic.settings.delay_ms if new.delay_ms is None else new.delay_ms
            self.add(topic, message, delay_ms, topic.subscriptions)
            answers.append(PublishedMessage(str(message.id), message.sequence))
            if new.dedup_id is not None:
                known[new.dedup_id] = answers[-1]
        for new, answer in zip(news, answers, strict=True):
            if new.dedup_id is not None and not answer.duplicate:
                owner = (topic.number, "message", new.dedup_id)
                self.claims.remember(self.now_ms, topic.settings.dedup_window_ms, content(new), answer, *owner)
        return answers

    def compose(self, topic: Topic, new: NewMessage) -> Message:
        ttl_ms = topic.settings.ttl_ms if new.ttl_ms is None else new.ttl_ms
        expires_ms = None if ttl_ms is None else self.now_ms + ttl_ms
        return Message(
            0, 0, new.body, new.binary, new.headers, new.group, new.priority, self.now_ms, expires_ms
        )  # fmt: skip

    # --- schedules, and the rest

    def putschedule(self, command: PutSchedule) -> Result:
        topic = self.topic(command.topic)
        check_name(command.name)
        check_message(topic, command.message)
        for each in topic.schedules:
            if each.put.name == command.name:
                each.put, each.next_ms = command, command.next_ms
                return ScheduleChanged()
        if len(topic.schedules) >= schedules.SCHEDULES_MAX:
            raise Refusal("too_many")
        topic.schedules.append(Schedule(next(self.next.others), command, command.next_ms))
        return ScheduleCreated()

    def deleteschedule(self, command: DeleteSchedule) -> Result:
        topic = self.topic(command.topic)
        found = [each for each in topic.schedules if each.put.name == command.name]
        if not found:
            raise Refusal("schedule_not_found")
        topic.schedules.remove(found[0])
        return ScheduleDeleted()

    def fire(self, command: Fire) -> Result:
        for topic in self.topics.values():
            for schedule in topic.schedules:
                if schedule.number == command.schedule and schedule.next_ms == command.tick_ms:
                    put = schedule.put.message
                    headers = {**(put.headers or {}), "rmq-tick": command.tick}
                    new = NewMessage(
                        put.body, put.binary, headers, put.group, None, put.delay_ms, put.ttl_ms, put.priority
                    )
                    try:
                        self.publish_all(topic, [new])
                    except Refusal:
                        return Fired(False)
                    schedule.next_ms = command.next_ms
                    return Fired(True)
        return Fired(False)

    def tick(self, command: Tick) -> Result:
        return Ticked()

    def once(self, command: Once) -> Result | str:
        if claim := self.claims.find(self.now_ms, "once", command.key):
            if claim.fingerprint != command.fingerprint:
                raise Refusal("key_reused")
            return claim.answer  # type: ignore[return-value]
        try:
            inner = decode(command.command)
        except BadCommand:
            raise Refusal("bad_command") from None
        if isinstance(inner, Once | Publish | PublishKeyed | Publishes | Receive | Receives | Acks):
            raise Refusal("bad_command")
        answer = self.do(inner)
        if not isinstance(answer, str):
            self.claims.remember(self.now_ms, dedup.ONCE_WINDOW_MS, command.fingerprint, answer, "once", command.key)
        return answer


def check_name(name: str) -> None:
    if not 1 <= len(name) <= 512 or "\0" in name:
        raise Refusal("bad_command")


def check_message(topic: Topic, new: NewMessage) -> None:
    if new.group is not None and (new.delay_ms or new.priority):
        raise Refusal("invalid_message")
    if new.priority and not topic.settings.priorities:
        raise Refusal("invalid_message")


def content(new: NewMessage) -> object:
    return new.body, new.binary, new.headers, new.group, new.priority


def again(first: PublishedMessage) -> PublishedMessage:
    return first if first.code else PublishedMessage(first.id, first.sequence, True)
