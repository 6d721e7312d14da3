"""The docs pages in headless Chromium: they come from this machine alone, and a request can be made from them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.api.conftest import Live

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
OPEN_MS = 20_000
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

    def __init__(self, page: Page, live: Live) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.failures: list[str] = []
        own = urlsplit(live.url).netloc
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


@pytest.fixture
def watched(browser: Browser, live: Live, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    yield Watched(page, live)
    shots = os.environ.get("SCREENSHOTS")
    if shots:
        page.screenshot(path=f"{shots}/{request.node.name}.png")
    page.close()


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


def test_a_message_is_published_leased_given_back_and_acked_by_hand(watched: Watched, live: Live) -> None:
    page = watched.page
    page.goto(f"{live.url}/docs")

    def tries(name: str, body: str | None = None) -> dict[str, Any]:
        """What a person sees who tries an operation with its first example, or this body."""
        operation = page.locator(f"[id^=operations-][id$=-{name}]")
        if operation.get_by_role("button", name="Execute").count() == 0:
            operation.locator(".opblock-summary-control").click()
            operation.get_by_role("button", name="Try it out").click()
        if body is not None:
            operation.locator("textarea").fill(body)
        with page.expect_response(lambda answer: "/v1/" in answer.url) as answered:
            operation.get_by_role("button", name="Execute").click()
        assert answered.value.ok, answered.value.text()
        return dict(answered.value.json())

    tries("create_topic")
    assert tries("publish")["messages"][0]["sequence"] == 1
    for how, deliveries in (("nack", 1), ("ack", 2)):
        (message,) = tries("receive")["messages"]
        assert (message["body"], message["deliveries"]) == ({"drink": "coffee", "cups": 2}, deliveries)
        assert tries(how, json.dumps({"tokens": [message["token"]]}))["results"][0]["ok"]
    watched.check()


def test_the_docs_page_lists_every_route(watched: Watched, live: Live) -> None:
    page = watched.page
    page.goto(f"{live.url}/docs")
    expect(page.locator(".opblock")).to_have_count(32)
    watched.check()


def test_redoc_renders(watched: Watched, live: Live) -> None:
    page = watched.page
    page.goto(f"{live.url}/redoc")
    expect(page.get_by_role("heading", name="Take the oldest message")).to_be_visible()
    expect(page.get_by_role("heading", name="Receive messages")).to_be_attached()
    page.wait_for_load_state("networkidle")
    watched.check()
