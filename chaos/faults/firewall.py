"""Dropped packets: rules in the network of a node's container, set from the host, for the node has no right to.

A rule stands where packets arrive, so that the sender learns nothing, as on a broken cable. All are in one chain,
entered first of all. They end with their container, and nothing of the host is changed. Addresses are those of the
network between nodes, so that no client is touched. Rules that only count show what still passes.

Needs Linux, nsenter and iptables, and root or a sudo that asks for no password; NoFirewall says what is missing.

Rules of this file: the packets of a link (from, to) are dropped or counted at `to`; a node's rules are set all at once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from chaos.cluster import Cluster
from chaos.engine import at_once
from chaos.faults.probes import Link, Links

CHAIN = "RMQ-CHAOS"
TOOL_S = 20.0
LOCK = "-w 10"
"""Seconds to wait for others who change tables: the engine does, too."""
_COUNTED = re.compile(rf"^\[(\d+):\d+\] -A {CHAIN} -s ([\d.]+)/32 (?:.* )?-j (DROP|RETURN)$", re.MULTILINE)


class NoFirewall(Exception):
    """Firewall rules cannot be set here. Its text is a sentence that says what is needed."""


class Packets(NamedTuple):
    """How many packets of a link were dropped, and how many were counted and passed."""

    dropped: int
    passed: int


def cut(cluster: Cluster, links: Collection[Link], counted: Collection[Link] = ()) -> None:
    """Drop the packets of `links`; let those of `counted` pass, and count them."""
    _set(cluster, {**{link: ["-j DROP"] for link in links}, **{link: ["-j RETURN"] for link in counted}})


def break_off(cluster: Cluster, link: Link, after_bytes: int) -> None:
    """Let so many bytes pass over a link, and drop what follows."""
    _set(cluster, {link: [f"-m quota --quota {after_bytes} -j RETURN", "-j DROP"]})


def suspend(cluster: Cluster, nodes: Iterable[int]) -> None:
    """Let everything pass until `resume`."""
    at_once(lambda node: _run(cluster, node, f"iptables {LOCK} -D INPUT -j {CHAIN}"), nodes)


def resume(cluster: Cluster, nodes: Iterable[int]) -> None:
    """Put the rules in force again."""
    at_once(lambda node: _run(cluster, node, f"iptables {LOCK} -I INPUT -j {CHAIN}"), nodes)


def heal(cluster: Cluster) -> None:
    """Take away all rules of all nodes; of those that do not run they are gone."""
    remove = f"while iptables {LOCK} -D INPUT -j {CHAIN} 2>&-; do :; done"
    forget = f"! iptables {LOCK} -S {CHAIN} >&- 2>&- || {{ iptables {LOCK} -F {CHAIN} && iptables {LOCK} -X {CHAIN}; }}"
    running = [node for node in cluster.nodes if cluster.state(node)["Running"]]
    at_once(lambda node: _run(cluster, node, f"{remove}; {forget}"), running)


def packets(cluster: Cluster, links: Links) -> dict[Link, Packets]:
    """What was dropped and what passed on each link so far; zeros where no rule is."""
    saved = {to: _run(cluster, to, "iptables-save -c -t filter") for to in {to for _, to in links}}
    addresses = _addresses(cluster, {source for source, _ in links})
    return {(source, to): _count(saved[to], addresses[source]) for source, to in links}


def _count(saved: str, address: str) -> Packets:
    counts = {"DROP": 0, "RETURN": 0}
    for count, source, action in _COUNTED.findall(saved):
        counts[action] += int(count) * (source == address)
    return Packets(counts["DROP"], counts["RETURN"])


def _set(cluster: Cluster, actions: Mapping[Link, Iterable[str]]) -> None:
    addresses = _addresses(cluster, {source for source, _ in actions})
    rules: dict[int, list[str]] = {}
    for (source, to), them in actions.items():
        rules.setdefault(to, []).extend(f"-A {CHAIN} -s {addresses[source]} {action}" for action in them)

    def one(node: int) -> None:
        table = ["*filter", f":{CHAIN} - [0:0]", *rules[node], f"-I INPUT -j {CHAIN}", "COMMIT", ""]
        _run(cluster, node, f"iptables-restore {LOCK} --noflush", "\n".join(table))

    at_once(one, rules)


def _addresses(cluster: Cluster, nodes: Collection[int]) -> dict[int, str]:
    peers = cluster.peers.name
    return {node: cluster.networks(node).get(str(peers), "") for node in nodes}


def _run(cluster: Cluster, node: int, script: str, given: str = "") -> str:
    """What a shell script prints that is run in the network of a node's container."""
    missing = [tool for tool in ("nsenter", "iptables") if shutil.which(tool) is None]
    if missing:
        raise NoFirewall(f"Cut links need {' and '.join(missing)} on this machine: install util-linux and iptables.")
    right = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if right and shutil.which("sudo") is None:
        raise NoFirewall("Cut links need root, or a sudo that asks for no password, where the containers run.")
    pid = cluster.state(node)["Pid"]
    if not pid:
        raise NoFirewall(f"Node {node} does not run, so it has no network to put a rule into.")
    done = subprocess.run(
        [*right, "nsenter", "-t", str(pid), "-n", "sh", "-c", script], input=given, text=True, timeout=TOOL_S,
        check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    if done.returncode:
        reason = done.stderr.strip() or script
        raise NoFirewall(
            f"The firewall of node {node} cannot be changed: {reason} (Linux, and root or a sudo without password, are "
            "needed)."
        )
    return done.stdout
