"""The table: every row is a flag, a variable, a file key, a line of help; sources beat each other in order."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.config import ConfigError, Settings, describe, load, load_or_exit
from app.config.cluster_file import parse
from app.config.table import MASK, rows, setting

SIMPLE = {"addresses": [{"ip": "127.0.0.1", "port": 8001 + n, "internal_port": 9001 + n} for n in range(3)]}
OTHER = {str: "debug", bool: "true"}


@pytest.fixture
def cluster_file(tmp_path: Path) -> Path:
    return write(tmp_path, SIMPLE)


def write(directory: Path, content: Any) -> Path:
    path = directory / "cluster.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def refused(argv: list[str], env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(argv, env or {})
    return str(caught.value)


def test_the_defaults_are_a_valid_node(cluster_file: Path) -> None:
    settings = load(["--config", str(cluster_file), "--node", "2"], {})
    assert settings.node == 2 and settings.cluster == "rmq" and len(settings.nodes) == 3
    assert settings.me.client_url == "http://127.0.0.1:8003" and str(settings.me.peer) == "127.0.0.1:9003"
    assert settings.data_dir == ".rmq/data" and settings.heartbeat_ms == 50
    assert not settings.sources


def test_a_flag_beats_the_environment_beats_the_node_beats_the_file(tmp_path: Path) -> None:
    file = {
        "nodes": [{"client": {"bind": "127.0.0.1:8001"}, "peer": {"bind": "127.0.0.1:9001"}, "settings": {}}],
        "settings": {"inbox_limit": 1, "tick_ms": 1, "heartbeat_ms": 31, "log_level": "error"},
    }
    file["nodes"][0]["settings"] = {"inbox_limit": 2, "tick_ms": 2, "heartbeat_ms": 32}  # type: ignore[index]
    argv = ["--config", str(write(tmp_path, file)), "--node", "0", "--inbox-limit", "4"]
    settings = load(argv, {"RMQ_INBOX_LIMIT": "3", "RMQ_TICK_MS": "3"})
    assert (settings.inbox_limit, settings.tick_ms, settings.heartbeat_ms, settings.log_level) == (4, 3, 32, "error")
    assert settings.sources["inbox_limit"] == "flag" and settings.sources["tick_ms"] == "environment"
    assert "node 0" in settings.sources["heartbeat_ms"]


def test_file_and_node_may_come_from_the_environment(cluster_file: Path) -> None:
    env = {"RMQ_CONFIG": str(cluster_file), "RMQ_NODE": "1", "PATH": "/bin", "RMQX": "not ours"}
    env |= {"RMQ_SERVICE_HOST": "10.0.0.1", "RMQ_PORT_80_TCP": "Kubernetes sets these"}
    env |= {"RMQ_URL": "http://a", "RMQ_CONTEXT": "prod", "RMQ_CONTEXTS": "the client's, in whose shell it starts"}
    assert load([], env).node == 1
    assert load(["--node", "2"], env).node == 2


@pytest.mark.parametrize("name", list(rows(Settings)))
def test_every_row_is_a_flag_a_variable_a_key_and_a_line_of_help(name: str, tmp_path: Path, capsys: Any) -> None:
    row = rows(Settings)[name]
    value = OTHER.get(row.kind, str(row.default))
    base = ["--config", str(write(tmp_path, SIMPLE)), "--node", "0"]
    by_flag = load([*base, row.flag, value], {})
    by_variable = load(base, {row.variable: value})
    raw = value if row.kind is str else json.loads(value)
    by_file = load(["--config", str(write(tmp_path, SIMPLE | {"settings": {name: raw}})), "--node", "0"], {})
    assert by_flag == by_variable == by_file
    assert f"\n  {name} = " in describe(by_flag)
    with pytest.raises(SystemExit) as exited:
        load(["--help"], {})
    text = capsys.readouterr().out
    assert exited.value.code == 0 and row.flag in text and row.variable in text


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--tick-ms", "4x"], "--tick-ms must be a whole number of ms, not '4x'."),
        (["--tick-ms", "0"], "--tick-ms must be between 1 and 1000 ms, not 0."),
        (["--tick-ms", "1" * 40], "--tick-ms must be a whole number of ms"),
        (["--tick-ms", "٣"], "--tick-ms must be a whole number of ms"),
        (["--tick-ms", ""], "--tick-ms must be a whole number of ms, not ''."),
        (["--tick-ms"], "--tick-ms: expected one argument"),
        (["--classic-strict", "perhaps"], "--classic-strict must be true or false, not 'perhaps'."),
        (["--request-timeout-s", "nan"], "--request-timeout-s must be a number of s, not 'nan'."),
        (["--body-limit-bytes", "1 potato"], "a number of bytes such as 1048576 or 1MiB"),
        (["--log-level", "loud"], "--log-level must be one of debug, info, warning, error, not 'loud'."),
        (["--data-dir", " "], "--data-dir must be the path of a directory"),
        (["--data-dir", "a\0b"], "--data-dir must be the path of a directory"),
        (["--heartbeat-ms", "90"], "election_timeout_min_ms must be at least 3 heartbeats (270), not 250"),
        (["--election-timeout-max-ms", "250"], "election_timeout_max_ms must be above election_timeout_min_ms (250)"),
        (["--heartbeat-ms", "5"], "heartbeat_ms must be at least tick_ms (10), not 5."),
        (["--log-retain-bytes", "1GiB"], "log_retain_bytes must be below compact_bytes"),
        (["--tickms", "4"], "unknown argument --tickms: did you mean --tick-ms?"),
        (["--tick", "4"], "unknown argument --tick: did you mean --tick-ms?"),
        (["stray"], "unknown argument stray"),
    ],
)
def test_a_wrong_value_gets_one_sentence_that_says_what_to_write(
    argv: list[str], sentence: str, cluster_file: Path
) -> None:
    said = refused(["--config", str(cluster_file), "--node", "0", *argv])
    assert sentence in said and "\n" not in said and said.endswith((".", "?"))


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ({"settings": {"tick_ms": "soon"}}, "tick_ms must be a whole number of ms, not 'soon'."),
        ({"settings": {"tick_ms": True}}, "tick_ms must be a whole number of ms, not true."),
        ({"settings": {"tick_ms": None}}, "tick_ms must be a whole number of ms, not null."),
        ({"settings": {"tick_ms": 10.5}}, "tick_ms must be a whole number of ms, not 10.5."),
        ({"settings": {"tick_ms": 10**400}}, "tick_ms must be between 1 and 1000 ms"),
        ({"settings": {"request_timeout_s": 10**400}}, "request_timeout_s must be a number of s"),
        ({"settings": {"classic_strict": 1}}, "classic_strict must be true or false, not 1."),
        ({"settings": {"data_dir": ["x"]}}, "data_dir must be a text"),
        ({"settings": {"hartbeat_ms": 50}}, 'unknown setting "hartbeat_ms": did you mean heartbeat_ms?'),
    ],
)
def test_a_wrong_value_in_the_file_is_named_with_the_file(file: Any, sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path, SIMPLE | file)
    said = refused(["--config", str(path), "--node", "0"])
    assert sentence in said and str(path) in said


def test_an_unknown_variable_is_refused_by_name(cluster_file: Path) -> None:
    argv = ["--config", str(cluster_file), "--node", "0"]
    assert "RMQ_TICKS_MS: did you mean RMQ_TICK_MS?" in refused(argv, {"RMQ_TICKS_MS": "5"})
    assert refused(argv, {"RMQ_TICK_MS": "x"}).startswith("RMQ_TICK_MS must be")


@pytest.mark.parametrize("node", ["3", "-1", "one", "", "1.0", "9" * 30])
def test_a_node_outside_the_file_is_refused(node: str, cluster_file: Path) -> None:
    assert "--node must be a number from 0 to 2" in refused(["--config", str(cluster_file), f"--node={node}"])


def test_no_file_no_node(cluster_file: Path) -> None:
    assert "write --config FILE" in refused([])
    assert "No such file" in refused(["--config", "nowhere.json", "--node", "0"])
    assert "write --node with a number from 0 to 2" in refused(["--config", str(cluster_file)])


def test_bytes_may_be_written_with_a_unit(cluster_file: Path) -> None:
    argv = ["--config", str(cluster_file), "--node", "0", "--body-limit-bytes", "2 MiB", "--segment-bytes", "256KiB"]
    settings = load(argv, {})
    assert settings.body_limit_bytes == 2 << 20 and settings.segment_bytes == 256 << 10


def test_a_bool_flag_needs_no_value(cluster_file: Path) -> None:
    assert load(["--classic-strict", "--config", str(cluster_file), "--node", "0"], {}).classic_strict


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class WithSecret(Settings):
    token: str = setting("", "", "a secret, as a later setting may be one", lambda value: "longer", secret=True)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = parse(SIMPLE).nodes
    with pytest.raises(ConfigError) as caught:
        WithSecret(node=0, nodes=nodes, token="hunter2")
    assert "hunter2" not in str(caught.value) and MASK in str(caught.value)
    monkeypatch.setattr("app.config.settings.check", lambda row, value: None)
    settings = WithSecret(node=0, nodes=nodes, token="hunter2")
    assert "hunter2" not in describe(settings) and f"token = {MASK}" in describe(settings)
    assert "hunter2" not in repr(settings)


def test_the_cluster_id_depends_on_name_addresses_and_order_alone() -> None:
    nodes = parse(SIMPLE).nodes
    settings = Settings(node=0, nodes=nodes)
    assert settings.cluster_id == Settings(node=2, nodes=nodes, tick_ms=5).cluster_id < 1 << 64
    assert settings.cluster_id != Settings(node=0, nodes=nodes, cluster="other").cluster_id
    assert settings.cluster_id != Settings(node=0, nodes=nodes[::-1]).cluster_id
    assert settings.cluster_id != Settings(node=0, nodes=nodes[:2]).cluster_id
    moved = {"addresses": [entry | {"port": entry["port"] + 100} for entry in SIMPLE["addresses"]]}
    assert settings.cluster_id != Settings(node=0, nodes=parse(moved).nodes).cluster_id
    local = {"addresses": [entry | {"ip": "http://LOCALHOST"} for entry in SIMPLE["addresses"]]}
    assert settings.cluster_id == Settings(node=0, nodes=parse(local).nodes).cluster_id


def test_the_cluster_id_is_the_same_for_ever() -> None:
    assert Settings(node=0, nodes=parse(SIMPLE).nodes).cluster_id == 0x227BE54ABB3FBC46


def test_other_addresses_or_another_node_keep_their_state_apart(tmp_path: Path) -> None:
    nodes = parse(SIMPLE).nodes
    homes = {
        Settings(node=node, nodes=chosen, data_dir=str(tmp_path)).storage_dir
        for chosen in (nodes, nodes[:2], nodes[:1])
        for node in range(len(chosen))
    }
    assert len(homes) == 6 and all(Path(home).is_relative_to(tmp_path) for home in homes)
    assert Path(Settings(node=0, nodes=nodes).storage_dir).is_absolute()


def test_a_settings_made_by_hand_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="tick_ms must be between"):
        Settings(node=0, nodes=parse(SIMPLE).nodes, tick_ms=0)
    with pytest.raises(ConfigError, match="from 0 to 2"):
        Settings(node=3, nodes=parse(SIMPLE).nodes)


def test_the_process_exits_with_two_and_one_line(cluster_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        load_or_exit(["--config", str(cluster_file), "--node", "7"], {})
    assert exited.value.code == 2
    assert capsys.readouterr().err == "rmq: --node must be a number from 0 to 2, not '7'.\n"


def test_importing_it_loads_no_framework() -> None:
    code = "import sys, app.config; sys.exit(any(m in sys.modules for m in ('pydantic', 'fastapi', 'msgspec')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
