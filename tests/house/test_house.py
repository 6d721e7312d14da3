"""The house holds itself: imports point downwards, Raft stays pure, files and functions stay small.

The order below is the one in docs/design.md; a package may import what stands after it, never what stands
before it. `raft` and `broker` know nothing of each other, though both are below `node`.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = ["__main__", "main", "api", "ui", "node", "config", "broker", "transport", "storage", "raft", "version"]
STRANGERS = [("raft", "broker"), ("broker", "raft"), ("broker", "storage"), ("transport", "raft"), ("config", "broker")]
PURE = {"raft": {"time", "socket", "asyncio", "os", "threading", "datetime", "secrets", "logging", "io", "pathlib"}}
CLOCKLESS = {"broker": {"time", "datetime", "random", "secrets", "socket", "asyncio", "uuid"}}
NO_FASTAPI = ["node", "broker", "transport", "storage", "raft", "config"]
FILE_LINES, FUNCTION_LINES = 420, 70


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def package_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "app").parts
    return parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Dotted names imported anywhere in the file, but not those for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or "", node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def app_imports(path: Path) -> Iterator[tuple[str, int]]:
    """(package of app, line) for each import of the project's own packages."""
    for name, line in imports(path):
        parts = name.split(".")
        if parts[0] == "app" and len(parts) > 1 and parts[1] in ORDER:
            yield parts[1], line


APP = [path for path in sources("app") if path.name != "__init__.py" or path.parent.name != "app"]


@pytest.mark.parametrize("path", APP, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    own = package_of(path)
    for package, line in app_imports(path):
        assert ORDER.index(package) >= ORDER.index(own), f"line {line}: {own} must not import {package}"
        assert (own, package) not in STRANGERS, f"line {line}: {own} knows nothing of {package}"


@pytest.mark.parametrize("path", APP, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_keep_away_from_what_is_not_theirs(path: Path) -> None:
    own = package_of(path)
    banned = PURE.get(own, set()) | (CLOCKLESS.get(own, set()) if path.name not in BESIDE_THE_LOG else set())
    if own in NO_FASTAPI:
        banned = banned | {"fastapi", "starlette", "uvicorn", "pydantic"}
    for name, line in imports(path):
        assert name.split(".")[0] not in banned, f"line {line}: {own} must not import {name}"


BESIDE_THE_LOG = {"files.py", "upkeep.py"}
"""The broker's files that move bytes beside the log: they pace themselves by a clock, and decide nothing."""


@pytest.mark.parametrize("path", sources("app/raft"), ids=lambda path: path.name)
def test_raft_draws_only_from_the_generator_it_is_given(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random":
            assert node.attr == "Random", f"line {node.lineno}: random.{node.attr} is global"
        if isinstance(node, ast.Name) and node.id in {"open", "input", "print"}:
            pytest.fail(f"line {node.lineno}: {node.id} is input or output")


JUDGES = sources("chaos/checks", "chaos/reporting") + [
    ROOT / "chaos" / f"{name}.py" for name in ("checker", "figures", "history", "scenarios", "schedule")
]
NO_WITNESS = {"time", "datetime", "asyncio", "socket", "threading", "subprocess", "docker", "httpx", "os", "app"}


@pytest.mark.parametrize("path", JUDGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_judges_a_chaos_run_is_pure(path: Path) -> None:
    for name, line in imports(path):
        assert name.split(".")[0] not in NO_WITNESS, f"line {line}: a judge must not import {name}"


@pytest.mark.parametrize("path", sources("chaos"), ids=lambda path: str(path.relative_to(ROOT)))
def test_chaos_believes_nothing_of_the_node_itself(path: Path) -> None:
    """But the reader of the log's files, which is the node's own, and the version's name."""
    for name, line in imports(path):
        package = ".".join(name.split(".")[:2])
        allowed = {"app.version"} | ({"app.storage"} if path.name == "gather.py" else set())
        assert not package.startswith("app") or package in allowed, f"line {line}: chaos must not import {name}"


VERIFY = ROOT / "rmq" / "command" / "verify.py", *sources("rmq/command/verifying")
JUDGE = {"chaos.checker", "chaos.history", "chaos.recorder"}


@pytest.mark.parametrize("path", sources("rmq"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_client_imports_nothing_of_the_node(path: Path) -> None:
    """Nor of what tests it, but `rmq verify` has the checker judge what it saw."""
    for name, line in imports(path):
        is_judge = path in VERIFY and ".".join(name.split(".")[:2]) in JUDGE
        foreign = name.split(".")[0] in {"app", "chaos", "bench"}
        assert is_judge or not foreign, f"line {line}: rmq must not import {name}"


def test_the_command_loads_the_judge_only_when_it_verifies() -> None:
    code = "import sys, rmq.command.main; print(*(name for name in ('chaos', 'msgspec') if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout == "\n"


WRITTEN_FOR_READERS = sources("app", "rmq", "chaos", "bench", "scripts")


@pytest.mark.parametrize("path", WRITTEN_FOR_READERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_small_and_open_with_their_theory(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the file does not say what it is for"
    assert len(text.splitlines()) <= FILE_LINES, "split this file by reasons"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"{node.name} has {lines} lines"


def test_the_rules_are_not_vacuous() -> None:
    packages = {package_of(path) for path in APP}
    assert {"raft", "storage", "transport", "broker", "node", "api", "config"} <= packages
    assert any(package == "raft" for path in sources("app/node") for package, _ in app_imports(path))
