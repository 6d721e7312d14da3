"""The client's side of a session, without a socket: what is said, what is answered, and what to say again.

Theory: what the caller wants waits in line until the connection can take it; neighbours that want the same go in one
frame, so the busier the caller, the fewer the frames. Until a frame is answered, what it said is remembered; when the
connection is lost, all of that goes back to the head of the line, first things first. That is safe: every message has a
dedup_id, and an ack may be repeated. What had been delivered and not acked comes again from the node, as to anybody,
and what of it still waits here for the program is dropped, lest it be worked on twice; only what was acked without
success is known here, acked again when it comes, and not given to the caller twice.

A node refuses a frame whole where one message of it is malformed. So who goes together is surely well formed; a message
of which this is not sure goes in a frame of its own, for the node to judge. Nothing is sent a second time for it, so
that what is published to a topic keeps its order.

A node ends a connection on which a frame is larger than it takes, so one that is never goes out: the hello of a
connection says how large one may be, and nothing is sent before it.

Rules of this file: it sends nothing and waits for nothing; the caller sees to it that one thread at a time is here.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rmq import errors
from rmq.calls import How, encode, name_in_path, new_key, token_of
from rmq.messages import Message, NewMessage, Published, message_of

SUBPROTOCOL = "rmq.v1"
PATH = "/v1/session"
FRAME_MESSAGES, FRAME_BYTES = 500, 256 << 10
"""In one frame of ours, unless a message alone is larger."""
FRAMES_UNANSWERED = 4
"""Above it, what is to be said gathers in line: fewer and larger frames cost both sides less."""
FRAME_BYTES_MAX = 2 << 20
"""A node's frames are smaller."""
HEAD_BYTES = 256
"""What a frame of ours says beside its list is less."""
DONE_MAX = 10_000
HEADERS_MAX, HEADER_LENGTH_MAX, SPAN_MAX_S, PRIORITY_MAX = 32, 1024, 31_622_400, 9
"""A node's: a message beyond them is for it to refuse."""
_VISIBLE, _HEADER_NAME = re.compile(r"[!-~]{1,128}"), re.compile(r"[A-Za-z0-9._-]{1,64}")
DIGITS_MAX = 308
"""A number of more is beyond a double."""
DEPTH_MAX = 950
"""A node cannot read a frame with much more, not even whose it is, and the session would end."""
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_MANY_DIGITS, _SAME_DIGIT, _STRIDE = re.compile(rb"[0-9]{309}"), bytes.maketrans(b"123456789", b"000000000"), 34
_AT_EACH_STRIDE = b"0" * ((DIGITS_MAX + 1) // _STRIDE)
"""As many digits, seen at every `_STRIDE`-th byte: a fast look that tells nearly all."""

Wish = tuple[str, ...]
"""What neighbours must have in common to go in one frame: op, topic, and what else the frame says once."""


class Said(NamedTuple):
    """Something that the caller wants. `parts`: what goes into the frame's list, encoded. `done`: called once with this
    one's results, or with an Error. `alone`: it may be malformed, and goes with nobody."""

    wish: Wish
    parts: Sequence[bytes]
    done: Callable[[Any], None]
    alone: bool = False


class Subscribed(NamedTuple):
    """A consumer. `deliver` is called with each message; `drop` when those that the program has not been handed yet are
    not for it any more; `failed` when it is over."""

    frame: dict[str, Any]
    deliver: Callable[[Message], None]
    drop: Callable[[], None]
    failed: Callable[[errors.Error], None]


class Talk:
    """One session, over as many connections as it takes."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._line: deque[Said] = deque()
        self._frames: deque[bytes] = deque()
        """Of consumers: they go before what is in line."""
        self._sent: dict[int, list[Said]] = {}
        self._consumers: dict[int, Subscribed] = {}
        self._done: dict[tuple[str, str], None] = {}
        """Messages (topic, sequence) whose ack was said and has not succeeded, the oldest first."""
        self._failure: errors.Error | None = None
        self._frame_bytes_max: int | None = None
        """Of this connection's node; None until its hello."""
        self.unanswered = 0
        """What waits in line, or for its answer."""
        self.is_of_use = False
        """Whether this connection has answered or delivered anything."""

    # -- what the caller wants -------------------------------------------------------------------------------

    def publish(self, topic: str, message: NewMessage, done: Callable[[Published | errors.Error], None]) -> None:
        """Store a message; `done` gets its place. Raises TypeError or ValueError for what cannot be said."""
        _check_topic(topic)
        said = message.to_json()
        said.setdefault("dedup_id", new_key())

        def answered(found: Any) -> None:
            place = found if isinstance(found, errors.Error) else _place(found[0])
            if isinstance(place, errors.Error):
                self._fail(place)
            done(place)

        part = encode(said)
        if part.count(b"[") + part.count(b"{") > DEPTH_MAX and _depth(part) > DEPTH_MAX:
            raise ValueError(f"this cannot be sent in a session: it is nested deeper than {DEPTH_MAX} levels")
        self._say(Said(("publish", topic, '"atomic":false'), [part], answered, alone=not _is_surely_well(said, part)))

    def settle(self, how: How, held: Sequence[Message], **fields: float) -> None:
        """Say what becomes of messages. Raises as `token_of`, and TypeError or ValueError for what is no number."""
        head = tuple(f'"{name}":{_seconds(name, value)}' for name, value in fields.items())
        by_topic: dict[str, list[Message]] = {}
        for message in held:
            token_of(message)
            by_topic.setdefault(message.topic, []).append(message)
        for topic, messages in by_topic.items():
            for start in range(0, len(messages), FRAME_MESSAGES):
                self._settle(how, topic, messages[start : start + FRAME_MESSAGES], head)

    def _settle(self, how: How, topic: str, held: Sequence[Message], head: tuple[str, ...]) -> None:
        names = {message.token: _name(message) for message in held} if how == "ack" else {}
        self._done.update(dict.fromkeys(names.values()))
        while len(self._done) > DONE_MAX:
            del self._done[next(iter(self._done))]

        def answered(found: Any) -> None:
            if isinstance(found, errors.Error):
                self._fail(found)
                return
            for each in found:
                if each["ok"]:
                    self._done.pop(names.get(each["token"], ("", "")), None)
            late = [each["token"] for each in found if not each["ok"]]
            if late:
                text = f"{len(late)} messages came too late for {how}."
                self._fail(errors.LeaseLost(text, code="lease_lost", tokens=late))

        parts = [encode(message.token) for message in held]
        self._say(Said((how, topic, *head), parts, answered))

    def take_failure(self) -> errors.Error | None:
        """The first that went wrong since the last call."""
        failure, self._failure = self._failure, None
        return failure

    def _fail(self, error: errors.Error) -> None:
        self._failure = self._failure or error

    def consume(
        self, topic: str, *, credit: int, subscription: str, lease_s: float | None,
        deliver: Callable[[Message], None], drop: Callable[[], None], failed: Callable[[errors.Error], None],
    ) -> int:  # fmt: skip
        """Become a consumer. -> its id. Raises TypeError or ValueError for what cannot be said."""
        _check_topic(topic)
        id = next(self._ids)
        frame = {"op": "consume", "id": id, "topic": topic, "credit": credit, "subscription": subscription}
        frame["lease_s"] = lease_s
        self._frames.append(encode(frame))
        self._consumers[id] = Subscribed(frame, deliver, drop, failed)
        return id

    def cancel(self, id: int) -> None:
        """This consumer gets nothing more."""
        if self._consumers.pop(id, None) is not None:
            self._frames.append(encode({"op": "cancel", "id": id}))

    def _say(self, said: Said) -> None:
        if self._frame_bytes_max is not None and _size(said) > self._frame_bytes_max:
            self._refuse(said)
            return
        self._line.append(said)
        self.unanswered += 1

    def _refuse(self, said: Said) -> None:
        most = f"a node takes {self._frame_bytes_max:,}"
        text = f"A message of about {_size(said):,} bytes does not fit in a frame: {most}."
        said.done(errors.PayloadTooLarge(text, code="body_too_large"))

    # -- what goes to the node -------------------------------------------------------------------------------

    @property
    def has_frame(self) -> bool:
        """Whether there is something to send now."""
        is_room = len(self._sent) < FRAMES_UNANSWERED
        return self._frame_bytes_max is not None and bool(self._frames or (self._line and is_room))

    def next_frame(self) -> bytes:
        """The next thing to send."""
        if self._frames:
            return self._frames.popleft()
        together = [self._line.popleft()]
        wish, parts = together[0].wish, list(together[0].parts)
        size, most = sum(map(len, parts)), self._frame_bytes_max or FRAME_BYTES_MAX
        most = min(FRAME_BYTES, most - HEAD_BYTES - FRAME_MESSAGES)
        while self._line and _go_together(together[0], self._line[0]):
            size += sum(map(len, self._line[0].parts))
            if size > most or len(parts) + len(self._line[0].parts) > FRAME_MESSAGES:
                break
            parts += self._line[0].parts
            together.append(self._line.popleft())
        id = next(self._ids)
        self._sent[id] = together
        op, topic, *more = wish
        head = f'{{"op":"{op}","id":{id},"topic":{encode(topic).decode()}'
        if together[0].alone:
            return head.encode() + b"," + parts[0].removeprefix(b"{")
        listed = "messages" if op == "publish" else "tokens"
        text = head + "".join(f",{each}" for each in more) + f',"{listed}":['
        return text.encode() + b",".join(parts) + b"]}"

    # -- what the node says ----------------------------------------------------------------------------------

    def hear(self, text: str | bytes) -> None:
        """Take a frame of the node's. Raises Error where the session cannot go on: for what is no frame, and where the
        node could not read one of ours, since nobody knows which."""
        try:
            self._hear(json.loads(text))
        except (LookupError, TypeError, ValueError, AttributeError):
            raise errors.NotRMQ("A frame is not what a node says.", code="not_rmq", outcome="unknown") from None

    def _hear(self, frame: Mapping[str, Any]) -> None:
        op, id = frame.get("op"), frame.get("id")
        if op == "deliver":
            if id in self._consumers:
                self._delivered(self._consumers[id], frame["messages"])
        elif op in ("published", "settled"):
            self._answered(id, frame["messages" if op == "published" else "results"])
        elif op == "error":
            error = errors.of_problem(frame["code"], frame["detail"], frame["outcome"], retryable=frame["retryable"])
            if id is None:
                text = f"The node could not read what was said to it: {error.detail}"
                raise errors.OutcomeUnknown(text, code=error.code)
            if id in self._consumers:
                self._consumers.pop(id).failed(error)
            self._answered(id, error)
        elif op == "hello":
            self._greeted(frame["frame_bytes_max"])
        elif op not in ("consuming", "cancelled"):
            raise errors.NotRMQ(f"A node says nothing like {op!r}.", code="not_rmq", outcome="unknown")

    def _delivered(self, consumer: Subscribed, found: Sequence[Mapping[str, Any]]) -> None:
        topic, self.is_of_use = consumer.frame["topic"], True
        for each in found:
            message = message_of(topic, each)
            if _name(message) in self._done:
                self.settle("ack", [message])
            else:
                consumer.deliver(message)

    def _answered(self, id: Any, found: Sequence[Any] | errors.Error) -> None:
        together, start = deque(self._sent.pop(id, ())), 0
        try:
            if not isinstance(found, errors.Error) and len(found) != sum(len(said.parts) for said in together):
                raise LookupError("an answer to something else")
            while together:
                end = start + len(together[0].parts)
                together[0].done(found if isinstance(found, errors.Error) else found[start:end])
                together.popleft()
                self.unanswered, self.is_of_use, start = self.unanswered - 1, True, end
        finally:
            # What a malformed answer left is unanswered still.
            self._line.extendleft(reversed(together))

    # -- connections -----------------------------------------------------------------------------------------

    def _greeted(self, frame_bytes_max: int) -> None:
        """What waits in line is weighed now."""
        self._frame_bytes_max = frame_bytes_max
        large = [said for said in self._line if _size(said) > frame_bytes_max]
        self._line = deque(said for said in self._line if _size(said) <= frame_bytes_max)
        self.unanswered -= len(large)
        for said in large:
            # Now that the line stands: who is told may say something more.
            self._refuse(said)

    def begin_again(self) -> None:
        """The connection is lost: what follows is for the next one."""
        self._frame_bytes_max, self.is_of_use = None, False
        self._frames = deque(encode(consumer.frame) for consumer in self._consumers.values())
        self._line.extendleft(reversed([said for together in self._sent.values() for said in together]))
        self._sent.clear()
        for consumer in self._consumers.values():
            consumer.drop()

    def give_up(self, error: errors.Error) -> None:
        """There will be no other connection."""
        self.begin_again()
        self._frames.clear()
        while self._line:
            self.unanswered -= 1
            self._line.popleft().done(error)
        while self._consumers:
            self._consumers.popitem()[1].failed(error)


def _size(said: Said) -> int:
    return HEAD_BYTES + sum(map(len, said.parts))


def _name(message: Message) -> tuple[str, str]:
    """Of a message for one subscription: each has its own. What a token begins with tells which; were that to change,
    nothing would be recognised, and messages come twice, as to anybody."""
    return (message.token or "").partition("-")[0], message.id


def _depth(part: bytes) -> int:
    depth = deepest = 0
    for each in _STRING.sub(b"", part):
        if each in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif each in b"]}":
            depth -= 1
    return deepest


@functools.lru_cache(maxsize=1000)
def _check_topic(name: str) -> None:
    """Of one that was well before nothing is asked again."""
    name_in_path(name, "topic")


def _seconds(name: str, value: float) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"`{name}` is a number of seconds, not {value!r}")
    return encode(value).decode()


