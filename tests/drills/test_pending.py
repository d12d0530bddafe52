"""Rows that wait in a state and are in the table already: their commit expired before their manifest was deleted."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from airflow_flink_iceberg.model.decision import Cause, Decision, Verdict
from airflow_flink_iceberg.model.errors import RestartRefused
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.stack import Stack
from tests.drills import disturbances as do
from tests.drills.record import Row, seen
from tests.e2e.rig import Rig, running_job, wait_until
from tests.e2e.test_commit_fails import refused_commits

ANYWAY = StartOptions(
    accept=(Verdict.WOULD_DUPLICATE, Verdict.UNKNOWN), reason="the drill counts", commit_grace=2
)


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_a_commit_that_expired_before_its_manifest_was_deleted(
    stack: Stack, rows: list[Row], sink: str, tmp_path: Path
) -> None:
    with running_job(stack, sink=sink, first_interval="1 h") as rig:  # type: ignore[arg-type]
        rig.checkpoint()
        before = rig.row_count()
        wait_until(lambda: sum(rig.end_offsets().values()) > before + 50, "more orders", 30)
        rig.producer.set_rate(0)
        with refused_commits(stack, rig.table):
            savepoint = stop(rig.systems(), rig.steps(), StopOptions())
        metadata = Path(urlsplit(rig.iceberg().location()).path) / "metadata"
        staged = [Path(shutil.copy(path, tmp_path)) for path in metadata.glob(f"{savepoint.job_id}-*.avro")]
        assert staged
        # The restore commits them, and deletes the manifests; a cleaner that is late leaves them.
        next_run = do.start_by_hand(rig, rig.script or "", savepoint.path)
        wait_until(lambda: rig.row_count() > before, "the late commit", 60)
        do.stop_by_hand(rig, next_run)
        waiting = rig.row_count() - before
        do.append_foreign(rig)
        do.maintain(rig, "expire")
        for path in staged:
            shutil.copy(path, metadata)
        # As long as older metadata files tell where the state stood, there is a number.
        worst = _refused(rig, savepoint.path).findings[0]
        assert (worst.verdict, worst.rows) == (Verdict.WOULD_DUPLICATE, waiting)
        # Without them the files themselves tell it.
        current = Path(urlsplit(rig.iceberg().metadata_location).path).name
        for path in metadata.glob("*.metadata.json"):
            if path.name != current:
                path.unlink()
        worst = _refused(rig, savepoint.path).findings[0]
        assert (worst.verdict, worst.cause, worst.rows) == (
            Verdict.WOULD_DUPLICATE,
            Cause.PENDING_ALREADY_LIVE,
            waiting,
        )
        total = rig.row_count()
        start_job(rig.systems(), rig.steps(), savepoint.path, ANYWAY)
        wait_until(lambda: rig.row_count() > total, "the doubled rows", 60)
        orders = sum(rig.end_offsets().values())
        wait_until(lambda: sum(key[0] != do.FOREIGN for key in rig.counts()) == orders, "every order", 60)
        counts = {key: times for key, times in rig.counts().items() if key[0] != do.FOREIGN}
        assert sum(counts.values()) - len(counts) == waiting
    seen(
        rows,
        stack,
        "commit expired before its manifest was deleted",
        sink,
        "The state's commit has expired, its staged manifest is still there, and older metadata files are gone.",
        answer=(worst.verdict, worst.cause, worst.rows),
        damage=(0, waiting),
    )


def _refused(rig: Rig, path: str) -> Decision:
    with pytest.raises(RestartRefused) as refused:
        start_job(rig.systems(), rig.steps(), path, StartOptions(commit_grace=2))
    return refused.value.decision
