"""The model's half that hands messages out and takes them back: receive, ack, nack, extend, and the passing of time."""

from __future__ import annotations

from collections.abc import Callable

from app.broker import choice
from app.broker.commands import Ack, Acks, Extend, Nack, Receive, Receives
from app.broker.results import Each, Received, ReceivedMessage, Refused, Result, Settled, encode
from tests.broker.model_places import Places
from tests.broker.model_state import PLAIN, Item, Lane, Lease, Message, Refusal, Subscription, Token, Topic


class Deliveries(Places):
    """Who has what, and for how long."""

    def receive(self, command: Receive) -> Result:
        self.room_bytes, self.skips = choice.RECEIVE_BYTES, choice.SKIPS_MAX
        return self.receive_within(command)

    def receive_within(self, command: Receive) -> Result:
        """With what is left of what one command may do."""
        topic = self.topic(command.topic)
        subscription = topic.subscription(command.subscription)
        if subscription is None:
            raise Refusal("subscription_not_found")
        owner = (topic.number, "receive", command.key)
        asked = (command.subscription, command.max, command.auto_ack, command.lease_ms)
        if command.key is not None and (claim := self.claims.find(self.now_ms, *owner)):
            if claim.fingerprint != asked:
                raise Refusal("key_reused")
            assert isinstance(claim.answer, Received)
            if command.auto_ack and claim.answer.messages:
                self.room_bytes -= len(encode(claim.answer))
            else:
                tokens = [self.tokens[str(each.token)] for each in claim.answer.messages]
                self.room_bytes -= sum(each.message.size_bytes() for each in tokens)
            again = claim.answer if command.auto_ack else self.undone(subscription, claim.answer)
            return again if again.messages else Received([], final=True)
        answer = self.hand_out(topic, subscription, command)
        if command.key is not None and (answer.messages or command.final) and not answer.more:
            self.claims.remember(self.now_ms, topic.settings.dedup_window_ms, asked, answer, *owner)
        return answer

    def receives(self, command: Receives) -> Result:
        answers = []
        self.room_bytes, self.skips = choice.RECEIVE_BYTES, choice.SKIPS_MAX
        for each in command.receives:
            topic = self.topics.get(each.topic)
            is_place = topic is not None and topic.subscription(each.subscription) is not None
            if is_place and (self.room_bytes <= 0 or self.skips <= 0):
                answers.append(encode(Received([], more=True)))
                continue
            try:
                answers.append(encode(self.receive_within(each)))
            except Refusal as refusal:
                answers.append(encode(Refused(refusal.code, "")))
        return Each(answers)

    def acks(self, command: Acks) -> Result:
        return Each([encode_outcome(self.do(each)) for each in command.acks])

    def undone(self, subscription: Subscription, answer: Received) -> Received:
        """Of what was leased then, as it is now, that which the subscription is not done with."""
        left = Received([])
        for each in answer.messages:
            token = self.tokens[str(each.token)]
            if token.holder == subscription.number and subscription in token.message.stands:
                left.messages.append(received(token.message, each.deliveries, each.token, each.lease_expires_ms))
        return left

    def hand_out(self, topic: Topic, subscription: Subscription, command: Receive) -> Received:
        chosen: list[tuple[Message, int]] = []
        plain_is_empty = False
        if topic.counts(subscription)["ready"] == 0:
            return Received([])
        while len(chosen) < command.max and self.skips > 0:
            lane = next((each for each in subscription.line if each is not PLAIN or not plain_is_empty), None)
            if lane is None:
                break
            message = self.first(topic, subscription, lane)
            while message is not None and self.is_over(message) and self.skips > 0:
                self.finish(topic, subscription, message, "lost")
                message = self.first(topic, subscription, lane)
                self.skips -= 1
            if self.skips <= 0:
                message = None
            if message is not None and chosen and message.size_bytes() > self.room_bytes:
                break
            subscription.line.remove(lane)
            if message is not None:
                stand = message.stands[subscription]
                stand.state, stand.deliveries = "leased", stand.deliveries + 1
                chosen.append((message, stand.deliveries))
                self.room_bytes -= message.size_bytes()
                if command.auto_ack:
                    self.finish(topic, subscription, message, "acked")
            if lane is PLAIN:
                plain_is_empty = message is None
                subscription.line.append(PLAIN)
            elif message is None or command.auto_ack:
                self.release(topic, subscription, lane)
        if command.auto_ack or not chosen:
            return Received([received(*each) for each in chosen], more=not chosen and self.skips <= 0)
        lease_ms = topic.settings.lease_ms if command.lease_ms is None else command.lease_ms
        due_ms = self.now_ms + lease_ms
        lease = Lease(next(self.next.leases), topic, subscription, [Item(*each, due_ms) for each in chosen])
        self.leases.append(lease)
        answer = Received([])
        for message, deliveries in chosen:
            text = f"token {len(self.tokens)}"
            self.tokens[text] = Token(subscription.number, lease, message, deliveries)
            answer.messages.append(received(message, deliveries, text, due_ms))
        return answer

    def has_something(self, topic: Topic, subscription: Subscription) -> bool:
        """Whether a message can be handed out now."""
        return any(topic.at(subscription, lane, "ready") for lane in subscription.line)

    def first(self, topic: Topic, subscription: Subscription, lane: Lane) -> Message | None:
        """What is to be handed out first of those that stand there: the highest priority, then the oldest."""
        return min(topic.at(subscription, lane, "ready"), key=lambda each: -each.lane.number, default=None)

    # --- ack, nack, extend

    def ack(self, command: Ack) -> Result:
        def done(lease: Lease, item: Item) -> None:
            lease.items.remove(item)
            self.finish(lease.topic, lease.subscription, item.message, "acked")
            self.after(lease, item)

        return self.settle(command, done, "acked")

    def nack(self, command: Nack) -> Result:
        def back(lease: Lease, item: Item) -> None:
            lease.items.remove(item)
            self.give_back(lease, item, command.delay_ms, nacked=True)

        return self.settle(command, back, "nacked")

    def extend(self, command: Extend) -> Result:
        def longer(lease: Lease, item: Item) -> None:
            lease.items.remove(item)
            item.due_ms = self.now_ms + command.lease_ms
            lease.items.append(item)

        return self.settle(command, longer, None)

    def settle(
        self, command: Ack | Nack | Extend, handle: Callable[[Lease, Item], None], again_after: str | None
    ) -> Result:
        """`again_after`: how the delivery must have ended for the token to succeed once more."""
        topic = self.topic(command.topic)
        codes: list[str | None] = ["bad_token"] * len(command.tokens)
        asked = [(place, self.tokens[text]) for place, text in enumerate(command.tokens) if text in self.tokens]
        for lease in dict.fromkeys(token.lease for _, token in asked):
            items = {(item.message, item.deliveries): item for item in lease.items}
            late = []
            for place, token in [each for each in asked if each[1].lease is lease]:
                item = items.get((token.message, token.deliveries))
                if token.holder not in [each.number for each in topic.subscriptions]:
                    codes[place] = "lease_lost"
                elif item is None:
                    late.append((place, token))
                else:
                    codes[place] = None
                    if item in lease.items and place == min(p for p, t in asked if t == token):
                        handle(lease, item)
            for place, token in late:
                is_done = again_after is not None and self.how(lease, token) == again_after
                is_done = is_done or (again_after == "acked" and self.ack_late(lease, token))
                codes[place] = None if is_done else "lease_lost"
            self.forget_empty()
        return Settled(codes)

    def ack_late(self, lease: Lease, token: Token) -> bool:
        """Its lease ran out, and nobody was given the message since: then it is done. Whether it was so."""
        topic, subscription, message = lease.topic, lease.subscription, token.message
        stand = message.stands.get(subscription)
        if stand is None or (stand.state, stand.deliveries, stand.nacked) != ("ready", token.deliveries, False):
            return False
        if self.is_over(message):
            return False
        self.finish(topic, subscription, message, "acked")
        if message.group is not None:
            self.shrink(topic, subscription, message.lane)
        return True

    def how(self, lease: Lease, token: Token) -> object:
        """How the delivery of this token ended; None if the message is not done and was not just given back so."""
        stand = token.message.stands.get(lease.subscription)
        if stand is not None:
            is_back = stand.state in ("ready", "delayed", "dead")
            return "nacked" if is_back and stand.nacked and stand.deliveries == token.deliveries else None
        claim = self.claims.find(
            self.now_ms, lease.topic.number, "ended", lease.subscription.number, token.message.sequence
        )  # fmt: skip
        if claim is None:
            return "acked" if token.deliveries == 1 else "lost"
        return claim.answer if claim.fingerprint == token.deliveries else "lost"

    def give_back(self, lease: Lease, item: Item, delay_ms: int, *, nacked: bool) -> None:
        topic, subscription, message = lease.topic, lease.subscription, item.message
        stand, limit = message.stands[subscription], topic.settings.max_deliveries
        stand.nacked, stand.due_ms = nacked, None
        if self.is_over(message):
            self.finish(topic, subscription, message, "nacked" if nacked else "lost")
        elif limit is not None and item.deliveries % limit == 0:
            self.bury(topic, subscription, message)
        elif delay_ms:
            stand.state, stand.due_ms = "delayed", self.now_ms + delay_ms
            return
        else:
            stand.state = "ready"
        self.after(lease, item)

    def after(self, lease: Lease, item: Item) -> None:
        if item.message.group is not None:
            self.release(lease.topic, lease.subscription, item.message.lane)

    def forget_empty(self) -> None:
        self.leases = [lease for lease in self.leases if lease.items]

    # --- time

    def pass_time(self, budget: int) -> None:
        while budget > 0 and (due := self.due()):
            budget -= min(due, key=lambda each: each[0])[1](budget)

    def due(self, until_ms: int | None = None) -> list[tuple[tuple[int, ...], Callable[[int], int]]]:
        """All that is due: what decides the order, and what does it and says how many things that was."""
        until_ms = self.now_ms if until_ms is None else until_ms
        found: list[tuple[tuple[int, ...], Callable[[int], int]]] = []
        for lease in self.leases:
            if lease.due_ms() <= until_ms:
                found.append(((0, lease.due_ms(), lease.number), lambda budget, lease=lease: self.end(lease, budget)))
        for topic in self.topics.values():
            for message in topic.messages:
                found += self.due_of(topic, message, until_ms)
        return found

    def due_of(
        self, topic: Topic, message: Message, until_ms: int
    ) -> list[tuple[tuple[int, ...], Callable[[int], int]]]:
        found: list[tuple[tuple[int, ...], Callable[[int], int]]] = []
        for each, stand in message.stands.items():
            if stand.due_ms is not None and stand.due_ms <= until_ms and each in topic.subscriptions:
                place = (1, stand.due_ms, each.number, stand.state == "dead", message.lane.number, message.sequence)
                found.append((place, lambda _, each=each: self.back(topic, each, message)))
        time_ms = None if message.expired else message.expires_ms
        if message.later_ms is not None:
            time_ms = message.later_ms
        if time_ms is not None and time_ms <= until_ms:
            found.append(((2, time_ms, message.sequence, message.id), lambda _: self.come(topic, message)))
        return found

    def next_due_ms(self) -> int:
        """When something is due next."""
        return min((place[1] for place, _ in self.due(1 << 60)), default=1 << 62)

    def end(self, lease: Lease, budget: int) -> int:
        over = [item for item in lease.items if item.due_ms <= self.now_ms][:budget]
        lease.items = [item for item in lease.items if item not in over]
        for item in over:
            self.give_back(lease, item, 0, nacked=False)
        self.forget_empty()
        return len(over)

    def back(self, topic: Topic, subscription: Subscription, message: Message) -> int:
        stand = message.stands[subscription]
        if stand.state == "dead":
            self.bury(topic, subscription, message)
            return 1
        stand.state, stand.due_ms = "ready", None
        if message.group is not None:
            self.release(topic, subscription, message.lane)
        return 1

    def come(self, topic: Topic, message: Message) -> int:
        if message.later_ms is not None:
            self.arrive(topic, message)
        else:
            message.expired = True
            self.withdraw(topic, message)
        return 1


def encode_outcome(outcome: Result | str) -> bytes:
    """As a part of an Each."""
    return encode(Refused(outcome, "") if isinstance(outcome, str) else outcome)


def received(message: Message, deliveries: int, token: str | None = None, due_ms: int | None = None) -> ReceivedMessage:
    return ReceivedMessage(
        str(message.id), message.sequence, message.body, message.binary, message.headers, message.published_ms,
        deliveries, message.group, token, due_ms, message.priority, message.origin,
    )  # fmt: skip
