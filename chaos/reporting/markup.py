"""HTML and SVG that cannot go wrong: whatever is not markup by construction is escaped.

    el("td", "a < b", class_="number")  ->  <td class="number">a &lt; b</td>

Rules of this file: only `el` and `raw` make markup; every element is closed, so that a page is XML as well. Characters
that neither HTML nor XML may hold are shown as a replacement, never dropped.
"""

from __future__ import annotations

import html
import re

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def raw(text: str) -> Markup:
    """Markup written by hand, in this package alone; never anything that was recorded."""
    return Markup(text)


def escape(text: str) -> Markup:
    """Text as markup that shows it."""
    return text if isinstance(text, Markup) else Markup(html.escape(_FORBIDDEN.sub("\ufffd", text)))


def join(*parts: str) -> Markup:
    """All parts, one after another; what is not markup is escaped."""
    return Markup("".join(escape(part) for part in parts))


def el(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element. `class_` is class, `aria_label` is aria-label; an attribute that is None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value if isinstance(value, str) else f"{value:g}")}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")
