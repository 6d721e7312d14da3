"""The Compose files as text: valid, quiet, and saying what they must. The first test needs no engine."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from scripts import containers
from tests.containers.stack import FILES, REPOSITORY

THREE = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
FIVE = yaml.safe_load((REPOSITORY / "config/compose.five.yml").read_text())
NODES = {name: service for name, service in THREE["services"].items() if name != "cli"}
FULL = {**NODES, "node4": FIVE["services"]["node4"], "node5": FIVE["services"]["node5"]}


@pytest.mark.parametrize("size", FILES)
def test_compose_accepts_them_without_a_warning(size: int) -> None:
    compose = containers.compose()
    if not compose:
        pytest.skip("Compose is not installed")
    files = [part for name in FILES[size] for part in ("-f", name)]
    done = subprocess.run([*compose, *files, "config"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert sorted(yaml.safe_load(done.stdout)["services"].keys() - {"cli"}) == [f"node{n + 1}" for n in range(size)]


def test_the_command_is_there_for_who_asks_and_never_started_by_up() -> None:
    cli = THREE["services"]["cli"]
    assert cli["profiles"] == ["cli"] and "ports" not in cli and cli["networks"] == {"clients": {}}
    assert cli["cap_drop"] == ["ALL"] and cli["security_opt"] == ["no-new-privileges:true"]


def test_no_key_that_either_generation_of_compose_complains_about() -> None:
    assert not {"version", "name"} & (THREE.keys() | FIVE.keys())


@pytest.mark.parametrize("name", FULL)
def test_each_node_is_locked_down(name: str) -> None:
    service: dict[str, Any] = FULL[name]
    assert service["user"] == "10001:10001" and service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] and service["pids_limit"] and service["restart"] == "unless-stopped"
    assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("name", FULL)
def test_each_node_has_its_own_volume_port_and_alias_on_peers_alone(name: str) -> None:
    service, number = FULL[name], int(name[-1])
    assert service["volumes"] == [f"node{number}-data:/data"]
    assert service["ports"] == [f"127.0.0.1:${{NODE{number}_PORT:-{8000 + number}}}:8000"]
    assert service["networks"] == {"clients": {}, "peers": {"aliases": [f"rmq{number}-peer"]}}
    assert service["command"][-1] == str(number - 1)


def test_the_five_differ_from_the_three_in_their_cluster_file_alone() -> None:
    assert FIVE["x-node"] == THREE["x-node"]
    commands = {name: FIVE["services"][name]["command"][1] for name in FIVE["services"]}
    assert commands == {f"node{number}": "config/cluster.five.json" for number in range(1, 6)}
    assert all(FIVE["services"][f"node{number}"].keys() == {"command"} for number in (1, 2, 3))
