"""The helper process as pytest's process sees it: started once, asked one thing at a time.

Rules of this file: the helper ends when the pipe does, so closing the pipe is all there is to ending it; a request that
was interrupted (Ctrl-C, a test's time limit) leaves an answer behind, which the next one skips by its number.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

from rmq.beside import ROOT

HELPER = Path(__file__).with_name("helper.py")
END_S = 30.0


class Server:
    """A context: starts the nodes of clusters. To be shared between threads."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._pipe, theirs = Pipe()
        env = {name: value for name, value in os.environ.items() if not name.startswith("RMQ_")}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(HELPER), str(theirs.fileno())], pass_fds=[theirs.fileno()], env=env,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, name: str, *arguments: Any) -> Any:
        """The helper's answer; see `rmq.testing.helper.Nodes` for what can be asked. Raises RuntimeError where it could
        not do it, or has ended."""
        with self._lock:
            number = next(self._numbers)
            try:
                self._pipe.send((number, name, arguments))
                answered = 0
                while answered != number:
                    answered, error, result = self._pipe.recv()
            except (EOFError, OSError):
                raise RuntimeError("the helper process that keeps the nodes of the tests has ended.") from None
        if error is not None:
            raise RuntimeError(f"the helper process could not {name}: {error}")
        return result

    def check(self) -> None:
        """Raises RuntimeError where the nodes' packages are not installed."""
        missing = self.ask("missing")
        if missing is not None:
            mend = "pip install '.[node]' in RMQ's folder"
            raise RuntimeError(f"the nodes need a package that is not installed, {missing}: {mend}")

    def close(self) -> None:
        """End the helper, and with it all nodes; their files are removed."""
        self._pipe.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
