"""Contexts: clusters by name, in a file of the user.

    {"current": "prod", "contexts": {"prod": {"urls": ["https://rmq.example:8001"]}}}

Which cluster a command talks to, the first of these that is said: --url, --context, RMQ_URL, RMQ_CONTEXT, the current
context, the nodes of `make run`.

Rules of this file: it is written whole, beside itself, then renamed; one that cannot be read is never overwritten.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rmq.command.exits import UsageError
from rmq.policy import Nodes


def path() -> Path:
    """$RMQ_CONTEXTS, else rmq/contexts.json in $XDG_CONFIG_HOME, else in ~/.config."""
    if named := os.environ.get("RMQ_CONTEXTS"):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "rmq" / "contexts.json"


class Contexts:
    """What stands in the file. `current`: the name of the one in use, or None. UsageError when it cannot be read."""

    def __init__(self) -> None:
        self.urls: dict[str, list[str]] = {}
        self.current: str | None = None
        self._path = path()
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self.urls = {str(name): _urls(each) for name, each in found["contexts"].items()}
            self.current = _name(found.get("current"))
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{self._path} cannot be read ({error}): mend it, or remove it.") from None
        except (KeyError, TypeError, AttributeError):
            raise UsageError(f"{self._path} is no file of contexts: let RMQ_CONTEXTS name another, or none.") from None

    def of(self, name: str) -> list[str]:
        """The URLs of a context. UsageError where there is none of this name."""
        if name not in self.urls:
            known = ", ".join(sorted(self.urls)) or "none yet"
            raise UsageError(f"There is no context {name!r} (there is: {known}): rmq context add {name} URL")
        return self.urls[name]

    def add(self, name: str, urls: str) -> None:
        """Add or change one; the first one is current at once."""
        if not name:
            raise UsageError("A context has a name: rmq context add NAME URL")
        try:
            self.urls[name] = Nodes(urls).urls
        except ValueError as error:
            raise UsageError(f"{error}.") from None
        self.current = self.current or name
        self._write()

    def use(self, name: str) -> None:
        """Make one current."""
        self.of(name)
        self.current = name
        self._write()

    def remove(self, name: str) -> None:
        """Forget one."""
        self.of(name)
        del self.urls[name]
        self.current = None if self.current == name else self.current
        self._write()

    def _write(self) -> None:
        contexts = {name: {"urls": urls} for name, urls in self.urls.items()}
        text = json.dumps({"current": self.current, "contexts": contexts}, indent=2) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(".new")
            beside.write_text(text, encoding="utf-8")
            beside.replace(self._path)
        except OSError as error:
            raise UsageError(f"{self._path} cannot be written ({error.strerror}): set RMQ_CONFIG to a file.") from None


def chosen(url: str | None, context: str | None) -> str | list[str] | None:
    """The URLs that a command is to use; None: those of `make run`."""
    environment = os.environ.get
    if url:
        return url
    if context:
        return Contexts().of(context)
    if from_environment := environment("RMQ_URL"):
        return from_environment
    if named := environment("RMQ_CONTEXT"):
        return Contexts().of(named)
    contexts = Contexts()
    return None if contexts.current is None else contexts.of(contexts.current)


def _name(found: Any) -> str | None:
    if found is not None and not isinstance(found, str):
        raise TypeError("`current` is a text")
    return found


def _urls(found: Any) -> list[str]:
    urls = found["urls"]
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ValueError("`urls` is a list of texts")
    return urls
