"""A client that writes all the time, through whichever node answers, and remembers what was acknowledged.

Every publish carries a key and is repeated until it is acknowledged or refused for good, as a careful user
would do it; so each message must be there exactly once, and in the order of its publisher.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import httpx

GIVE_UP_S = 60.0


def url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}{path}"


def create_topic(ports: Sequence[int], topic: str) -> None:
    """Create a topic through any node that takes it; an earlier unknown try may have made it already."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        for port in ports:
            try:
                answer = httpx.put(url(port, "/topic"), json={"topic": topic}, timeout=2)
            except httpx.TransportError:
                continue
            if answer.status_code in (200, 400):
                return
        time.sleep(0.05)
    raise TimeoutError("the topic could not be created")


class Publisher(threading.Thread):
    """Publishes "name-0", "name-1", … until `stop`. `acknowledged`: those with an answer of success, in order."""

    def __init__(self, name: str, ports: Sequence[int], topic: str):
        super().__init__(name=name, daemon=True)
        self._ports, self._topic = list(ports), topic
        self._stopping = threading.Event()
        self.acknowledged: list[str] = []
        self.longest_gap_s = 0.0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with httpx.Client(timeout=2) as client:
                number = 0
                while not self._stopping.is_set():
                    self._publish(client, f"{self.name}-{number}")
                    number += 1
        except Exception as error:
            self.failure = error

    def _publish(self, client: httpx.Client, message: str) -> None:
        started = time.monotonic()
        tries = 0
        while time.monotonic() - started < GIVE_UP_S:
            port = self._ports[tries % len(self._ports)]
            tries += 1
            try:
                answer = client.put(
                    url(port, "/message"),
                    json={"topic": self._topic, "message": message},
                    headers={"Idempotency-Key": message},
                )
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                self.acknowledged.append(message)
                self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - started)
                return
            assert answer.status_code in (429, 503, 504), f"{answer.status_code} {answer.text}"
        raise TimeoutError(f"{message} was not acknowledged within {GIVE_UP_S} s")

    def stop(self) -> None:
        """Finish the message under way and end; raises what went wrong."""
        self._stopping.set()
        self.join(GIVE_UP_S + 5)
        assert not self.is_alive()
        if self.failure is not None:
            raise self.failure


def drain(port: int, topic: str) -> list[str]:
    """Consume everything, one by one, each with a request id so that a lost answer loses no message."""
    taken: list[str] = []
    deadline = time.monotonic() + 120
    with httpx.Client(timeout=2) as client:
        while time.monotonic() < deadline:
            key = {"Idempotency-Key": f"drain-{topic}-{len(taken)}"}
            try:
                answer = client.get(url(port, f"/message/{topic}"), headers=key)
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                content = answer.json()
                if not content["success"]:
                    return taken
                taken.append(content["message"])
            else:
                time.sleep(0.02)
    raise TimeoutError("the topic could not be drained")


def check(taken: list[str], publishers: Sequence[Publisher]) -> None:
    """Nothing acknowledged lost, nothing twice, nothing invented, each publisher's order kept."""
    assert len(set(taken)) == len(taken), "a message was delivered twice"
    for publisher in publishers:
        own = [message for message in taken if message.rpartition("-")[0] == publisher.name]
        assert own == [f"{publisher.name}-{number}" for number in range(len(own))], "out of order"
        assert len(own) >= len(publisher.acknowledged), "an acknowledged message was lost"
    names = {publisher.name for publisher in publishers}
    assert {message.rpartition("-")[0] for message in taken} <= names, "a message that nobody published"
