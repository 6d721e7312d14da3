"""The cluster file: who the nodes are, where each listens, and by which address others reach it.

Rules of this file: JSON in, `ClusterFile` out, or a ConfigError that names the place in the file; a key that
is not known is refused, because a misspelled timeout that is silently ignored is found out in production.

The simple form, where a node listens on the address that others use:

    {"addresses": [{"ip": "127.0.0.1", "port": 8001, "internal_port": 9001}, …]}

The full form, where the two may differ (containers, NAT). `bind` may be left out when it equals `advertise`:

    {"cluster": "rmq",
     "nodes": [{"client": {"bind": "0.0.0.0:8000", "advertise": "http://localhost:8001"},
                "peer": {"bind": "0.0.0.0:9000", "advertise": "rmq1-peer:9000"},
                "settings": {"data_dir": "/data"}}, …],
     "settings": {"heartbeat_ms": 50}}

"cluster" and "settings" may stand in either form. A node's own "settings" beat the file's.
"""

from __future__ import annotations

import json
import re
import socket
from typing import Any, NamedTuple

from app.config.table import ConfigError, did_you_mean

NODES_MAX = 19
WILDCARDS = ("0.0.0.0", "::", "*")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?")


class Endpoint(NamedTuple):
    """A host (name, IPv4 or IPv6 without brackets) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def canonical(self) -> str:
        """One spelling for one address, as far as that can be told without asking a name server."""
        host = self.host.lower()
        return str(Endpoint("127.0.0.1" if host == "localhost" else host, self.port))


class NodeAddress(NamedTuple):
    """Where one node listens (`…_bind`) and where others find it."""

    client_bind: Endpoint
    client_url: str
    """Base URL for clients without a closing slash, e.g. "http://localhost:8001"."""
    peer_bind: Endpoint
    peer: Endpoint


class ClusterFile(NamedTuple):
    """What a cluster file says. Settings are raw JSON values, checked later against the table."""

    cluster: str
    nodes: tuple[NodeAddress, ...]
    settings: dict[str, Any]
    node_settings: tuple[dict[str, Any], ...]


def read(path: str) -> ClusterFile:
    """Parse the file at `path`. ConfigError for a file that cannot be read or says something wrong."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file, object_pairs_hook=_no_duplicates)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"--config {path}: {reason}; write the path of a cluster file.") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON in UTF-8 ({error}); correct it there.") from None
    try:
        return parse(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse(content: object) -> ClusterFile:
    """`ClusterFile` from decoded JSON; a ConfigError names the place in it."""
    top = _table(content, "the file", ("addresses", "nodes", "cluster", "settings"))
    if ("addresses" in top) == ("nodes" in top):
        raise ConfigError('write either "addresses" (the simple form) or "nodes" (the full form).')
    form = "addresses" if "addresses" in top else "nodes"
    entries = top[form]
    if not isinstance(entries, list) or not 1 <= len(entries) <= NODES_MAX:
        count = f"{len(entries)} of them" if isinstance(entries, list) else type(entries).__name__
        raise ConfigError(f'"{form}" must be a list of 1 to {NODES_MAX} nodes, not {count}.')
    cluster = top.get("cluster", "rmq")
    if not isinstance(cluster, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", cluster):
        raise ConfigError('"cluster" must be a name of 1 to 64 letters, digits, dots, dashes or underscores.')
    read_entry = _simple if form == "addresses" else _full
    nodes = tuple(read_entry(entry, f"{form}[{place}]") for place, entry in enumerate(entries))
    _refuse_duplicates(nodes, form)
    own = tuple(_table(entry.get("settings", {}), f"{form}[{n}].settings") for n, entry in enumerate(entries))
    return ClusterFile(cluster, nodes, _table(top.get("settings", {}), '"settings"'), own)


def _simple(entry: object, place: str) -> NodeAddress:
    fields = _table(entry, place, ("ip", "port", "internal_port"))
    for name in ("ip", "port", "internal_port"):
        if name not in fields:
            raise ConfigError(
                f'{place} has no "{name}"; write {{"ip": "127.0.0.1", "port": 8001, "internal_port": 9001}}.'
            )
    host = fields["ip"]
    if not isinstance(host, str):
        raise ConfigError(f'{place}.ip must be a text such as "127.0.0.1", not {json.dumps(host)}.')
    host = _host(host.removeprefix("http://").rstrip("/"), f"{place}.ip")
    client = Endpoint(host, _port(fields["port"], f"{place}.port"))
    peer = Endpoint(host, _port(fields["internal_port"], f"{place}.internal_port"))
    if client == peer:
        raise ConfigError(f"{place}: port and internal_port are both {client.port}; write two different ones.")
    return NodeAddress(client, f"http://{client}", peer, peer)


def _full(entry: object, place: str) -> NodeAddress:
    fields = _table(entry, place, ("client", "peer", "settings"))
    client_bind, client_url = _listener(fields, "client", place, url=True)
    peer_bind, peer = _listener(fields, "peer", place, url=False)
    if client_bind == peer_bind:
        raise ConfigError(f"{place}: client and peer both listen on {peer_bind}; write two different ports.")
    return NodeAddress(client_bind, client_url, peer_bind, _endpoint(peer, f"{place}.peer.advertise"))


def _listener(fields: dict[str, Any], name: str, place: str, *, url: bool) -> tuple[Endpoint, str]:
    place = f"{place}.{name}"
    sample = '{"bind": "0.0.0.0:8000", "advertise": "%s"}' % ("http://localhost:8001" if url else "node1:9000")
    if name not in fields:
        raise ConfigError(f"{place} is missing; write {sample}.")
    pair = _table(fields[name], place, ("bind", "advertise"))
    for key, value in pair.items():
        if not isinstance(value, str):
            raise ConfigError(f"{place}.{key} must be a text such as in {sample}.")
    bind, advertise = pair.get("bind"), pair.get("advertise")
    if bind is None and advertise is None:
        raise ConfigError(f"{place} is empty; write {sample}.")
    if advertise is None:
        assert bind is not None
        if _endpoint(bind, f"{place}.bind").host in WILDCARDS:
            raise ConfigError(f"{place}.advertise is missing: others cannot call {bind}; write the address they use.")
        advertise = f"http://{bind}" if url else bind
    advertise = advertise.rstrip("/") if url else advertise
    scheme, separator, rest = advertise.partition("://")
    if url and (not separator or scheme not in ("http", "https") or not re.fullmatch(r"[^/?#\s@]+(/[^?#\s@]*)?", rest)):
        raise ConfigError(f'{place}.advertise must be a URL such as "http://localhost:8001", not {advertise!r}.')
    return _endpoint(bind if bind is not None else rest if url else advertise, f"{place}.bind"), advertise


def _endpoint(text: str, place: str) -> Endpoint:
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^\[\]:]+)):(\d{1,5})", text, re.ASCII)
    if not match:
        raise ConfigError(f'{place} must be host:port such as "127.0.0.1:9001", not {text!r}.')
    return Endpoint(_host(match[1] or match[2], place), _port(int(match[3]), place))


def _host(text: str, place: str) -> str:
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not HOST.fullmatch(host) or (":" in host and not _is_ipv6(host)):
        raise ConfigError(f'{place} must be an address or a host name such as "127.0.0.1", not {text!r}.')
    return host


def _is_ipv6(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return False
    return True


def _port(value: object, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise ConfigError(f"{place} must be a port from 1 to 65535, not {json.dumps(value)}.")
    return value


def _refuse_duplicates(nodes: tuple[NodeAddress, ...], form: str) -> None:
    taken: dict[str, int] = {}
    for place, node in enumerate(nodes):
        for address in (node.client_url.partition("://")[2].replace("localhost:", "127.0.0.1:"), node.peer.canonical):
            first = taken.setdefault(address.lower(), place)
            if first != place:
                raise ConfigError(f"{form}[{place}] repeats {address} of {form}[{first}]; give each node its own.")


def _table(value: object, place: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{place} must be a JSON object, not {json.dumps(value)[:40]}.")
    for key in value:
        if keys is not None and key not in keys:
            raise ConfigError(f'{place} has an unknown key "{key}": {did_you_mean(key, keys)}')
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'"{next(name for name in names if names.count(name) > 1)}" stands there twice')
    return table
