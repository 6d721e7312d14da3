"""Tables and numbers, written the same way everywhere.

Rules of this file: numbers stand to the right, in figures of equal width, with as many digits as mean something; what
is not known is a dash, never a zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaos.figures import Spread
from chaos.reporting.markup import Markup, el, join

NOTHING = "–"
MARKS = {"passed": "✓", "failed": "✗", "inconclusive": "?"}


class Cell:
    """A table's cell: `class_` says how it looks."""

    def __init__(self, content: str, class_: str = "number", title: str | None = None) -> None:
        self.content, self.class_, self.title = content, class_, title


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[Cell]], class_: str = "",
    groups: Sequence[tuple[str, int]] = (),
) -> Markup:  # fmt: skip
    """A table in a frame that scrolls sideways where it is too wide. The first cell names its row.

    Heads of columns of words begin with "<". `groups`: heads above the heads, and how many columns each covers.
    """
    above = [el("th", text, scope="colgroup", colspan=span, class_="group") for text, span in groups]
    named = [el("th", text.lstrip("<"), scope="col", class_="word" if text[0] == "<" else None) for text in heads]
    body = [el("tr", *(_cell(cell, "td" if i else "th") for i, cell in enumerate(row))) for row in rows]
    thead = el("thead", el("tr", *above) if above else "", el("tr", *named))
    inner = el("table", thead, el("tbody", *body), class_=class_ or None, aria_label=caption)
    frame = el("div", inner, class_="scroll", role="region", tabindex="0", aria_label=caption)
    return join(el("p", caption, class_="caption"), frame)


def _cell(cell: Cell, name: str) -> Markup:
    scope = "row" if name == "th" else None
    return el(name, cell.content, class_=cell.class_ or None, title=cell.title, scope=scope)


def badge(word: str) -> Markup:
    """A verdict's word with its sign."""
    return el("span", el("span", MARKS[word], class_="mark", aria_hidden="true"), word, class_=f"badge {word}")


def seconds(value: float | None) -> str:
    """Two digits after the point."""
    return NOTHING if value is None else f"{value:.2f}"


def count(value: int) -> str:
    """With thousands apart."""
    return f"{value:,}"


def middle_and_most(found: Spread | None) -> str:
    """A distribution in two numbers: median and maximum."""
    return NOTHING if found is None else f"{found.median:.2f} / {found.max:.2f}"
