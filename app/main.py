"""The composition root: settings -> storage -> core -> node -> HTTP. The only file that knows concrete classes.

Start: open the log and the state, make them meet, listen to peers, listen to clients, tick.
Stop (SIGTERM, SIGINT): hand leadership over, stop accepting, finish what is in flight, flush, exit 0.
A fault of the disk, or a defect that shows in what drives the group, ends the process at once (fail-stop): what it
had not made durable was never acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import glob
import logging
import os
import random
import resource
import secrets
import signal
import sys
import threading
import time
from functools import partial

import uvloop

from app.broker.errors import StateError
from app.broker.machine import Machine
from app.config import Settings, describe, load_or_exit
from app.node.compaction import Compaction
from app.node.disk import BackgroundThread, DiskThread
from app.node.errors import NodeError
from app.node.guard import Guard
from app.node.protocols import Surroundings
from app.node.recovery import GROUP, StateLost, restore_core
from app.node.reserve import Reserve
from app.node.runner import GroupRunner
from app.node.service import Node
from app.node.snapshots import SnapshotFiles
from app.node.ticker import Ticker
from app.raft import Tuning
from app.storage import Identity, RealFileSystem, SegmentedLog, StorageError

log = logging.getLogger("rmq")

EXIT_FAILED = 1
HAND_OVER_S = 1.0
CLOSE_S = 0.7
"""For flushing and closing, after the requests in flight have had their time."""
SWITCH_S = 0.0005
"""How long a busy loop may keep the disk thread from saying that a sync is done; Python's default is 5 ms."""
CHECKPOINTS_PER_COMPACTION = 4


