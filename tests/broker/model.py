"""The queue as one would first write it: lists and loops, nothing kept up to date by halves.

The machine must answer as this does, command for command. It knows no SQLite, no hashes and no batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from app.broker import dedup, receive, topics
from app.broker.commands import (
    BadCommand,
    CreateTopic,
    DeleteTopic,
    NewMessage,
    Publish,
    Receive,
    TopicSettings,
    decode,
)
from app.broker.item import Item
from app.broker.results import (
    Published,
    PublishedMessage,
    Received,
    ReceivedMessage,
    Refused,
    Result,
    TopicCreated,
    TopicDeleted,
    TopicExists,
)
from app.broker.results import encode as encode_result


@dataclass
class ModelTopic:
    id: int
    settings: TopicSettings
    next_sequence: int = 1
    waiting: list[ReceivedMessage] = field(default_factory=list)


@dataclass
class ModelClaim:
    owner: tuple[int, str, str]
    fingerprint: bytes
    expires_ms: int
    size_bytes: int
    answer: Result


class Model:
    """`apply` takes one item and gives a Result, None, or the code of a refusal."""

    def __init__(self) -> None:
        self.time_ms = 0
        self.applied_index = 0
        self.configuration: bytes | None = None
        self.next_topic = self.next_message = 1
        self.topics: dict[str, ModelTopic] = {}
        self.claims: list[ModelClaim] = []

    def apply(self, item: Item) -> Result | str | None:
        self.applied_index = item.index
        self.time_ms = max(self.time_ms, item.time_ms)
        if item.configuration is not None:
            self.configuration = item.configuration
        if item.command is None:
            return None
        try:
            command = decode(item.command)
        except BadCommand:
            return "bad_command"
        match command:
            case CreateTopic():
                return self.create(command)
            case DeleteTopic():
                return TopicDeleted() if self.topics.pop(command.name, None) else "topic_not_found"
            case Publish():
                return self.publish(command)
            case Receive():
                return self.receive(command)

    def create(self, command: CreateTopic) -> Result | str:
        if not 1 <= len(command.name) <= topics.NAME_LENGTH_MAX or "\0" in command.name:
            return "bad_command"
        if command.name in self.topics:
            return TopicExists(self.topics[command.name].settings == command.settings)
        if command.settings != TopicSettings(dedup_window_ms=command.settings.dedup_window_ms):
            return "not_supported"
        self.topics[command.name] = ModelTopic(self.next_topic, command.settings)
        self.next_topic += 1
        return TopicCreated()

    def publish(self, command: Publish) -> Result | str:
        topic = self.topics.get(command.topic)
        if topic is None:
            return "topic_not_found"
        plain = [NewMessage(m.body, m.binary, m.headers) for m in command.messages]
        if plain != command.messages:
            return "not_supported"
        owner = (topic.id, "publish", command.key or "")
        if command.key is not None and (claim := self.find(owner)) is not None:
            if claim.fingerprint != command.fingerprint:
                return "key_reused"
            assert isinstance(claim.answer, Published)
            return Published([PublishedMessage(m.id, m.sequence, True) for m in claim.answer.messages])
        answer = Published([])
        for message in command.messages:
            id, sequence = str(self.next_message), topic.next_sequence
            self.next_message += 1
            topic.next_sequence += 1
            topic.waiting.append(
                ReceivedMessage(id, sequence, message.body, message.binary, message.headers, self.time_ms)
            )
            answer.messages.append(PublishedMessage(id, sequence))
        if command.key is not None:
            first = answer.messages[0]
            run = [int(first.id), first.sequence, len(answer.messages)]
            self.remember(topic, owner, command.fingerprint, answer, len(encode_result(run)))
        return answer

    def receive(self, command: Receive) -> Result | str:
        if not command.auto_ack or command.subscription != "default":
            return "not_supported"
        topic = self.topics.get(command.topic)
        if topic is None:
            return "topic_not_found"
        owner = (topic.id, "receive", command.key or "")
        fingerprint = str(command.max).encode()
        if command.key is not None and (claim := self.find(owner)) is not None:
            return claim.answer if claim.fingerprint == fingerprint else "key_reused"
        taken: list[ReceivedMessage] = []
        while topic.waiting and len(taken) < command.max:
            size = sum(len(message.body) for message in [*taken, topic.waiting[0]])
            if taken and size > receive.RECEIVE_BYTES:
                break
            taken.append(topic.waiting.pop(0))
        if command.key is not None and (taken or command.final):
            self.remember(topic, owner, fingerprint, Received(taken), len(encode_result(Received(taken))))
        return Received(taken)

    def find(self, owner: tuple[int, str, str]) -> ModelClaim | None:
        for claim in self.claims:
            if claim.owner == owner:
                if claim.expires_ms > self.time_ms:
                    return claim
                self.claims.remove(claim)
                return None
        return None

    def remember(
        self, topic: ModelTopic, owner: tuple[int, str, str], fingerprint: bytes, answer: Result, answer_bytes: int
    ) -> None:
        size = answer_bytes + len(fingerprint) + len(owner[2])
        expires_ms = self.time_ms + topic.settings.dedup_window_ms
        self.claims.append(ModelClaim(owner, fingerprint, expires_ms, size, answer))
        for _ in range(dedup.SWEEP_ROWS):
            too_many = len(self.claims) > dedup.CLAIMS_MAX
            too_large = sum(claim.size_bytes for claim in self.claims) > dedup.CLAIMS_BYTES_MAX
            expired = bool(self.claims) and self.claims[0].expires_ms <= self.time_ms
            if too_many or too_large or expired:
                self.claims.pop(0)


def comparable(answer: Result | None) -> Result | str | None:
    """A machine's answer in the model's terms: of a refusal only its code counts."""
    return answer.code if isinstance(answer, Refused) else answer
