"""The docs pages in headless Chromium: they come from this machine alone, and a queue can be worked with on them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import ANY
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bench.cluster import LocalCluster
from tests.api.conftest import Live

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
OPEN_MS = 60_000
expect.set_options(timeout=OPEN_MS)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=3 * OPEN_MS)
        yield found
        found.close()


class Watched:
    """A page, and what must not happen on it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.failures: list[str] = []
        own = urlsplit(url).netloc
        page.set_default_timeout(OPEN_MS)
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.failures.append(request.url))
        page.on(
            "request",
            lambda request: (
                self.strangers.append(request.url)
                if request.url.startswith(("http", "ws")) and urlsplit(request.url).netloc != own
                else None
            ),
        )

    def check(self) -> None:
        """Nothing from elsewhere, nothing missing, nothing wrong."""
        assert not self.strangers
        assert not self.failures
        assert not self.complaints


@contextmanager
def watching(browser: Browser, url: str, name: str) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    yield Watched(page, url)
    shots = os.environ.get("SCREENSHOTS")
    if shots:
        page.screenshot(path=f"{shots}/{name}.png")
    page.close()


@pytest.fixture
def watched(browser: Browser, live: Live, request: pytest.FixtureRequest) -> Iterator[Watched]:
    with watching(browser, live.url, request.node.name) as found:
        yield found


@pytest.fixture
def watched_process(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """On a node as it is started in earnest, alone in its cluster."""
    with (
        LocalCluster(1) as alone,
        watching(browser, f"http://127.0.0.1:{alone.ports[0]}", request.node.name) as found,
    ):
        yield found


def test_a_topic_is_created_from_the_docs_page(watched: Watched, live: Live) -> None:
    page = watched.page
    page.goto(live.url)  # the front door leads here
    operation = page.locator("#operations-classic-classic_create_topic")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("textarea").fill('{"topic": "from-a-browser"}')
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table tbody .response-col_description")
    expect(answer.first).to_contain_text('"success": true')
    expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    operation.scroll_into_view_if_needed()
    assert live.run(lambda: _topic_exists(live, "from-a-browser"))
    watched.check()


async def _topic_exists(live: Live, name: str) -> bool:
    return live.node.machine.topic(name) is not None


def by_hand(page: Page, name: str, topic: str, body: Any = None) -> dict[str, Any]:
    """What the page shows to who tries an operation with this topic, and this body or the one that stands there."""
    operation = page.locator(f"[id^=operations-][id$=-{name}]")
    answer = operation.locator(".live-responses-table tbody")
    if operation.get_by_role("button", name="Execute").count() == 0:
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
    else:
        operation.get_by_role("button", name="Clear").click()
        expect(answer).to_have_count(0)
    operation.locator("[data-param-name=topic] input").fill(topic)
    if body is not None:
        operation.locator("textarea").fill(json.dumps(body))
    operation.get_by_role("button", name="Execute").click()
    expect(answer.locator(".response-col_status")).to_have_text(re.compile("^20[01]"))
    return dict(json.loads(answer.locator(".highlight-code code").inner_text()))


def test_a_message_is_acked_and_another_dies_and_comes_back_by_hand(watched_process: Watched) -> None:
    page = watched_process.page
    page.goto(f"{watched_process.url}/docs")

    assert by_hand(page, "create_topic", "graves")["name"] == "graves"
    settings = {"max_deliveries": 1, "dead_letter_topic": "graves"}
    assert by_hand(page, "create_topic", "orders", settings)["settings"].items() >= settings.items()

    assert by_hand(page, "publish", "orders")["messages"][0]["sequence"] == 1
    (message,) = by_hand(page, "receive", "orders")["messages"]
    assert message["body"] == {"drink": "coffee", "cups": 2}
    assert by_hand(page, "ack", "orders", {"tokens": [message["token"]]})["results"][0]["ok"]

    assert by_hand(page, "publish", "orders", {"body": "too hot"})["messages"][0]["sequence"] == 2
    (message,) = by_hand(page, "receive", "orders")["messages"]
    assert (message["body"], message["deliveries"]) == ("too hot", 1)
    assert by_hand(page, "nack", "orders", {"tokens": [message["token"]]})["results"][0]["ok"]
    assert by_hand(page, "receive", "orders") == {"messages": []}, "one is done, the other is dead"

    for deliveries in (1, 2):
        (dead,) = by_hand(page, "receive", "graves")["messages"]
        origin = {"topic": "orders", "subscription": "default", "sequence": 2, "deliveries": 1, "at": ANY}
        assert (dead["body"], dead["deliveries"], dead["dead_letter"]) == ("too hot", deliveries, origin)
        assert by_hand(page, "nack", "graves", {"tokens": [dead["token"]]})["results"][0]["ok"]
    assert by_hand(page, "redrive_topic", "graves") == {"moved": 1, "kept": 0, "next": None}
    (again,) = by_hand(page, "receive", "orders")["messages"]
    assert (again["id"], again["sequence"], again["body"]) == (message["id"], 3, "too hot")
    assert "dead_letter" not in again
    watched_process.check()


def test_the_docs_page_lists_every_route(watched: Watched, live: Live) -> None:
    page = watched.page
    page.goto(f"{live.url}/docs")
    expect(page.locator(".opblock")).to_have_count(35)
    watched.check()


def test_redoc_renders(watched: Watched, live: Live) -> None:
    page = watched.page
    page.goto(f"{live.url}/redoc")
    expect(page.get_by_role("heading", name="Take the oldest message")).to_be_visible()
    expect(page.get_by_role("heading", name="Receive messages")).to_be_attached()
    page.wait_for_load_state("networkidle")
    watched.check()
