"""Rows of the settings table: how a value is declared, read from text or JSON, checked and shown.

Rules of this file: a row knows nothing of where its value came from; the caller puts the source's name in
front of the sentence. A number is written in the unit its name ends in; bytes may carry KiB, MiB or GiB.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Check = Callable[[Any], str | None]
"""Takes a value of the row's type; answers what must hold ("at least 1"), or None when it does."""

BYTE_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
WORDS_TRUE = ("true", "yes", "on", "1")
WORDS_FALSE = ("false", "no", "off", "0")
MASK = "********"


class ConfigError(Exception):
    """A setting that cannot be used. Its text is one sentence that says what to write."""


class Row(NamedTuple):
    """One setting. `kind` is int, float, bool or str; `unit` is empty where there is none."""

    name: str
    kind: type
    default: Any
    unit: str
    help: str
    check: Check | None
    secret: bool

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "RMQ_" + self.name.upper()

    def wanted(self) -> str:
        """What a value of this row looks like, for a sentence: "a whole number of milliseconds"."""
        if self.kind is bool:
            return "true or false"
        if self.unit == "bytes":
            return "a number of bytes such as 1048576 or 1MiB"
        noun = {int: "a whole number", float: "a number", str: "a text"}[self.kind]
        return f"{noun} of {self.unit}" if self.unit else noun


def setting(default: T, unit: str, help: str, check: Check | None = None, *, secret: bool = False) -> T:
    """Declare a row: the right-hand side of a field in `Settings`. Typed as its default, for type checkers."""
    row = {"unit": unit, "help": help, "check": check, "secret": secret}
    return dataclasses.field(default=default, metadata={"row": row})


def rows(settings: type) -> dict[str, Row]:
    """The table of a settings class, by name, in the order of declaration."""
    return {
        field.name: Row(field.name, type(field.default), field.default, **field.metadata["row"])
        for field in dataclasses.fields(settings)
        if "row" in field.metadata
    }


def at_least(low: float) -> Check:
    return lambda value: None if value >= low else f"at least {low}"


def between(low: float, high: float) -> Check:
    return lambda value: None if low <= value <= high else f"between {low} and {high}"


def one_of(words: Sequence[str]) -> Check:
    return lambda value: None if value in words else "one of " + ", ".join(words)


def a_path(value: str) -> str | None:
    return None if value.strip() and "\0" not in value else "the path of a directory"


def parse(row: Row, raw: object) -> Any:
    """A value of the row's type from text (flag, variable) or JSON (file); ConfigError without a source's name."""
    value = _from_text(row, raw) if isinstance(raw, str) else _from_json(row, raw)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ConfigError(f"must be {row.wanted()}, not {shown(row, raw)}.")
    check(row, value)
    return value


def check(row: Row, value: Any) -> None:
    """ConfigError when a value of the right type breaks the row's own rule."""
    failed = row.check(value) if row.check else None
    if failed:
        unit = f" {row.unit}" if row.unit else ""
        raise ConfigError(f"must be {failed}{unit}, not {shown(row, value)}.")


def shown(row: Row, value: object) -> str:
    """A value as it may be printed: secrets are masked, and so is how long they are."""
    if row.secret:
        return MASK if value else "(empty)"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if not isinstance(value, str) else repr(value)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint to put after "unknown …": the closest known name, or the first ones there are."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "write one of: " + ", ".join(names) + "."


def _from_text(row: Row, text: str) -> Any:
    text = text.strip() if row.kind is not str else text
    if row.kind is str:
        return text
    if row.kind is bool:
        word = text.lower()
        return True if word in WORDS_TRUE else False if word in WORDS_FALSE else None
    if row.unit == "bytes":
        return _bytes(text)
    pattern = r"[+-]?\d{1,18}" if row.kind is int else r"[+-]?\d{1,18}(\.\d{1,9})?"
    return row.kind(text) if re.fullmatch(pattern, text, re.ASCII) else None


def _from_json(row: Row, value: object) -> Any:
    if row.kind is bool or isinstance(value, bool):
        return value if row.kind is bool and isinstance(value, bool) else None
    if row.kind is float and isinstance(value, int):
        return float(value) if abs(value) < 1e18 else None
    return value if isinstance(value, row.kind) else None


def _bytes(text: str) -> int | None:
    match = re.fullmatch(r"(\d{1,18})\s*([A-Za-z]*)", text, re.ASCII)
    factor = BYTE_UNITS.get(match[2].upper()) if match else None
    return int(match[1]) * factor if match and factor else None
