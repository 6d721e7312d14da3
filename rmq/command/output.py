"""What a command prints: a table with colour on a terminal, plain columns into a pipe, JSON where it is asked for.

Rules of this file: results go to standard output, remarks to standard error, and those only where a person reads it.
A list is one JSON array; what comes one after the other is one JSON object a line. Names are those of the HTTP API.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 100_000
"""Columns where nobody looks: nothing is broken into lines there."""


class Output:
    """`as_json`: for programs. `console` writes results, `remarks` what is for people alone."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.is_terminal = sys.stdout.isatty()
        self.console = Console(highlight=False, width=None if self.is_terminal else PIPE_WIDTH, soft_wrap=False)
        self.remarks = Console(highlight=False, stderr=True)

    @property
    def for_people(self) -> bool:
        """Whether somebody looks at the results as they come."""
        return self.is_terminal and not self.as_json

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], items: Sequence[Any]) -> None:
        """A list: `rows` for people, `items` for programs; columns whose names begin with > stand to the right."""
        if self.as_json:
            print(json.dumps([plain(item) for item in items], ensure_ascii=False))
            return
        self.show(grid(columns, rows, self.is_terminal))

    def show(self, shown: Table) -> None:
        """A table, without blanks at the ends of lines in a pipe."""
        if self.is_terminal:
            self.console.print(shown)
            return
        with self.console.capture() as captured:
            self.console.print(shown)
        for line in captured.get().splitlines():
            print(line.rstrip())

    def fields(self, item: Any, rows: Mapping[str, Any]) -> None:
        """One thing: its fields in lines, or as a JSON object."""
        if self.as_json:
            print(json.dumps(plain(item), ensure_ascii=False))
            return
        shown = Table.grid(padding=(0, 2))
        for name, value in rows.items():
            shown.add_row(Text(name, style="bold"), cell(value))
        self.show(shown)

    def done(self, item: Mapping[str, Any], sentence: str) -> None:
        """What was done: a sentence, or a JSON object."""
        print(json.dumps(plain(item), ensure_ascii=False) if self.as_json else sentence)

    def line(self, item: Any, shown: Callable[[], str]) -> None:
        """One of many that come one after the other, at once on its way."""
        print(json.dumps(plain(item), ensure_ascii=False) if self.as_json else shown(), flush=True)

    def remark(self, sentence: str) -> None:
        """For a person who waits; nothing where nobody does."""
        if self.for_people and self.remarks.is_terminal:
            self.remarks.print(Text(sentence, style="dim"))


def grid(columns: Sequence[str], rows: Sequence[Sequence[Any]], is_terminal: bool) -> Table:
    """A table as wide as it needs to be. On a narrower terminal the widest texts are cut, numbers never."""
    shown = Table(box=None, pad_edge=False, header_style="bold" if is_terminal else "", padding=(0, 2, 0, 0))
    for name in columns:
        is_number = name.startswith(">")
        heading = Text(name.removeprefix(">"), no_wrap=True, overflow="ellipsis")
        shown.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number)
    for row in rows:
        shown.add_row(*map(_in_a_line, map(cell, row)))
    return shown


def _in_a_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def cell(value: Any) -> Text:
    """A value in a table: nothing is a dash, times are to the second, numbers have their thousands apart."""
    match value:
        case Text():
            return value
        case None:
            return Text("-", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case int():
            return Text(f"{value:,}")
        case float():
            return Text(f"{value:,.1f}".removesuffix(".0"))
        case datetime():
            return Text(value.strftime("%Y-%m-%d %H:%M:%S"))
        case _:
            return Text(str(value))


def plain(value: Any) -> Any:
    """As JSON can say it: bytes become an object with `base64`, times RFC 3339."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    return value
