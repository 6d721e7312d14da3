"""The helper process: it forks the nodes of one pytest process's clusters, and carries what they say to each other.

Theory. To import a node takes half a second, to fork one that is imported a few milliseconds: so one process, with no
thread but this one, imports it once and forks each node. As their parent it can also signal them without a doubt whose
pid it is. When the pipe from pytest ends, however pytest ended, it kills all nodes, removes their files, and ends; when
it is killed itself, Linux kills the nodes.

The nodes know each other by addresses of this process: one listener stands for each node and passes everything on. The
first frame of a stream says who dials, so a link between two nodes can be cut without root. A cut link is silent, as in
a partition: nothing is closed, nothing passes, and what was said goes on its way when the link heals.

    requests    (number, name, arguments)   ->   replies (number, error or None, result)

Rules of this file: it is run as a script, and imports nothing of `rmq` (whose imports cost as much again) and of the
node by name alone. Every socket of a link is non-blocking; one loop serves them and the pipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NoReturn

HOST = "127.0.0.1"
PRELOADED = ("app.main", "app.api.app", "app.api.server")
"""What a node needs, the last two only when it serves."""
SETTINGS = {"segment_bytes": 1 << 20, "disk_reserve_bytes": 0}
"""A test's data is small, and so may its disk be. All else is as in production."""
GLANCE_S = 1.0
CHUNK_BYTES = 256 << 10
HEAD_BYTES = 5
"""Of a frame between nodes: its length, 4 bytes little endian, and its kind."""
PR_SET_PDEATHSIG = 1
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Stream:
    """One stream from a node to the node `to`: `near` is the dialler's socket, `far` the other's, None until we know
    who dials. `rest`: what could not yet be sent, by the socket that it is for; meanwhile its source is not read."""

    def __init__(self, links: Links, near: socket.socket, to: int) -> None:
        self._links, self._to = links, to
        self._near = near
        self._far: socket.socket | None = None
        self._sender = -1
        self._greeting = b""
        self._rest: dict[socket.socket, bytes] = {}
        self._closed = False
        self.watch()

    def watch(self) -> None:
        """Look out for what may be done now: nothing, as long as the link is cut."""
        cut = self._links.is_cut(self._sender, self._to)
        if self._sender >= 0 and self._far is None and not cut:
            self._dial()
        for source, target in ((self._near, self._far), (self._far, self._near)):
            if source is not None:
                waits = (target is None and self._sender >= 0) or target in self._rest
                events = (0 if waits else READ) | (WRITE if source in self._rest else 0)
                self._links.watch(source, 0 if cut else events, functools.partial(self._on_event, source))

    def close(self) -> None:
        """Both ends see the end."""
        self._closed = True
        self._links.streams.discard(self)
        for each in (self._near, self._far):
            if each is not None:
                self._links.watch(each, 0, self._on_event)
                each.close()

    def _on_event(self, source: socket.socket, events: int) -> None:
        if self._closed or self._links.is_cut(self._sender, self._to):
            return  # What another event of the same round did.
        try:
            if events & WRITE:
                self._send(source, self._rest.pop(source))
                self.watch()
            if events & READ and not self._closed:
                self._receive(source)
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _receive(self, source: socket.socket) -> None:
        data = source.recv(CHUNK_BYTES)
        if not data:
            self.close()
        elif self._far is None:
            self._greet(data)
        else:
            target = self._far if source is self._near else self._near
            self._send(target, data)
            if target in self._rest:
                self.watch()

    def _send(self, target: socket.socket, data: bytes) -> None:
        try:
            sent = target.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._rest[target] = data[sent:]

    def _greet(self, data: bytes) -> None:
        """The first frame ends with the ids of the dialler and of whom it dials, a byte each."""
        self._greeting += data
        end = HEAD_BYTES + int.from_bytes(self._greeting[:4], "little")
        if len(self._greeting) >= max(end, HEAD_BYTES + 2):
            self._sender = self._greeting[end - 2]
            self.watch()

    def _dial(self) -> None:
        """The greeting goes first. Whether anybody is there shows when it is sent."""
        self._far = socket.socket()
        self._far.setblocking(False)
        self._far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._far.connect_ex((HOST, self._links.peer_ports[self._to]))
        self._rest[self._far] = self._greeting


