"""Many messages through a session, and what there is to say of them when that is stopped half-way.

Theory. Messages are on their way while later ones are read, so when one is refused others behind it may be stored, and
when an answer is lost nobody knows of some. Each is numbered, as lines are; after the first that goes wrong none is
sent any more, and those on their way are waited for. Then every number is in one of four places: stored, not stored,
not known, not sent. Only what is not stored is kept in mind, since there may be millions.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial

from rmq import errors
from rmq.command import exits
from rmq.command.exits import Partly, UsageError
from rmq.command.shell import Shell
from rmq.messages import NewMessage, Published

RANGES = 8
"""More are not written into a sentence."""


class Tally:
    """What became of the messages so far. `failed`: the first thing that went wrong."""

    def __init__(self) -> None:
        self.sent = self.stored = self.duplicates = 0
        self.not_stored: list[int] = []
        self.unknown: list[int] = []
        self.failed: Exception | None = None

    @property
    def is_partly(self) -> bool:
        """Whether any is stored, or may be."""
        return bool(self.stored or self.duplicates or self.unknown)

    def answered(self, number: int, future: Future[Published]) -> None:
        """One more is known."""
        error = future.exception()
        if error is None:
            self.duplicates += future.result().duplicate
            self.stored += not future.result().duplicate
            return
        is_refused = isinstance(error, errors.Error) and error.outcome == "not_committed"
        (self.not_stored if is_refused else self.unknown).append(number)
        if isinstance(error, Exception):
            self.failed = self.failed or error


def publish(shell: Shell, topic: str, messages: Iterator[NewMessage], what: str) -> None:
    """Publish all, and say how many were stored; `what` they are, such as "line". Raises what went wrong, where none is
    stored, else Partly."""
    shell.client.topic(topic)  # a topic that is not there is said before anything is read
    tally, began = Tally(), time.monotonic()
    try:
        _send(shell, topic, messages, tally)
    except KeyboardInterrupt:
        print(f"rmq: {_became(tally, topic, what)}", file=sys.stderr)
        raise
    done = {"stored": tally.stored, "duplicates": tally.duplicates, "seconds": round(time.monotonic() - began, 3)}
    if tally.failed is None:
        twice = f", {tally.duplicates:,} were there already" if tally.duplicates else ""
        shell.out.done(done, f"{tally.stored:,} messages in {topic}{twice} ({done['seconds']:.1f} s).")
        return
    if not tally.is_partly:
        raise tally.failed
    if shell.out.as_json:
        missing = {"not_stored": ranges(tally.not_stored), "unknown": ranges(tally.unknown)}
        shell.out.done(done | {"sent": tally.sent} | missing, "")
    code = exits.UNKNOWN if tally.unknown else exits.PARTLY
    raise Partly(f"{_became(tally, topic, what)} {_why(tally)}", code)


def _send(shell: Shell, topic: str, messages: Iterator[NewMessage], tally: Tally) -> None:
    with shell.client.session() as session:
        try:
            for message in messages:
                if tally.failed is not None:
                    break
                session.publish(topic, message).add_done_callback(partial(tally.answered, tally.sent + 1))
                tally.sent += 1
        except (errors.Error, UsageError, ValueError) as error:
            tally.failed = tally.failed or error
        # The tally knows of every error that there is.
        with contextlib.suppress(errors.Error):
            session.flush()


def _became(tally: Tally, topic: str, what: str) -> str:
    said = f"{tally.stored + tally.duplicates:,} of {tally.sent:,} {what}s are stored in {topic} for certain"
    for words, found in (("not stored", tally.not_stored), ("not known of", tally.unknown)):
        if found:
            said += f"; {words} {_listed(found)}"
    return f"{said}. Nothing after {what} {tally.sent:,} was sent."


def _why(tally: Tally) -> str:
    """What stopped it, and what to do. What a node says of a whole request as not done is not to be read of all."""
    failed, again = tally.failed, ""
    if tally.unknown:
        again = " With --template and {{n}} in a --dedup-id all may be sent again: each is stored once."
    if isinstance(failed, errors.Unavailable | errors.OutcomeUnknown):
        return f"It was stopped by {failed.code}: {exits.advice(failed)}{again}"
    return f"{exits.sentence(failed) if isinstance(failed, errors.Error) else failed}{again}"


def _listed(found: Iterable[int]) -> str:
    all_of_them = ranges(found)
    words = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in all_of_them[:RANGES]]
    return ", ".join(words) + (", and more after these" if len(all_of_them) > RANGES else "")


def ranges(found: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers as the first and last of those that follow each other."""
    made: list[tuple[int, int]] = []
    for number in sorted(found):
        if made and made[-1][1] == number - 1:
            made[-1] = (made[-1][0], number)
        else:
            made.append((number, number))
    return made