def _go_together(one: Said, other: Said) -> bool:
    return one.wish == other.wish and not (one.alone or other.alone)


def _is_surely_well(said: Mapping[str, Any], part: bytes) -> bool:
    """Whether a node takes this for a message. `part`: the same, encoded."""
    may_be_huge = len(part) > DIGITS_MAX and _AT_EACH_STRIDE in part[::_STRIDE].translate(_SAME_DIGIT)
    if may_be_huge and _MANY_DIGITS.search(part):
        return False
    for name, value in said.items():
        check = _CHECKS.get(name)
        if check is not None and not check(value):
            return False
    return True


def _is_visible(value: Any) -> bool:
    return isinstance(value, str) and _VISIBLE.fullmatch(value) is not None


def _is_number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most


def _are_headers(value: Any) -> bool:
    return isinstance(value, dict) and len(value) <= HEADERS_MAX and all(map(_is_header, value.items()))


def _is_header(item: tuple[Any, Any]) -> bool:
    name, value = item
    is_text = isinstance(name, str) and isinstance(value, str)
    return is_text and len(value) <= HEADER_LENGTH_MAX and _HEADER_NAME.fullmatch(name) is not None


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "headers": _are_headers, "group": _is_visible, "dedup_id": _is_visible,
    "delay_s": lambda value: _is_number(value, 0, SPAN_MAX_S),
    "ttl_s": lambda value: _is_number(value, 0.001, SPAN_MAX_S),
    "priority": lambda value: _is_number(value, 0, PRIORITY_MAX) and value % 1 == 0,
}  # fmt: skip


def _place(found: Mapping[str, Any]) -> Published | errors.Error:
    if "code" in found:
        return errors.of_problem(found["code"], found["detail"], "not_committed", retryable=False)
    return Published(found["id"], found["sequence"], found["duplicate"])
