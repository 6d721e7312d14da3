"""The pytest plugin as its users have it: pytest runs of small test files, in processes of their own.

The plugin is loaded by name and others that may be installed are not, so that it does not matter whether `rmq` is.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
PIECES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMAND = (
    sys.executable, "-m", "pytest", "-p", "rmq.testing.plugin", "-p", "no:cacheprovider", "-W", "error",
    "--strict-markers",
)  # fmt: skip


class Folder:
    """A user's folder with one file of tests. What runs in it has a temporary directory of its own, by which all its
    processes and files can be found."""

    def __init__(self, path: Path, code: str) -> None:
        self.path, self.scratch = path, path / "scratch"
        self.scratch.mkdir()
        (path / "test_it.py").write_text(textwrap.dedent(code))

    def start(self, *options: str, **env: str) -> subprocess.Popen[str]:
        """Begin a run of pytest."""
        paths = os.pathsep.join(filter(None, [env.pop("PYTHONPATH", ""), str(ROOT)]))
        own = {"PYTHONPATH": paths, "TMPDIR": str(self.scratch), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.Popen(
            [*COMMAND, *options], cwd=self.path, env=os.environ | own | env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *options: str, code: int = 0, **env: str) -> str:
        """What pytest prints. Nothing may be left when it has ended with `code`."""
        with self.start(*options, **env) as pytest_run:
            output, _ = pytest_run.communicate(timeout=120)
        assert pytest_run.returncode == code, output
        assert (self.processes(), self.left()) == ([], []), output
        return output

    def processes(self) -> list[int]:
        """All that run with this folder's temporary directory."""
        found = []
        for each in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"TMPDIR={self.scratch}\0".encode() in each.read_bytes():
                    found.append(int(each.parent.name))
            except OSError:
                continue
        return found

    def left(self) -> list[str]:
        """Files in the temporary directory, but those that pytest itself leaves there."""
        return [each.name for each in self.scratch.iterdir() if not each.name.startswith("pytest-of-")]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "2")], ids=["alone", "xdist"])
def test_each_test_has_a_cluster_of_its_own(tmp_path: Path, options: tuple[str, ...]) -> None:
    code = """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_three(rmq_cluster, rmq_client, number):
            assert len(rmq_cluster.nodes) == len(rmq_cluster.urls) == 3
            assert list(rmq_client.topics()) == []
            rmq_client.create_topic("t")
            rmq_cluster.kill(rmq_cluster.leader())
            rmq_client.publish("t", number)
            assert [message.body for message in rmq_client.receive("t")] == [number]

        @pytest.mark.rmq(nodes=1)
        class TestOne:
            def test_of_the_class(self, rmq_cluster):
                assert rmq_cluster.urls == [rmq_cluster.urls[rmq_cluster.leader()]]

            @pytest.mark.rmq(nodes=5)
            def test_of_the_test(self, rmq_cluster):
                assert len(rmq_cluster.nodes) == 5
    """
    assert "6 passed" in Folder(tmp_path, code).run(*options)


def test_a_shared_cluster_is_one_and_empty(tmp_path: Path) -> None:
    code = """
        import pytest
        urls = []

        @pytest.mark.parametrize("lease_s", [10, 20])
        def test_shared(rmq_cluster, rmq_client, lease_s):
            urls.append(rmq_cluster.urls)
            rmq_client.create_topic("t", lease_s=lease_s)
            rmq_client.publish("t", 1)
            assert rmq_client.topic("t").messages == 1
            with pytest.raises(RuntimeError, match="shared with other tests; mark this test with @pytest.mark.rmq"):
                rmq_cluster.kill(0)

        @pytest.mark.rmq(shared=False)
        def test_own(rmq_cluster):
            urls.append(rmq_cluster.urls)
            rmq_cluster.kill(0)

        def test_how_many():
            assert urls[0] == urls[1] != urls[2] and len(urls[0]) == 1
    """
    assert "4 passed" in Folder(tmp_path, code).run("-o", "rmq_shared=true", "-o", "rmq_nodes=1")