def tuning(settings: Settings) -> Tuning:
    """The core's times, in ticks, from the settings' milliseconds."""
    tick_ms = settings.tick_ms
    return Tuning(
        heartbeat_ticks=max(1, settings.heartbeat_ms // tick_ms),
        election_min_ticks=settings.election_timeout_min_ms // tick_ms,
        election_max_ticks=settings.election_timeout_max_ms // tick_ms,
        stall_ticks=settings.disk_stall_ms // tick_ms,
    )


class Process:
    """One running node. `open` may raise StorageError, StateLost or OSError; `run` ends when told to stop."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._guard = Guard(self._loop, fail_stop)

    def open(self) -> None:
        """Open what is on disk and put the node together around it."""
        settings, fs, post = self.settings, RealFileSystem(), self._guard.post
        directory = f"{settings.storage_dir}/group-{GROUP}"
        if not fs.exists(directory):
            tell_of_beginning(settings)
        fs.makedirs(directory)
        identity = Identity(settings.cluster_id, GROUP, settings.node, secrets.randbits(63) | 1)
        path, size = f"{directory}/state.db", settings.segment_bytes
        begin = not Machine.exists(path)
        self._wal = SegmentedLog.open(fs, f"{directory}/log", identity, segment_bytes=size, begin=begin)
        self._machine = Machine.open(path)
        core = restore_core(self._wal, self._machine, len(settings.nodes), tuning(settings), random.Random())
        snapshots = SnapshotFiles(fs, f"{directory}/snapshots", settings.snapshot_chunk_bytes)
        reserve = Reserve(fs, directory, settings.disk_reserve_bytes, lambda: self._machine.owed_bytes)
        self._disk = DiskThread(self._wal, snapshots, reserve, post, fail_stop)
        self.node = Node(settings, self._machine)
        around = Surroundings(
            transport=self.node,
            disk=self._disk,
            background=BackgroundThread(post, fail_stop),
            now_ms=lambda: time.time_ns() // 1_000_000,
            elapsed_ms=lambda: time.monotonic_ns() // 1_000_000,
            soon=self._guard.soon,
            later=self._guard.later,
        )
        every_bytes = (settings.compact_bytes - settings.log_retain_bytes) // CHECKPOINTS_PER_COMPACTION
        retain_bytes = settings.log_retain_bytes
        compaction = Compaction(self._wal, core, self._machine, snapshots, around, every_bytes, retain_bytes)
        runner = GroupRunner(core, self._machine, snapshots, compaction, around, settings.inbox_limit)
        self.node.attach(runner, self._disk)
        self._ticker = Ticker(settings.tick_ms, core.tuning.heartbeat_ticks, partial(self._guard.run, runner.tick))

    async def run(self) -> None:
        """Serve until a signal, then stop in order."""
        for name in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(name, self._stop.set)
        self._disk.start()
        await self.node.network.start()
        self._ticker.start(self._loop)
        # Imported while the peers' streams are already being dialled: FastAPI takes half a second to import.
        from app.api.app import create_app
        from app.api.server import build_server

        server = build_server(create_app(self.node, self.settings), self.settings)
        serving = self._loop.create_task(server.serve())
        log.info("serving clients on %s and peers on %s", self.settings.me.client_bind, self.settings.me.peer_bind)
        gc.collect()
        gc.freeze()
        await asyncio.wait([serving, self._loop.create_task(self._stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        if self._stop.is_set():
            self._limit_the_end()
        await self._hand_over()
        server.should_exit = True
        await serving
        self._close()

    def _limit_the_end(self) -> None:
        """A stuck disk must not keep a stopped node alive, and nothing is lost: what was acknowledged is durable."""

        def leave() -> None:
            log.warning("the disk does not answer: ending without closing the files")
            os._exit(0)

        limit = threading.Timer(self.settings.shutdown_timeout_s + CLOSE_S, leave)
        limit.daemon = True
        limit.start()

    async def _hand_over(self) -> None:
        """Let another node lead before this one goes, if one can."""
        self.node.stopping.set()
        log.info("stopping: handing over, finishing what is in flight")
        if self.node.runner.core.leader is not None and len(self.settings.nodes) > 1:
            with contextlib.suppress(NodeError, ValueError):
                await self.node.transfer(None, timeout_s=HAND_OVER_S)

    def _close(self) -> None:
        self._ticker.stop()
        self._guard.close()
        self._disk.stop(timeout_s=1.0)
        self._machine.checkpoint()
        self._machine.close()
        self._wal.close()
        log.info("stopped")


def tell_of_beginning(settings: Settings) -> None:
    """This node has no data. Where there is some of another cluster, that may be its own, under other addresses."""
    log.info("beginning empty in %s", settings.storage_dir)
    others = glob.glob(f"{glob.escape(os.path.abspath(settings.data_dir))}/*/node-{settings.node}")
    if others:
        log.warning(
            "data of another cluster is there already, in %s: another name of the cluster, or another address in its "
            "file, makes another cluster. If that was not meant, stop, and put the cluster file back",
            ", ".join(sorted(others)),
        )


def fail_stop(error: BaseException) -> None:
    """A fault after which nothing that this process believes about its disk can be trusted."""
    log.critical("ending this process: %s: %s", type(error).__name__, error, exc_info=error)
    os._exit(EXIT_FAILED)


def leave_early(_signal: int, _frame: object) -> None:
    """Told to stop before it serves: nothing is in flight, and what a start does to the disk may end anywhere."""
    os._exit(0)


async def serve(settings: Settings) -> int:
    """Run one node; returns the process's exit code."""
    process = Process(settings)
    try:
        process.open()
    except (StorageError, StateError, StateLost) as error:
        log.critical("cannot start: %s", error)
        return EXIT_FAILED
    except OSError as error:
        log.critical("cannot start: %s. Is %s a directory that this user may write to?", error, settings.data_dir)
        return EXIT_FAILED
    try:
        await process.run()
    except OSError as error:
        advice = "is another process using this port? Stop it, or change the port in the cluster file"
        if error.errno != errno.EADDRINUSE:
            advice = "the addresses to listen on in the cluster file must be this machine's"
        log.critical("cannot serve: %s: %s.", error, advice)
        return EXIT_FAILED
    return 0


def main() -> None:
    """`python -m app`."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, leave_early)
    settings = load_or_exit()
    logging.basicConfig(
        level=settings.log_level.upper(),
        format=f"%(asctime)s node {settings.node} %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    print(describe(settings), flush=True)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    os.umask(0o077)
    sys.setswitchinterval(SWITCH_S)
    code = uvloop.run(serve(settings))
    logging.shutdown()
    os._exit(code)  # Threads that are stuck in a disk's system call must not keep a stopped node alive.
