"""The cluster file's two forms, and a sentence for each thing that can be wrong in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.config import ConfigError, Endpoint, Settings, load
from app.config.cluster_file import NODES_MAX, parse, read

REPOSITORY = Path(__file__).resolve().parents[2]


def address(n: int = 0, **changed: Any) -> dict[str, Any]:
    return {"ip": "127.0.0.1", "port": 8001 + n, "internal_port": 9001 + n} | changed


def full(n: int = 0, **changed: Any) -> dict[str, Any]:
    client = {"bind": "0.0.0.0:8000", "advertise": f"http://localhost:{8001 + n}"}
    return {"client": client, "peer": {"bind": "0.0.0.0:9000", "advertise": f"rmq{n}:9000"}} | changed


@pytest.mark.parametrize(
    ("ip", "host", "url"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:8001"),
        ("http://127.0.0.1", "127.0.0.1", "http://127.0.0.1:8001"),
        ("http://127.0.0.1/", "127.0.0.1", "http://127.0.0.1:8001"),
        ("localhost", "localhost", "http://localhost:8001"),
        ("node-1.queue.example", "node-1.queue.example", "http://node-1.queue.example:8001"),
        ("::1", "::1", "http://[::1]:8001"),
        ("http://[::1]", "::1", "http://[::1]:8001"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "http://[::ffff:10.0.0.1]:8001"),
    ],
)
def test_the_simple_form(ip: str, host: str, url: str) -> None:
    (node,) = parse({"addresses": [address(ip=ip)]}).nodes
    assert node.client_bind == Endpoint(host, 8001) and node.client_url == url
    assert node.peer_bind == node.peer == Endpoint(host, 9001)


def test_the_full_form() -> None:
    file = parse({"cluster": "orders", "nodes": [full(0), full(1, settings={"tick_ms": 5})], "settings": {"a": 1}})
    assert file.cluster == "orders" and file.settings == {"a": 1} and file.node_settings == ({}, {"tick_ms": 5})
    assert file.nodes[1].client_bind == Endpoint("0.0.0.0", 8000)
    assert file.nodes[1].client_url == "http://localhost:8002" and file.nodes[1].peer == Endpoint("rmq1", 9000)


def test_bind_or_advertise_alone_stands_for_both() -> None:
    node = full(client={"bind": "10.0.0.1:80"}, peer={"advertise": "queue:9000"})
    (parsed,) = parse({"nodes": [node]}).nodes
    assert parsed.client_url == "http://10.0.0.1:80"
    assert parsed.peer_bind == parsed.peer == Endpoint("queue", 9000)


@pytest.mark.parametrize("count", [1, 2, NODES_MAX])
def test_one_to_nineteen_nodes(count: int) -> None:
    assert len(parse({"addresses": [address(n) for n in range(count)]}).nodes) == count


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "the file must be a JSON object"),
        ({}, 'write either "addresses"'),
        ({"addresses": [address()], "nodes": [full()]}, 'write either "addresses"'),
        ({"addresses": []}, "must be a list of 1 to 19 nodes, not 0 of them"),
        ({"addresses": {"0": {}}}, "must be a list of 1 to 19 nodes, not dict"),
        ({"addresses": [address(n) for n in range(20)]}, "not 20 of them"),
        ({"adresses": [address()]}, 'unknown key "adresses": did you mean addresses?'),
        ({"addresses": [{"ip": "127.0.0.1", "port": 1}]}, 'addresses[0] has no "internal_port"; write {"ip"'),
        ({"addresses": [{"port": 1, "internal_port": 2}]}, 'addresses[0] has no "ip"'),
        ({"addresses": [address(internalport=1)]}, "did you mean internal_port?"),
        ({"addresses": [address(ip=7)]}, "addresses[0].ip must be a text"),
        ({"addresses": [address(ip="no such host")]}, "addresses[0].ip must be an address or a host name"),
        ({"addresses": [address(ip="")]}, "addresses[0].ip must be"),
        ({"addresses": [address(ip="https://x")]}, "addresses[0].ip must be"),
        ({"addresses": [address(ip="http://127.0.0.1:8001")]}, "addresses[0].ip must be an address or a host name"),
        ({"addresses": [address(ip="::1::")]}, "addresses[0].ip must be an address or a host name"),
        ({"nodes": [full(peer={"bind": "[127.0.0.1:1]:2"})]}, "nodes[0].peer.bind must be an address or a host name"),
        ({"addresses": [address(port="8001")]}, 'addresses[0].port must be a port from 1 to 65535, not "8001".'),
        ({"addresses": [address(port=0)]}, "addresses[0].port must be a port"),
        ({"addresses": [address(port=True)]}, "addresses[0].port must be a port"),
        ({"addresses": [address(internal_port=65536)]}, "addresses[0].internal_port must be a port"),
        ({"addresses": [address(internal_port=8001)]}, "port and internal_port are both 8001"),
        ({"addresses": [address(0), address(0)]}, "addresses[1] repeats 127.0.0.1:8001 of addresses[0]"),
        ({"addresses": [address(0), address(0, ip="localhost")]}, "addresses[1] repeats 127.0.0.1:8001"),
        ({"addresses": [address(0), address(1, internal_port=8001)]}, "addresses[1] repeats 127.0.0.1:8001"),
        ({"addresses": ["127.0.0.1"]}, "addresses[0] must be a JSON object"),
        ({"nodes": [{"client": {"bind": "0.0.0.0:1"}}]}, "nodes[0].client.advertise is missing"),
        ({"nodes": [{"client": {"bind": "1.2.3.4:1"}}]}, "nodes[0].peer is missing"),
        ({"nodes": [full(client={})]}, "nodes[0].client is empty"),
        ({"nodes": [full(client={"bind": 8000})]}, "nodes[0].client.bind must be a text"),
        ({"nodes": [full(client={"advertise": "localhost:8001"})]}, "must be a URL such as"),
        ({"nodes": [full(peer={"advertise": "http://x:1"})]}, "nodes[0].peer.bind must be host:port"),
        ({"nodes": [full(peer={"bind": "x:99999"})]}, "must be a port from 1 to 65535"),
        ({"nodes": [full(peer={"bind": "0.0.0.0:8000", "advertise": "x:1"})]}, "both listen on 0.0.0.0:8000"),
        ({"nodes": [full(0), full(0)]}, "nodes[1] repeats"),
        ({"addresses": [address()], "cluster": "a b"}, '"cluster" must be a name'),
        ({"addresses": [address()], "settings": []}, '"settings" must be a JSON object'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(content: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(content)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1, "a": 2}', "\ufeff{}", "[" * 100_000])
def test_a_file_that_is_not_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="is not JSON"):
        read(str(path))


def test_a_file_in_another_encoding_or_a_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    path.write_bytes(b'{"cluster": "\xff"}')
    with pytest.raises(ConfigError, match="is not JSON in UTF-8"):
        read(str(path))
    with pytest.raises(ConfigError, match="Is a directory"):
        read(str(tmp_path))


@pytest.mark.parametrize(("name", "count"), [("local.three", 3), ("cluster.three", 3), ("cluster.five", 5)])
def test_the_files_that_come_with_it_are_valid(name: str, count: int) -> None:
    path = REPOSITORY / "config" / f"{name}.json"
    for node in range(count):
        settings = load(["--config", str(path), "--node", str(node)], {})
        assert isinstance(settings, Settings) and len(settings.nodes) == count
        assert settings.me.client_url.endswith(f":{8001 + node}")
    assert json.loads(path.read_text())