class Links:
    """Between the nodes of one cluster. `peer_ports`: where each node listens to the others. `ports`: where the others
    find it, which is here."""

    def __init__(self, selector: selectors.BaseSelector, peer_ports: Sequence[int]) -> None:
        self._selector, self.peer_ports = selector, peer_ports
        self.streams: set[Stream] = set()
        self._isolated: set[int] = set()
        self._listeners = [socket.create_server((HOST, 0)) for _ in peer_ports]
        self.ports: list[int] = [each.getsockname()[1] for each in self._listeners]
        for to, listener in enumerate(self._listeners):
            listener.setblocking(False)
            self.watch(listener, READ, functools.partial(self._accept, to))

    def is_cut(self, sender: int, to: int) -> bool:
        """Whether nothing passes between these two, in either direction."""
        return sender in self._isolated or (sender >= 0 and to in self._isolated)

    def isolate(self, node: int) -> None:
        """Cut all links of this node."""
        self._isolated.add(node)
        self._watch_all()

    def heal(self) -> None:
        """No link is cut."""
        self._isolated.clear()
        self._watch_all()

    def close(self) -> None:
        """Nobody can dial any more."""
        for stream in list(self.streams):
            stream.close()
        for listener in self._listeners:
            self.watch(listener, 0, None)
            listener.close()

    def watch(self, sock: socket.socket, events: int, callback: Any) -> None:
        """`callback(events)` when one of these can be done; 0: never."""
        known = sock in self._selector.get_map()
        if events and known:
            self._selector.modify(sock, events, callback)
        elif events:
            self._selector.register(sock, events, callback)
        elif known:
            self._selector.unregister(sock)

    def _watch_all(self) -> None:
        for stream in list(self.streams):
            stream.watch()

    def _accept(self, to: int, events: int) -> None:
        with contextlib.suppress(OSError):
            near, _ = self._listeners[to].accept()
            near.setblocking(False)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.streams.add(Stream(self, near, to))


class Nodes:
    """The processes of one cluster, and its files in `directory`."""

    def __init__(
        self, selector: selectors.BaseSelector, directory: str, client_ports: Sequence[int], peer_ports: Sequence[int]
    ) -> None:
        self.directory = directory
        self._links = Links(selector, peer_ports)
        self._pids: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._config = f"{directory}/cluster.json"
        nodes = [
            {"client": {"bind": f"{HOST}:{client}"}, "peer": {"bind": f"{HOST}:{peer}", "advertise": f"{HOST}:{link}"}}
            for client, peer, link in zip(client_ports, peer_ports, self._links.ports, strict=True)
        ]
        os.mkdir(directory)
        with open(self._config, "w", encoding="utf-8") as file:
            json.dump({"nodes": nodes, "settings": SETTINGS}, file)

    def start(self, node: int) -> None:
        """Fork a node, unless it runs."""
        if node in self._running():
            return
        self._ended.pop(node, None)
        arguments = ["--config", self._config, "--node", f"{node}", "--data-dir", self.directory]
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_node(arguments, f"{self.directory}/node-{node}.log", parent)
        self._pids[node] = pid

    def kill(self, node: int) -> None:
        """End a node by SIGKILL, if it runs; when this returns it has ended."""
        pid = self._pids.pop(node, None)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def pause(self, node: int) -> None:
        """SIGSTOP; when this returns it has stopped. Raises KeyError where it does not run."""
        pid = self._running()[node]
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self, node: int) -> None:
        """SIGCONT. Raises KeyError where it does not run."""
        os.kill(self._running()[node], signal.SIGCONT)

    def isolate(self, node: int) -> None:
        """Cut it off from all others."""
        self._links.isolate(node)

    def heal(self) -> None:
        """No node is cut off."""
        self._links.heal()

    def ended(self) -> dict[int, int]:
        """The nodes that ended by themselves, with their exit codes (a signal's number below 0)."""
        self._running()
        return self._ended

    def close(self) -> None:
        """Kill all, remove all."""
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        for node in list(self._pids):
            self.kill(node)
        self._links.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _running(self) -> dict[int, int]:
        for node, pid in list(self._pids.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._ended[node] = os.waitstatus_to_exitcode(status)
                del self._pids[node]
        return self._pids


class Helper:
    """Answers pytest's requests until the pipe ends."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._parent = os.getppid()
        self._missing = _preload()
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, READ, self._on_request)
        self._directory = tempfile.mkdtemp(prefix="rmq-testing-")
        self._clusters: dict[int, Nodes] = {}
        self._made = 0

    def run(self) -> None:
        """Until pytest has ended: its end of the pipe may live on in a process that it forked."""
        try:
            while os.getppid() == self._parent:
                for key, events in self._selector.select(GLANCE_S):
                    key.data(events)
        except (EOFError, OSError):
            pass
        finally:
            for nodes in self._clusters.values():
                nodes.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    def _on_request(self, events: int) -> None:
        number, name, arguments = self._pipe.recv()
        error = result = None
        try:
            result = self._answer(name, *arguments)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        self._pipe.send((number, error, result))

    def _answer(self, name: str, *arguments: Any) -> Any:
        if name == "missing":
            return self._missing
        if name == "open":
            self._made += 1
            self._clusters[self._made] = Nodes(self._selector, f"{self._directory}/{self._made}", *arguments)
            return self._made, self._clusters[self._made].directory
        cluster, *rest = arguments
        nodes = self._clusters.pop(cluster) if name == "close" else self._clusters[cluster]
        return getattr(nodes, name)(*rest)


def _preload() -> str | None:
    """Import a node. -> the name of a package that is not installed."""
    try:
        for name in PRELOADED:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        return error.name or str(error)
    gc.freeze()
    return None


def _become_node(arguments: list[str], log: str, parent: int) -> NoReturn:
    """Be what `python -m app` is, in a process of its own that writes to `log`."""
    code: Any = 1
    try:
        os.setsid()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.argv[1:] = arguments
        runpy.run_module("app", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    Helper(Connection(int(sys.argv[1]))).run()
