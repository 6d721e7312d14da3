"""What the Compose file promises of a container is real inside it."""

from __future__ import annotations

import ipaddress
import time

import pytest

from tests.containers.stack import Stack, command

RESOLVE = "import socket, sys; print(socket.gethostbyname(sys.argv[1]))"


def test_the_process_is_not_root_and_holds_no_capability(stack: Stack) -> None:
    status = dict(
        line.split(":", 1) for line in stack.execute(0, "cat", "/proc/1/status").splitlines() if ":" in line
    )
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"10001"}
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"


def test_the_root_file_system_is_read_only_and_its_own_directory_is_not(stack: Stack) -> None:
    for path in ("/written", "/opt/rmq/app/written", "/opt/venv/written", "/home/written"):
        stack.execute(0, "touch", path, check=False)
        assert stack.execute(0, "sh", "-c", f"test -e {path} || echo absent") == "absent"
    options = next(line for line in stack.execute(0, "cat", "/proc/mounts").splitlines() if line.split()[1] == "/")
    assert options.split()[3].split(",")[0] == "ro"
    stack.execute(0, "sh", "-c", "touch /data/x && rm /data/x && touch /tmp/x && rm /tmp/x")


def test_the_limits_are_set(stack: Stack) -> None:
    host = stack.inspect(0)["HostConfig"]
    assert host["Memory"] == 1 << 30 and host["PidsLimit"] == 128
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert not host["Privileged"]


def test_client_ports_are_bound_to_loopback_alone(stack: Stack) -> None:
    for node, port in enumerate(stack.ports):
        bindings = stack.inspect(node)["NetworkSettings"]["Ports"]
        assert bindings["8000/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
        assert not bindings.get("9000/tcp")


def test_peers_know_each_other_by_names_of_the_peers_network(stack: Stack) -> None:
    for node in range(stack.size):
        networks = stack.inspect(node)["NetworkSettings"]["Networks"]
        aliases = {name.removeprefix(f"{stack.name}_"): each["Aliases"] for name, each in networks.items()}
        assert aliases.keys() == {"clients", "peers"}
        assert f"rmq{node + 1}-peer" in aliases["peers"] and f"rmq{node + 1}-peer" not in aliases["clients"]
        peers = networks[f"{stack.name}_peers"]
        subnet = ipaddress.ip_network(f"{peers['IPAddress']}/{peers['IPPrefixLen']}", strict=False)
        for other in range(stack.size):
            found = stack.execute(node, "python", "-c", RESOLVE, f"rmq{other + 1}-peer")
            assert ipaddress.ip_address(found) in subnet


def test_on_the_clients_network_those_names_do_not_exist(stack: Stack, image: str) -> None:
    probe = "import socket, sys\ntry: print(socket.gethostbyname(sys.argv[1]))\nexcept OSError: print('unknown')"
    run = ["docker", "run", "--rm", "--network", f"{stack.name}_clients", "--entrypoint", "python", image, "-c", probe]
    assert ipaddress.ip_address(command(*run, "node1"))
    assert command(*run, "rmq1-peer") == "unknown"


def test_the_health_check_passes(stack: Stack) -> None:
    deadline = time.monotonic() + 120
    for node in range(stack.size):
        while (health := stack.inspect(node)["State"]["Health"])["Status"] != "healthy":
            assert time.monotonic() < deadline, health
            time.sleep(0.5)


@pytest.mark.parametrize("arguments", [["--help"], ["--node", "7"], ["--tick-mss", "3"]])
def test_the_image_alone_answers_a_wrong_command_with_a_sentence(arguments: list[str], image: str) -> None:
    run = ["docker", "run", "--rm", image, "--config", "config/cluster.three.json", *arguments]
    output = command("sh", "-c", '"$@" 2>&1; echo "exit $?"', "sh", *run)
    assert "Traceback" not in output
    assert output.endswith("exit 0") if arguments == ["--help"] else output.splitlines()[0].startswith("rmq: ")
    assert arguments == ["--help"] or output.endswith("exit 2")
