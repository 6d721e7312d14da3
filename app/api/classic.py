"""The classic routes: create, list, publish, consume and status, as simple REST queues have them.

Rules of this file: a body is exactly `{"success": …}` with what the table of the routes allows, to the byte;
all else goes into headers (RMQ-Code, RMQ-Detail, RMQ-Outcome, RMQ-Message-Id, RMQ-Sequence, RMQ-Leader).
Every request is answered within `classic_timeout_ms` of its arrival, with 503 or 504 if need be. A request
without a key is never sent twice.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from app.api import schemas
from app.api.bodies import BodyDecoder, check_text, read_body, require_json
from app.api.calls import JSON, NO_STORE, Answer, Call, Header
from app.api.metrics import Meters
from app.api.operations import BODY, FAILED, WRITES, Json, Operation, answer, body, content, header, parameter, ref
from app.api.params import is_topic, key_of, request_id_of
from app.api.problems import CODES, Problem
from app.api.queue import Queue, all_topics
from app.broker import results
from app.broker.commands import CreateTopic, NewMessage, Receive, TopicSettings

if TYPE_CHECKING:
    from app.config import Settings
    from app.node.service import Node
    from app.node.status import NodeStatus

SUCCESS = b'{"success": true}'
FAILURE = b'{"success": false}'
_FOUND = b'{"success": true, "message": %s}'
_SUCCEEDED = Answer(200, SUCCESS)

_topic_body = BodyDecoder(schemas.ClassicTopic)
_message_body = BodyDecoder(schemas.ClassicMessage)


def refusal(problem: Problem) -> Answer:
    """A refusal in the classic form: the body says that it failed, headers say why."""
    code = problem.code.encode()
    detail = "".join(letter if " " <= letter <= "~" else "?" for letter in problem.detail).encode()
    headers = (
        JSON, NO_STORE, (b"rmq-code", code), (b"rmq-detail", detail), (b"rmq-outcome", problem.outcome.encode()),
        *problem.headers,
    )  # fmt: skip
    return Answer(CODES[problem.code].status, FAILURE, headers)


class Classic:
    """The five routes over one node."""

    def __init__(self, node: Node, queue: Queue, settings: Settings, meters: Meters) -> None:
        self._node = node
        self._meters = meters
        self._queue = queue
        self._strict = settings.classic_strict
        self._dedup_window_s = settings.dedup_window_s
        self._limit_bytes = settings.body_limit_bytes
        self._timeout_s = settings.classic_timeout_ms / 1000

    async def create_topic(self, call: Call) -> Answer:
        """PUT /topic."""
        self._require_leader()
        require_json(call, lenient=True)
        topic = _topic_body.decode(await read_body(call, self._limit_bytes)).topic
        if not is_topic(topic):
            raise Problem("invalid_topic", CODES["invalid_topic"].example)
        command = CreateTopic(topic, TopicSettings(dedup_window_ms=self._dedup_window_s * 1000))
        result = await self._queue.change(command, None, self._timeout_s, grows=True)
        if isinstance(result, results.TopicExists):
            raise Problem("topic_taken", CODES["topic_taken"].example)
        return _SUCCEEDED

    async def list_topics(self, call: Call) -> Answer:
        """GET /topic."""
        if not self._strict:
            await self._node.read_barrier(timeout_s=self._timeout_s)
        names = [topic.name for topic in all_topics(self._node.machine)]
        return Answer(200, b'{"success": true, "topics": [%s]}' % b", ".join(b'"%s"' % name.encode() for name in names))

    async def publish(self, call: Call) -> Answer:
        """PUT /message."""
        self._require_leader()
        require_json(call, lenient=True)
        sent = _message_body.decode(await read_body(call, self._limit_bytes))
        message = NewMessage(check_text(sent.message, "message"))
        if not is_topic(sent.topic):
            raise Problem("topic_not_found", f"There can be none of that name. {CODES['invalid_topic'].example}")
        run = await self._queue.publish_one(sent.topic, message, key_of(call), self._timeout_s)
        self._meters.count_published(sent.topic, not run.duplicate)
        headers = (JSON, *_place(str(run.first_id), run.first_sequence))
        return Answer(200, SUCCESS, (*headers, (b"rmq-duplicate", b"true")) if run.duplicate else headers)

    async def consume(self, call: Call) -> Answer:
        """GET /message/{topic}."""
        self._require_leader()
        key, (topic,) = request_id_of(call), call.parameters
        try:
            received = await self._queue.receive(Receive(topic, key=key, final=True), self._timeout_s)
        except Problem as problem:
            if problem.code not in ("topic_not_found", "subscription_not_found"):
                raise
            return Answer(200, FAILURE, (JSON, NO_STORE, (b"rmq-code", problem.code.encode())))
        if not received.messages:
            return Answer(200, FAILURE, (JSON, NO_STORE, (b"rmq-code", b"topic_empty")))
        self._meters.count_consumed(topic, 1)
        message = received.messages[0]
        headers = (JSON, NO_STORE, *_place(message.id, message.sequence))
        if message.binary:
            body = b'"%s"' % base64.b64encode(message.body)
            return Answer(200, _FOUND % body, (*headers, (b"rmq-body-encoding", b"base64")))
        return Answer(200, _FOUND % message.body, headers)

    async def status(self, call: Call) -> Answer:
        """GET /status."""
        return Answer(200, msgspec.json.encode(status_of(self._node.status())), (JSON, NO_STORE))

    def _require_leader(self) -> None:
        if self._strict and self._node.leader_id() != self._node.id:
            url = self._node.leader_url()
            leader: tuple[Header, ...] = ((b"rmq-leader", url.encode("ascii", "replace")),) if url else ()
            raise Problem("not_leader", CODES["not_leader"].example, headers=leader)

    def operations(self) -> list[Operation]:
        """The routes, in the order of the documentation."""
        return [self._create(), self._list(), self._publish(), self._consume(), self._status()]

    def _create(self) -> Operation:
        return Operation(
            method="PUT", path="/topic", name="classic_create_topic", tag="classic", classic=True,
            summary="Create a topic",
            description="Exactly one of several concurrent creations of a topic succeeds. Names are case-sensitive.",
            handler=self.create_topic,
            body=body(ref(schemas.ClassicTopic), {"A topic": {"topic": "orders"}}),
            answers={200: answer("The topic was created", ref(schemas.Success), {"Created": {"success": True}})},
            errors=("topic_taken", "invalid_topic", "not_leader", *BODY, *WRITES, "disk_full"),
        )  # fmt: skip

    def _list(self) -> Operation:
        return Operation(
            method="GET", path="/topic", name="classic_list_topics", tag="classic", classic=True,
            summary="List all topics", description="In the order of their creation.",
            handler=self.list_topics, errors=("no_quorum", "shutting_down"),
            answers={
                200: answer(
                    "The topics", ref(schemas.ClassicTopics),
                    {"Two topics": {"success": True, "topics": ["orders", "mails"]}},
                )
            },
        )  # fmt: skip

    def _publish(self) -> Operation:
        return Operation(
            method="PUT", path="/message", name="classic_publish", tag="classic", classic=True, hot=True,
            summary="Publish a message",
            description="An empty message is a message; equal messages are kept apart.",
            handler=self.publish, parameters=(_KEY,),
            body=body(ref(schemas.ClassicMessage), {"A message": {"topic": "orders", "message": "one coffee"}}),
            answers={
                200: answer(
                    "The message is on the disks of a majority", ref(schemas.Success),
                    {"Published": {"success": True}}, _PLACE_HEADERS,
                )
            },
            errors=(
                *BODY, "invalid_header", "not_leader", "topic_not_found", "key_reused", "invalid_message", "topic_full",
                *WRITES, "disk_full",
            ),
        )  # fmt: skip

    def _consume(self) -> Operation:
        found: Json = {
            "type": "object", "required": ["success", "message"], "additionalProperties": False,
            "properties": {"success": {"const": True}, "message": {"description": "The message"}},
        }  # fmt: skip
        missing: Json = {
            "type": "object", "required": ["success"], "additionalProperties": False,
            "properties": {"success": {"const": False}},
        }  # fmt: skip
        examples = {"The oldest message": {"success": True, "message": "one coffee"}, "Empty or no such topic": FAILED}
        return Operation(
            method="GET", path="/message/{topic:path}", name="classic_consume", tag="classic", classic=True, hot=True,
            summary="Take the oldest message",
            description=(
                "The message is removed. With a request id, a retry returns the same message again. A message that "
                "was published as another JSON value than a text is returned as that value, one that was published as "
                "bytes in base64, with the header RMQ-Body-Encoding. What is leased by others is not handed out."
            ),
            handler=self.consume,
            parameters=(
                parameter("topic", "path", "The topic's name", {"type": "string"}, "orders"), _KEY,
                parameter("X-Request-Id", "header", "The same, for clients that send this one", _KEY["schema"]),
            ),
            answers={
                200: {
                    "description": "The oldest message, or none",
                    "content": content({"oneOf": [found, missing]}, examples),
                    "headers": {
                        **_PLACE_HEADERS,
                        "RMQ-Code": header("`topic_empty`, `topic_not_found` or `subscription_not_found`"),
                        "RMQ-Body-Encoding": header("`base64`, where the message is bytes"),
                    },
                }
            },
            errors=("invalid_header", "not_leader", *WRITES),
        )  # fmt: skip

    def _status(self) -> Operation:
        example = schemas.Status(
            role="Leader", term=3, node=0, leader=0, last_log_index=1204, commit_index=1204, applied_index=1204,
            state_hash="9f2c41d07ab35e8843c3ce1313ef2ab6", state_hash_index=1204, pid=4711, version="0.1.0",
        )  # fmt: skip
        return Operation(
            method="GET", path="/status", name="classic_status", tag="classic", classic=True,
            summary="The node's role and positions", description="Answered by this node alone, at any time.",
            handler=self.status,
            answers={200: answer("The status", ref(schemas.Status), {"A leader": msgspec.to_builtins(example)})},
        )  # fmt: skip


_KEY = parameter(
    "Idempotency-Key", "header", "A key chosen by the client: a retry with it gets the first answer again",
    schemas.KEY_SCHEMA,
)  # fmt: skip
_PLACE_HEADERS: Json = {
    "RMQ-Message-Id": header("The message's id"),
    "RMQ-Sequence": header("The message's place in its topic", {"type": "integer"}),
}


def _place(message_id: str, sequence: int) -> tuple[Header, Header]:
    return (b"rmq-message-id", message_id.encode()), (b"rmq-sequence", b"%d" % sequence)


def status_of(status: NodeStatus) -> schemas.Status:
    """A node's status in the classic form."""
    return schemas.Status(**{name: getattr(status, name) for name in schemas.Status.__struct_fields__})
