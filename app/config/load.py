"""From command line, environment and cluster file to one `Settings`, or to one sentence.

Rules of this file: the order is flag, environment, file, default, and a refused value names the place where it
stands; no name is ignored: unknown flags, `RMQ_…` variables and keys of the file are refused, but for the variables of
the client, in whose shell a node may be started. Values arrive as
text and are read by the table alone, so that one mistake has one sentence wherever it is made.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from app.config import cluster_file
from app.config.settings import Settings
from app.config.table import ConfigError, Row, did_you_mean, parse, rows, shown

ENV_CONFIG, ENV_NODE = "RMQ_CONFIG", "RMQ_NODE"
EXIT_USAGE = 2
_KUBERNETES = re.compile("RMQ_(SERVICE_(HOST|PORT.*)|PORT|PORT_.*)")
"""What Kubernetes puts into every container when a service is named rmq: nobody's setting."""
_CLIENT = frozenset(("RMQ_URL", "RMQ_CONTEXT", "RMQ_CONTEXTS"))
"""Of the package `rmq` and its command."""


def load(argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """`Settings` from `argv` (default: the process's) and `env`. ConfigError says what to write.

    `--help` prints and exits with 0, as everywhere.
    """
    argv = sys.argv[1:] if argv is None else argv
    env = os.environ if env is None else env
    table = rows(Settings)
    flags = _read_flags(table, argv)
    _refuse_unknown_variables(table, env)
    path = flags.pop("config", None) or env.get(ENV_CONFIG)
    if not path:
        raise ConfigError("no cluster file: write --config FILE, for example --config config/local.three.json.")
    file = cluster_file.read(path)
    node = _read_node(flags.pop("node", None), env.get(ENV_NODE), len(file.nodes))
    values, sources = _merge(table, flags, env, file, node, path)
    try:
        return Settings(cluster=file.cluster, node=node, nodes=file.nodes, sources=sources, **values)
    except ConfigError as error:
        raise ConfigError(f"settings: {error}") from None


def load_or_exit(argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """`load` for a `main`: prints the sentence on stderr and exits with 2 when something is wrong."""
    try:
        return load(argv, env)
    except ConfigError as error:
        print(f"rmq: {error}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None


def describe(settings: Settings) -> str:
    """The report at start: who this node is, then each setting, its value (secrets masked) and its source."""
    me = settings.me
    lines = [
        f"node {settings.node} of {len(settings.nodes)} in cluster {settings.cluster!r} ({settings.cluster_id:016x})",
        f"  clients  {me.client_bind}, advertised as {me.client_url}",
        f"  peers    {me.peer_bind}, advertised as {me.peer}",
        f"  state    {settings.storage_dir}",
    ]
    for row in rows(type(settings)).values():
        source = settings.sources.get(row.name)
        value = shown(row, getattr(settings, row.name)).strip("'")
        lines.append(f"  {row.name} = {value}" + (f"  ({source})" if source else ""))
    return "\n".join(lines)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; python -m app --help lists the flags.")


def _parser(table: Mapping[str, Row]) -> _Parser:
    parser = _Parser(
        prog="python -m app",
        usage="python -m app --config FILE --node N [--data-dir DIR] [--SETTING VALUE …]",
        description="One node of an RMQ cluster.",
        epilog="A flag beats its environment variable, which beats the cluster file, which beats the default. "
        "In the cluster file the names have underscores and stand under \"settings\".",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--config", metavar="FILE", help=f"the cluster file, the same on every node [{ENV_CONFIG}]")
    parser.add_argument("--node", metavar="N", help=f"which node of that file this is, from 0 [{ENV_NODE}]")
    for row in table.values():
        unit = f" {row.unit}" if row.unit else ""
        default = "none" if row.default == "" else shown(row, row.default).strip("'") + unit
        bare: dict[str, Any] = {"nargs": "?", "const": "true"} if row.kind is bool else {}
        text = f"{row.help} (default {default}) [{row.variable}]".replace("%", "%%")
        metavar = "BOOL" if row.kind is bool else row.unit.upper() or ("TEXT" if row.kind is str else "N")
        parser.add_argument(row.flag, metavar=metavar, dest=row.name, help=text, **bare)
    return parser


def _read_flags(table: Mapping[str, Row], argv: Sequence[str]) -> dict[str, str]:
    known, unknown = _parser(table).parse_known_args(list(argv))
    if unknown:
        name = unknown[0].partition("=")[0]
        names = ["--config", "--node", *(row.flag for row in table.values())]
        raise ConfigError(f"unknown argument {name}: {did_you_mean(name, names)}")
    return vars(known)


def _refuse_unknown_variables(table: Mapping[str, Row], env: Mapping[str, str]) -> None:
    names = [ENV_CONFIG, ENV_NODE, *(row.variable for row in table.values())]
    for name in sorted(env):
        if name in _CLIENT or _KUBERNETES.fullmatch(name):
            continue
        if name.startswith("RMQ_") and name not in names:
            raise ConfigError(f"unknown environment variable {name}: {did_you_mean(name, names)}")


def _read_node(flag: str | None, variable: str | None, count: int) -> int:
    text = flag if flag is not None else variable
    where = "--node" if flag is not None or variable is None else ENV_NODE
    wanted = "0, the only node of the file" if count == 1 else f"a number from 0 to {count - 1}"
    if text is None:
        raise ConfigError(f"which node this is was not said: write --node with {wanted}.")
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < count):
        raise ConfigError(f"{where} must be {wanted}, not {text!r}.")
    return int(text)


def _merge(
    table: Mapping[str, Row],
    flags: Mapping[str, str],
    env: Mapping[str, str],
    file: cluster_file.ClusterFile,
    node: int,
    path: str,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and their sources, the strongest source last, so that it wins."""
    layers: list[tuple[str, Mapping[str, Any]]] = [
        (f"settings in {path}", file.settings),
        (f"settings of node {node} in {path}", file.node_settings[node]),
        ("environment", {name: env[row.variable] for name, row in table.items() if row.variable in env}),
        ("flag", flags),
    ]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        for name, raw in layer.items():
            if name not in table:
                raise ConfigError(f'{source}: unknown setting "{name}": {did_you_mean(name, table)}')
            row = table[name]
            where = {"environment": row.variable, "flag": row.flag}.get(source, f"{source}: {name}")
            try:
                values[name] = parse(row, raw)
            except ConfigError as error:
                raise ConfigError(f"{where} {error}") from None
            sources[name] = source
    return values, sources
