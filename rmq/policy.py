"""How long a call may take, how often it is tried, and at which node."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from rmq import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retry:
    """A call is tried again until `total_s` are over (0: it is tried once), each time at the next node, and after each
    round a pause that doubles from `first_s` to `longest_s`, less a random part of it. One try has `connect_s` to reach
    the node and `attempt_s` to be answered, on top of what it waits for messages."""

    total_s: float = 30.0
    attempt_s: float = 6.0
    connect_s: float = 2.0
    first_s: float = 0.02
    longest_s: float = 1.0

    def pause_s(self, rounds: int, rng: random.Random) -> float:
        """Before the next try, after so many rounds through the nodes."""
        return min(self.longest_s, self.first_s * 2.0 ** min(rounds, 30)) * rng.uniform(0.5, 1.0)


class Nodes:
    """The URLs of a cluster's nodes, and which one to ask: the same one as long as it answers well."""

    def __init__(self, urls: str | Sequence[str]) -> None:
        given = [urls] if isinstance(urls, str) else list(urls)
        found = [url.strip().rstrip("/") for text in given for url in text.split(",") if url.strip()]
        if not found:
            raise ValueError("give the URL of at least one node, such as http://localhost:8001")
        for url in found:
            _check(url)
        self.urls = list(dict.fromkeys(found))
        self._place = 0

    @property
    def current(self) -> str:
        """Ask this one."""
        return self.urls[self._place]

    def leave(self, url: str) -> None:
        """This one did not answer well: the next one is current, unless somebody has moved on already."""
        if url == self.current:
            self._place = (self._place + 1) % len(self.urls)

    def prefer(self, url: str) -> None:
        """A node has named this one as the leader; what we do not know is left aside."""
        if url.rstrip("/") in self.urls:
            self._place = self.urls.index(url.rstrip("/"))


class Search:
    """A session's way to a connection. It goes on over connections that end before they were of any use: they neither
    shorten the pauses nor give more time. What counts is the time without a connection."""

    def __init__(self, nodes: Nodes, retry: Retry, now: Callable[[], float]) -> None:
        self._nodes, self._retry, self._now = nodes, retry, now
        self._random = random.Random()
        self._failures, self._deadline, self._stands_since = 0, now() + retry.total_s, 0.0

    def failed(self, url: str, error: errors.Error) -> float:
        """Nothing came of this node. -> the seconds until the next try; raises the error when the time is over."""
        self._nodes.leave(url)
        pause_s = self._retry.pause_s(self._failures // len(self._nodes.urls), self._random)
        self._failures += 1
        if self._now() + pause_s >= self._deadline or not isinstance(error, errors.Unavailable):
            raise error
        return pause_s

    def found(self) -> None:
        """A connection stands."""
        self._stands_since = self._now()

    def lost(self, url: str, *, was_of_use: bool) -> float:
        """It is over. -> as `failed`; the search begins anew where it was of use, or stood as long as a try may take:
        then there was nothing to do."""
        now = self._now()
        stood_s = now - self._stands_since
        if was_of_use or stood_s >= self._retry.attempt_s:
            self._nodes.leave(url)
            self._failures, self._deadline = 0, now + self._retry.total_s
            return 0.0
        self._deadline += stood_s
        return self.failed(url, errors.CannotConnect(f"{url} ended the connection at once.", code="no_answer"))


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        good = good and not parts.query and not parts.fragment and url.isprintable()
        # What is no name of a host fails here, and not deep inside the first call.
        (parts.hostname or "").encode("idna")
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{url!r} is no node's URL: write http://HOST:PORT, such as http://localhost:8001")
