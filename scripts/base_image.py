"""The image that ours is built on: the official Python image, or one made of Debian's packages.

Rules of this file: what is there already is used; one bounded attempt to pull; else `debootstrap` from the
mirror that this machine itself uses, and `docker import`. BASE_IMAGE in the environment overrules all of it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from scripts.console import LOGS, Failure, quiet, run_logged, say

OFFICIAL = "python:3.12-slim"
OWN = "rmq-base:bookworm"
SUITE = "bookworm"
PACKAGES = "ca-certificates,python3,python3-venv"
PULL_TIMEOUT_S = 60
ADDED_CERTIFICATES = Path("/usr/local/share/ca-certificates")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
UNNEEDED = ("./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*", "./usr/share/man/*", "./var/log/*")


class NoBaseImage(Failure):
    """There is an engine, and no image to build on."""


def choose() -> str:
    """Name of an image that is present and may be built on. NoBaseImage when there is no way to one."""
    wanted = os.environ.get("BASE_IMAGE")
    if wanted:
        return wanted
    for name in (OFFICIAL, OWN):
        if is_present(name):
            return name
    try:
        run_logged(["docker", "pull", OFFICIAL], f"pulling {OFFICIAL}", "pull", timeout_s=PULL_TIMEOUT_S)
        return OFFICIAL
    except Failure:
        say(f"{OFFICIAL} cannot be pulled (.rmq/logs/pull.log): building {OWN} from Debian's packages instead.")
    _build()
    return OWN


def is_present(name: str) -> bool:
    return quiet(["docker", "image", "inspect", "--format", "{{.Id}}", name]) is not None


def _build() -> None:
    if os.geteuid() != 0:
        raise NoBaseImage(
            f"Building {OWN} needs root (debootstrap): run `sudo make build` once, "
            "or name an image that has Python 3.11 in BASE_IMAGE."
        )
    if not shutil.which("debootstrap"):
        install_packages("debootstrap")
    # /tmp may be small or mounted without device files.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="rmq-base-") as directory:
        root = Path(directory) / "root"
        run_logged(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root), mirror()],
            "debootstrap (takes a minute or two)", "debootstrap",
            failure="debootstrap failed; is the Debian mirror reachable?",
        )
        _import(root)


def _import(root: Path) -> None:
    LOGS.mkdir(parents=True, exist_ok=True)
    archive = root.parent / "root.tar"
    excluded = [f"--exclude={pattern}" for pattern in UNNEEDED]
    run_logged(
        ["tar", "--numeric-owner", "-C", str(root), *excluded, "-cf", str(archive), "."], f"packing {OWN}", "tar"
    )
    changes = ["--change", "ENV LANG=C.UTF-8", "--change", 'CMD ["python3"]']
    run_logged(["docker", "import", *changes, str(archive), OWN], f"importing {OWN}", "import")


def install_packages(*names: str) -> None:
    """apt-get install, as root and where there is apt. Failure says what to install by hand."""
    wanted = " ".join(names)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failure(f"{wanted} is missing: install it (on Debian and Ubuntu: sudo apt-get install {wanted}).")
    quiet_apt = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run_logged(["apt-get", "update"], "apt-get update", "apt-update", env=quiet_apt)
    except Failure:
        say("apt-get update failed (one source out of reach may be enough for that): going on with the old lists.")
    run_logged(
        ["apt-get", "install", "--yes", "--no-install-recommends", *names], f"installing {wanted}", "apt-install",
        env=quiet_apt, failure=f"Installing {wanted} failed.",
    )


def mirror(apt: Path = Path("/etc/apt")) -> str:
    """The Debian mirror of this machine's own apt sources, or Debian's general address on any other system."""
    sources = [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.*"))]
    for path in sources:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        found = re.search(r"^(?:deb\s+(?:\[[^\]]*\]\s+)?|URIs:\s*)(https?://\S+/debian)/?(?:\s|$)", text, re.MULTILINE)
        if found:
            return found[1]
    return DEFAULT_MIRROR


def extra_certificates() -> bytes | None:
    """This machine's CA bundle when it trusts more than the public ones (a proxy's, say); else None.

    The build needs it to fetch packages; it stays in the build stage and is no part of the node's image.
    """
    named = [os.environ.get(name) for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
    added = any(ADDED_CERTIFICATES.rglob("*.crt"))
    for path in (*named, "/etc/ssl/certs/ca-certificates.crt" if added else None):
        if path and os.path.isfile(path):
            return Path(path).read_bytes()
    return None