def test_a_failing_test_shows_what_its_nodes_said(tmp_path: Path) -> None:
    code = """
        import pytest

        @pytest.fixture
        def orders(rmq_client):
            raise OSError("the fixture is broken")

        @pytest.mark.rmq(nodes=1)
        def test_setup(orders): ...

        def test_call(rmq_cluster):
            rmq_cluster.kill(1)
            assert rmq_cluster.nodes == "something else"

        def test_without(): assert False
    """
    output = Folder(tmp_path, code).run(code=1)
    assert "2 failed, 1 error" in output
    setup, call = output.index("___ ERROR at setup of test_setup"), output.index("___ test_call")
    assert re.search(r"- RMQ node 0 -+\n\(running; http://127.0.0.1:\d+\)\n(.|\n)*LEADER in term 1", output[setup:call])
    assert re.search(r"- RMQ node 1 -+\n\(killed; http://127.0.0.1:\d+\)\n(.|\n)*serving clients", output[call:])
    assert output.count("- RMQ node 0 -") == 2
    assert "heartbeat_ms" not in output


def test_what_a_marker_cannot_mean_is_refused_in_one_sentence(tmp_path: Path) -> None:
    code = """
        import pytest

        @pytest.mark.parametrize("number", [
            pytest.param(1, marks=pytest.mark.rmq(nodes=2)),
            pytest.param(2, marks=pytest.mark.rmq(nodes=True)),
            pytest.param(3, marks=pytest.mark.rmq(3)),
            pytest.param(4, marks=pytest.mark.rmq(node=3)),
            pytest.param(5, marks=pytest.mark.rmq(shared="yes")),
        ])
        def test_it(rmq_cluster, number): ...
    """
    said = [line for line in Folder(tmp_path, code).run(code=1).splitlines() if line.startswith("rmq: ")]
    assert said == [
        "rmq: nodes is 1, 3 or 5, not 2",
        "rmq: nodes is 1, 3 or 5, not True",
        "rmq: the marker rmq takes nodes= and shared=, not 3",
        "rmq: the marker rmq takes nodes= and shared=, not node",
        "rmq: shared is True or False, not 'yes'",
    ]


SIMPLE = """
    def test_it(rmq_client):
        rmq_client.create_topic("t")
"""


def test_without_the_packages_of_a_node_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "uvloop.py").write_text("raise ModuleNotFoundError('No module', name='uvloop')")
    output = Folder(tmp_path, SIMPLE).run(code=1, PYTHONPATH=str(tmp_path / "empty"))
    sentence = "rmq: the nodes need a package that is not installed, uvloop: pip install '.[node]' in RMQ's folder"
    assert sentence in output.splitlines()


def test_what_the_user_has_set_and_written_does_not_reach_the_nodes(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "app" / "main.py").write_text("raise RuntimeError('the application of the user')")
    folder = Folder(tmp_path, SIMPLE)
    assert "1 passed" in folder.run(RMQ_URL="http://localhost:1", PYTHONPATH=str(tmp_path))


WAITING = """
    import time, pathlib

    def test_it(rmq_cluster):
        rmq_cluster.pause(0)
        pathlib.Path("ready").touch()
        time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_however_pytest_ends(tmp_path: Path, how: signal.Signals) -> None:
    folder = Folder(tmp_path, WAITING)
    with folder.start() as pytest_run:
        wait_until((tmp_path / "ready").exists, "the test runs")
        assert len(folder.processes()) == 1 + 1 + 3
        assert folder.left()
        pytest_run.send_signal(how)
        pytest_run.communicate(timeout=60)
    wait_until(lambda: folder.processes() == [], "no process is left")
    wait_until(lambda: folder.left() == [], "no file is left")


def test_every_piece_of_the_page_runs_as_it_stands(tmp_path: Path) -> None:
    code = "\n\n".join(PIECES)
    output = Folder(tmp_path, code).run()
    assert f"{code.count('def test_')} passed" in output
    assert all(len([line for line in piece.splitlines() if line.strip()]) <= 16 for piece in PIECES)
