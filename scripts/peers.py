"""The servers that `make bench PEERS=…` measures beside RMQ: installed from Debian as root, else said.

Rules of this file: nothing that is installed may start by itself, now or with the machine. A NATS that can sync each
message is of 2.10 or newer; where Debian's own is older the next release's is unpacked under .rmq/, beside the system.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from scripts import base_image, virtualenv
from scripts.console import STATE, Failure, quiet, run_logged, say

SERVERS = {
    "rabbitmq": ("rabbitmq-server", "rabbitmq-server"),
    "nats": ("nats-server", "nats-server"),
    "etcd": ("etcd", "etcd-server"),
}
"""By the name that PEERS knows: a program, and Debian's package that brings it."""
REQUIREMENTS = "bench/requirements.txt"
POLICY = Path("/usr/sbin/policy-rc.d")
NATS_OLDEST = (2, 10)
NATS_SUITE = "trixie"
FOLDER = STATE / "peers"


def ensure(names: list[str]) -> None:
    """What these peers need. Failure says what to install by hand."""
    missing = [package for name in names for program, package in [SERVERS.get(name, ("", ""))]
               if package and not shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")]  # fmt: skip
    if missing:
        with _nothing_starts():
            base_image.install_packages(*missing)
        if shutil.which("systemctl"):
            for package in missing:
                quiet(["systemctl", "disable", package.replace("etcd-server", "etcd")])
    if "pysyncobj" in names:
        virtualenv.ensure(REQUIREMENTS)
    if "nats" in names and not os.environ.get("NATS_SERVER"):
        _choose_nats()


@contextlib.contextmanager
def _nothing_starts() -> Iterator[None]:
    """Debian's own way to install a server without starting it."""
    ours = os.geteuid() == 0 and not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink()


def _choose_nats() -> None:
    """Name one in NATS_SERVER that can sync each message, where there is a way to one."""
    found = re.search(r"v(\d+)\.(\d+)", quiet(["nats-server", "--version"]) or "")
    if found and tuple(map(int, found.groups())) >= NATS_OLDEST:
        return
    unpacked = FOLDER / "usr" / "sbin" / "nats-server"
    if not unpacked.exists():
        try:
            _unpack("nats-server", NATS_SUITE)
        except Failure as failure:
            say(f"{failure} NATS is measured without `sync_interval: always`.")
            return
    os.environ["NATS_SERVER"] = str(unpacked)


def _unpack(package: str, suite: str) -> None:
    """A package of another release of Debian, unpacked under .rmq/peers; the system's own lists stay as they are."""
    for name in ("lists/partial", "cache/archives/partial"):
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
    sources = FOLDER / "sources.list"
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources.write_text(f"deb [signed-by={keys}] {base_image.mirror()} {suite} main\n")
    settings = {
        "Dir::Etc::sourcelist": sources, "Dir::Etc::sourceparts": "-", "Dir::State::lists": FOLDER / "lists",
        "Dir::Cache": FOLDER / "cache", "Dir::State::status": "/dev/null", "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = ["apt-get", *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]
    run_logged([*apt, "update"], f"looking for {package} in {suite}", "apt-suite", failure="Reading its list failed.")
    (FOLDER / "cache" / "archives").mkdir(parents=True, exist_ok=True)
    command = [*apt, "--yes", "--download-only", "--no-install-recommends", "--reinstall", "install", package]
    run_logged(command, f"fetching {package}", "apt-suite", failure=f"Fetching {package} failed.")
    for archive in (FOLDER / "cache" / "archives").glob(f"{package}_*.deb"):
        run_logged(["dpkg", "-x", str(archive), str(FOLDER)], f"unpacking {package}", "apt-suite")
    shutil.rmtree(FOLDER / "lists")
