"""A node as a process of its own: what it has cost so far, and an end whatever happens.

Theory: each node leads a session of processes. So its helpers are counted with it and end with it, and a signal for the
node alone goes to its first process. Where the bench itself is killed the kernel ends the node.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_prctl = ctypes.CDLL(None).prctl


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel ends this process when the bench ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One process with its children. Its output goes to `log`."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env=None if environment is None else {**os.environ, **environment}, preexec_fn=die_with_parent,
            )  # fmt: skip

    def send(self, how: int) -> None:
        """A signal for the node alone."""
        self.process.send_signal(how)

    def kill(self) -> None:
        """End all of it, and wait."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Usage:
    """What nodes have used, by the ids of their first processes; with what belongs to the sessions that these lead."""

    def __init__(self, processes: Sequence[int]) -> None:
        self._processes = frozenset(processes)

    def cpu_s(self) -> float:
        """Processor time of those that live now, in user and kernel mode."""
        return sum(int(fields[11]) + int(fields[12]) for fields in self._fields()) / _TICKS_PER_S

    def resident_mb(self) -> float:
        """Memory that is resident now."""
        return sum(int(fields[21]) for fields in self._fields()) * _PAGE_BYTES / 1e6

    def _fields(self) -> Iterator[list[str]]:
        """The fields of /proc/PID/stat, from the third one on, of each process of these sessions."""
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(path.parent.name) in self._processes or int(fields[3]) in self._processes:
                yield fields


def machine_busy_s() -> float:
    """Processor time of all that runs on this machine: user, nice, system, interrupts, and what its host took away."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / _TICKS_PER_S


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    ports, held = hold_ports(count)
    for each in held:
        each.close()
    return ports


def hold_ports(count: int) -> tuple[list[int], list[socket.socket]]:
    """The same, and what keeps others from being given them until it is closed. Who sets SO_REUSEADDR can listen there
    all the same."""
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(("127.0.0.1", 0))
    return [each.getsockname()[1] for each in held], held
