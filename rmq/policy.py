"""How long a call may take, how often it is tried, and at which node."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from urllib.parse import urlsplit


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
