"""The cluster as Compose containers: `make run` where there is a Docker engine.

Rules of this file: the plugin `docker compose` is preferred, `docker-compose` 1.29 will do; both files are named
when stopping, so that five nodes started by hand end as well; the project keeps Compose's default name, so that
`docker compose up` by hand and `make` mean the same containers.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

from scripts import base_image, cluster
from scripts.console import ROOT, Failure, quiet, run_logged, say

IMAGE = "rmq:local"
COMMAND_IMAGE = "rmq-cli:local"
COMMAND_FILE = "config/cli.Dockerfile"
CERTIFICATES = ".rmq/ca/certificates.crt"
SERVICES = ("node1", "node2", "node3")
ALL_FILES = ("-f", "docker-compose.yml", "-f", "config/compose.five.yml")
BUILD_VARIABLES = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT",
)


@functools.cache
def why_not() -> str:
    """Empty when containers can be started here; else the reason."""
    if quiet(["docker", "--version"]) is None:
        return "Docker is not installed"
    if quiet(["docker", "info", "--format", "{{.ServerVersion}}"], timeout_s=15) is None:
        return "no Docker engine answers"
    return "" if compose() else "Docker is here without Compose (install docker-compose-plugin)"


@functools.cache
def compose() -> list[str]:
    """The Compose command of this machine; empty when there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if quiet([*command, "version"]) is not None:
            return command
    return []


def build_all() -> None:
    """The node's image, and that of the command `rmq`."""
    build()
    build(COMMAND_IMAGE, file=COMMAND_FILE)


def build(image: str = IMAGE, context: str = ".", file: str = "Dockerfile") -> None:
    """Build an image, the node's if not said, from the folder `context`; unchanged layers come from the cache."""
    base = base_image.choose()
    _write_certificates(ROOT / context)
    passed = [name for name in BUILD_VARIABLES if os.environ.get(name)]
    arguments = [part for name in passed for part in ("--build-arg", name)]
    # Host networking: a package index or a proxy on this machine's own address must be reachable while building.
    command = ["docker", "build", "--network", "host", "--build-arg", f"BASE_IMAGE={base}", *arguments, "-t", image]
    run_logged(
        [*command, "-f", f"{context}/{file}", context], f"building {image} on {base}", "build",
        failure="Building the image failed.",
    )  # fmt: skip


def _write_certificates(context: Path) -> None:
    """Put this machine's CA bundle where the Dockerfile looks for it, or nothing there."""
    bundle, certificates = base_image.extra_certificates(), context / CERTIFICATES
    certificates.unlink(missing_ok=True)
    if bundle is not None:
        certificates.parent.mkdir(parents=True, exist_ok=True)
        certificates.write_bytes(bundle)


def start() -> None:
    """Build, start what does not run, wait until all are ready, print the summary."""
    before, image = running(), image_id()
    ports = cluster.client_ports()
    cluster.refuse_taken([ports[place] for place, name in enumerate(SERVICES) if name not in before])
    build_all()
    if len(before) == len(SERVICES) and image_id() == image:
        say("RMQ runs already, as containers.")
    else:
        command = [*compose(), "up", "--detach", "--no-build", "--remove-orphans"]
        run_logged(command, "starting containers", "up", failure="Starting the containers failed.")
    cluster.wait_until_ready(ports, _first_dead)
    names = running()
    cluster.print_summary(ports, "containers", lambda node: _kill(names.get(SERVICES[node], SERVICES[node])))
    say(f"The command rmq, with nothing installed: {' '.join(compose())} run --rm cli rmq cluster status")


def stop(*, volumes: bool = False) -> bool:
    """Remove containers and networks, with `volumes` the data too; whether there was anything to stop."""
    if why_not():
        return False
    there = bool(_ids())
    if there or volumes:
        more = ["--volumes"] if volumes else []
        run_logged([*compose(), *ALL_FILES, "down", "--remove-orphans", *more], "stopping containers", "down")
    return there


def running() -> dict[str, str]:
    """Service -> name of its container, for those that run."""
    ids = _ids()
    if not ids:
        return {}
    shape = '{{.State.Running}} {{.State.Paused}} {{index .Config.Labels "com.docker.compose.service"}} {{.Name}}'
    lines = (quiet(["docker", "inspect", "--format", shape, *ids]) or "").splitlines()
    found = [line.split()[2:] for line in lines if line.startswith("true false ")]
    return {service: name.lstrip("/") for service, name in found if service in SERVICES}


def _kill(name: str) -> str:
    return f"docker kill {name}    # `docker start {name}` starts it again"


def image_id() -> str | None:
    return quiet(["docker", "image", "inspect", "--format", "{{.Id}}", IMAGE])


def _ids() -> list[str]:
    command = compose()
    everything = ["--all"] if command == ["docker", "compose"] else []
    return (quiet([*command, *ALL_FILES, "ps", "--quiet", *everything]) or "").split() if command else []


def _first_dead() -> str:
    """A container that keeps ending is started again and again by its restart policy: look at how often."""
    shape = "{{.RestartCount}} {{.State.Running}} {{.Name}}"
    for line in (quiet(["docker", "inspect", "--format", shape, *_ids()]) or "").splitlines():
        restarts, is_running, name = line.split()
        if int(restarts) >= 3 or is_running == "false":
            output = subprocess.run(["docker", "logs", "--tail", "15", name], capture_output=True, check=False)
            text = re.sub(r"(?m)^", "    ", (output.stdout + output.stderr).decode("utf-8", "replace").rstrip())
            raise Failure(f"{text}\nThe container {name.lstrip('/')} ended; see `docker logs {name.lstrip('/')}`.")
    return ""
