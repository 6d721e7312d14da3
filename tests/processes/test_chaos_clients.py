"""The clients of the chaos harness on real processes: what they see is a history that the checker can judge."""

from __future__ import annotations

import asyncio
import datetime
from collections import Counter
from pathlib import Path

from bench.cluster import LocalCluster
from chaos.checker import Report, check
from chaos.clients.tries import EXPECTED
from chaos.clients.workload import CREWS, Workload
from chaos.history import Final, Op, Record, Run, Status, read
from chaos.recorder import Recorder

LOAD_S = 9.0


def test_a_leader_kill_under_load_is_recorded_and_found_right(tmp_path: Path) -> None:
    with LocalCluster() as cluster:
        records = asyncio.run(_load(cluster, tmp_path / "history.jsonl"))
    ops = [record for record in records if isinstance(record, Op)]
    report: Report = check(records)
    assert report.valid, report.anomalies
    # What the nodes' files hold is the Docker harness's to gather; all other evidence is there.
    assert all("log" in sentence for sentence in report.missing)
    outcomes = Counter((op.kind, op.outcome) for op in ops)
    assert all(outcomes[kind, "ok"] > 20 for kind in ("publish", "receive", "ack", "create", "list"))
    assert all(report.checked[what] for what in ("of them handed out again", "leases that ran out", "dead letters"))
    assert {op.error for op in ops if op.error} <= EXPECTED
    assert {op.client.rstrip("0123456789") for op in ops} >= {crew.prefix for crew in CREWS if crew.prefix != "poller"}
    assert sum(isinstance(record, Final) for record in records) == 3
    assert {record.node for record in records if isinstance(record, Status)} == {0, 1, 2}
    leaders = {record.node for record in records if isinstance(record, Status) and record.role == "Leader"}
    assert len(leaders) == 2


async def _load(cluster: LocalCluster, path: Path) -> list[Record]:
    with Recorder(path) as recorder:
        started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        about = Run(
            scenario="kill-leader", seed=1, seconds=LOAD_S, nodes=3, started_at=started_at, image="", version=""
        )
        recorder.add(about)
        workload = Workload(recorder, [f"http://127.0.0.1:{port}" for port in cluster.ports], 1, LOAD_S)
        await workload.create_topics()
        workload.watch()
        workload.start()
        await asyncio.sleep(LOAD_S / 3)
        while (leader := recorder.leader()) is None:  # noqa: ASYNC110 # It is written down when it is seen.
            await asyncio.sleep(0.05)
        await asyncio.to_thread(cluster.kill, leader.node)
        await asyncio.sleep(LOAD_S / 3)
        await asyncio.to_thread(cluster.start, leader.node)
        await asyncio.sleep(LOAD_S / 3)
        workload.check()
        await workload.stop()
        assert await workload.drain(90)
        assert await workload.settle(90)
        await workload.stop_watching()
    return list(read(path))
