"""report.html in headless Chromium: it fetches nothing, runs nothing, fits, and no text covers another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from chaos.reporting.writing import write
from tests.chaos.made_up_runs import made_cases

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
OPEN_MS = 20_000
COLLISIONS = """() => {
    const found = [], shown = text => getComputedStyle(text).display !== "none";
    const box = each => each.getBoundingClientRect();
    for (const svg of document.querySelectorAll(".lane svg[role=img]")) {
        const frame = box(svg), texts = [...svg.querySelectorAll("text")].filter(shown);
        texts.forEach((text, i) => {
            const own = box(text), bar = text.classList.contains("in") ? box(text.previousElementSibling) : frame;
            if (own.left < bar.left - 1 || own.right > bar.right + 1) found.push(`outside: ${text.textContent}`);
            for (const other of texts.slice(i + 1))
                if (own.left < box(other).right - 0.5 && box(other).left < own.right - 0.5)
                    found.push(`on another: ${text.textContent}, ${other.textContent}`);
        });
    }
    return [document.querySelectorAll(".lane svg text").length, found];
}"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=3 * OPEN_MS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    write(root, made_cases(root))
    return root / "report.html"


def opened(page: Page, report: Path) -> tuple[list[str], list[str]]:
    """Open it; what the browser complained of, and what it asked for."""
    complaints: list[str] = []
    requests: list[str] = []
    page.set_default_timeout(OPEN_MS)
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_load_state("networkidle")
    return complaints, requests


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 400, 820, 1400])
def test_fits_and_fetches_nothing(browser: Browser, report: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    complaints, requests = opened(page, report)
    assert complaints == []
    assert requests == [report.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    texts, collisions = page.evaluate(COLLISIONS)
    assert texts > 100
    assert collisions == []
    page.close()


def test_a_click_leads_to_the_scenario(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    opened(page, report)
    page.get_by_role("link", name="unproven", exact=True).click()
    heading = page.get_by_role("heading", name="unproven inconclusive")
    assert heading.evaluate("each => Math.abs(each.getBoundingClientRect().top) < 100")
    page.get_by_text("Operations by kind and outcome").nth(2).click()
    assert page.get_by_role("table", name="Operations by kind and outcome").first.is_visible()
    page.close()
