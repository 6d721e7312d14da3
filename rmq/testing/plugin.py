"""The pytest plugin: the fixtures `rmq_cluster` and `rmq_client`, the marker `rmq`, the nodes' logs in failure reports.

Theory. A test gets a cluster of its own, so that nothing of another test can be in it, and may break it. Where that is
too slow, `shared=True` gives all such tests of one pytest process the same cluster, without the faults, and deletes all
topics after each test. The helper that starts nodes needs half a second itself: it begins as soon as it is known that a
test wants one. What a marker does not say, the configuration does (`rmq_nodes`, `rmq_shared`), else 3 and no.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator

import pytest

import rmq
from rmq.testing.cluster import Cluster
from rmq.testing.server import Server

SIZES = (1, 3, 5)
CLUSTER, SERVER = pytest.StashKey[Cluster](), pytest.StashKey[Server]()
Shared = Callable[[int], Cluster]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings in pytest's configuration file; `-o rmq_nodes=1` on the command line beats it."""
    parser.addini("rmq_nodes", "nodes of the cluster in the fixture rmq_cluster: 1, 3 or 5", default="3")
    parser.addini("rmq_shared", "whether tests share a cluster unless marked otherwise", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "rmq(nodes=3, shared=False): the cluster of rmq_cluster: how many nodes (1, 3 or 5), and whether it is shared "
        "with other tests, which is faster and cannot be broken.",
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Get ready to start nodes, if a test of this run wants some."""
    wanted = any("rmq_cluster" in item.fixturenames for item in session.items if isinstance(item, pytest.Function))
    if wanted and not session.config.option.collectonly:
        _server(session.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Nothing stays."""
    if SERVER in config.stash:
        config.stash[SERVER].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what its nodes said."""
    report = yield
    cluster = item.stash.get(CLUSTER, None)
    if report.failed and cluster is not None:
        report.sections += [(f"RMQ node {node}", cluster.log_end(node)) for node in cluster.nodes]
    return report


@pytest.fixture(scope="session")
def _rmq_shared(pytestconfig: pytest.Config) -> Iterator[Shared]:
    clusters: dict[int, Cluster] = {}
    with contextlib.ExitStack() as stack:

        def find(nodes: int) -> Cluster:
            if nodes not in clusters:
                clusters[nodes] = stack.enter_context(Cluster(_server(pytestconfig), nodes, shared=True))
            return clusters[nodes]

        yield find


@pytest.fixture
def rmq_cluster(request: pytest.FixtureRequest, _rmq_shared: Shared) -> Iterator[Cluster]:
    """A `rmq.testing.Cluster` that is ready: three nodes, the test's own, unless the marker `rmq` says otherwise."""
    with contextlib.ExitStack() as stack:
        try:
            nodes, shared = _wanted(request)
            own = None if shared else stack.enter_context(Cluster(_server(request.config), nodes))
            cluster = own or _rmq_shared(nodes)
            cluster.wait_ready()
        except (RuntimeError, TimeoutError, ValueError) as error:
            pytest.fail(f"rmq: {error}", pytrace=False)
        request.node.stash[CLUSTER] = cluster
        yield cluster
        del request.node.stash[CLUSTER]
        if shared:
            cluster.wipe()


@pytest.fixture
def rmq_client(rmq_cluster: Cluster) -> Iterator[rmq.Client]:
    """A `rmq.Client` on the cluster of `rmq_cluster`."""
    with rmq_cluster.client() as client:
        yield client


def _server(config: pytest.Config) -> Server:
    if SERVER not in config.stash:
        config.stash[SERVER] = Server()
    return config.stash[SERVER]


def _wanted(request: pytest.FixtureRequest) -> tuple[int, bool]:
    """How many nodes, and whether shared. Raises ValueError with a sentence."""
    config = request.config
    found: dict[str, object] = {"nodes": config.getini("rmq_nodes"), "shared": config.getini("rmq_shared")}
    for marker in reversed(list(request.node.iter_markers("rmq"))):
        unknown = [*map(repr, marker.args), *(name for name in marker.kwargs if name not in found)]
        if unknown:
            raise ValueError(f"the marker rmq takes nodes= and shared=, not {', '.join(unknown)}")
        found |= marker.kwargs
    nodes, shared = found["nodes"], found["shared"]
    if str(nodes) not in map(str, SIZES):
        raise ValueError(f"nodes is {', '.join(map(str, SIZES[:-1]))} or {SIZES[-1]}, not {nodes!r}")
    if not isinstance(shared, bool):
        raise ValueError(f"shared is True or False, not {shared!r}")
    return int(str(nodes)), shared
