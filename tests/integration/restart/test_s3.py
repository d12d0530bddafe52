"""Savepoints and tables in S3, over real HTTP: read by the reader, the guard, the pins and the recovery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
from pyiceberg.manifest import ManifestEntry, ManifestEntryStatus, ManifestWriterV2

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.iceberg.staged_files import list_staged, read_staged
from airflow_flink_iceberg.model.decision import Cause, Verdict
from airflow_flink_iceberg.model.errors import CatalogUnreachable, RestartRefused, SavepointUnreadable
from airflow_flink_iceberg.model.savepoint import CommitState, IdSource
from airflow_flink_iceberg.restart.ledger_orphans import orphan_savepoints
from airflow_flink_iceberg.restart.restart import restart
from airflow_flink_iceberg.restart.start_job import find_savepoint, start_job
from airflow_flink_iceberg.restart.state_files import open_state_files
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from airflow_flink_iceberg.restart.stop import stop
from airflow_flink_iceberg.restart.systems import Systems
from tests.support.restart_world import JOB, OLD_JOB, OPERATOR, OPTIONS, SCHEMA
from tests.support.s3 import KEY, S3, SECRET, S3Flink, S3Lake, open_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with open_s3("lake", "flink") as made:
        yield made


@pytest.fixture
def lake(tmp_path: Path, s3: S3) -> S3Lake:
    s3.files.delete_dir_contents("lake")
    s3.files.delete_dir_contents("flink")
    made = S3Lake(tmp_path, s3)
    made.create()
    return made


@contextmanager
def opened(
    flink: S3Flink,
    lake: S3Lake,
    storage: dict[str, str] | None = None,
    catalog: dict[str, str] | None = None,
) -> Iterator[Systems]:
    """As an operator opens them: allowed roots by ``s3``, whatever the cluster calls its buckets."""
    roots = ("s3://flink/savepoints", "s3://flink/checkpoints")
    config = CatalogConfig("lake", {**lake.properties, **(catalog or {})})
    with FlinkClient(FlinkEndpoint(flink.url, timeout=5.0)) as client:
        yield Systems(
            JOB,
            client,
            open_deployment(JOB, client),
            lambda sink: TableAccess(config, sink.table),
            open_state_files(roots, lake.s3.properties if storage is None else storage),
            roots,
        )


def steps() -> Steps:
    return Steps(MemoryStore())


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_a_restart_reads_and_pins_in_s3(tmp_path: Path, lake: S3Lake, scheme: str) -> None:
    with S3Flink(tmp_path, lake, scheme) as flink, opened(flink, lake) as systems:
        done = restart(systems, steps(), OPTIONS)
        assert done.savepoint.path.startswith(f"{scheme}://flink/savepoints/orders-")
        assert (done.savepoint.checkpoint_id, done.savepoint.checkpoint_id_source) == (3, IdSource.BYTES)
        assert (done.decision.verdict, done.decision.proven_by) == (Verdict.SAFE, "bytes")
        assert flink.running == [done.running_job.job_id]
        (position,) = done.restore_point.sinks
        ref = lake.access().metadata().refs[str(position.tag)]
        assert (ref.type, ref.snapshot_id) == ("tag", position.snapshot_id)
        assert position.pending_rows == 0
        # The same savepoint under the other spelling is the same savepoint.
        other = {"s3": "s3a", "s3a": "s3"}[scheme] + done.savepoint.path.removeprefix(scheme)
        assert find_savepoint(systems, replace(done.savepoint, path=other)).checkpoint_id == 3


def test_pending_rows_in_s3_and_a_staged_manifest_that_is_gone(tmp_path: Path, lake: S3Lake) -> None:
    with S3Flink(tmp_path, lake) as flink, opened(flink, lake) as systems:
        flink.stop_outcome = "uncommitted"
        savepoint = stop(systems, steps(), OPTIONS.stop)
        assert savepoint.commit is CommitState.PENDING
        lake.s3.files.delete_file(f"lake/staged/{OLD_JOB}-{OPERATOR}-00000-0-3-00001.avro")
        how = replace(OPTIONS.start, commit_grace=0.0)
        with pytest.raises(RestartRefused) as refused:
            start_job(systems, steps(), savepoint, how)
        finding = refused.value.decision.findings[0]
        assert (finding.verdict, finding.cause, finding.rows) == (
            Verdict.WOULD_FAIL,
            Cause.PENDING_MANIFEST_MISSING,
            7,
        )


def test_a_second_savepoint_is_found_in_s3(tmp_path: Path, lake: S3Lake) -> None:
    with S3Flink(tmp_path, lake) as flink, opened(flink, lake) as systems:
        record = steps()
        savepoint = stop(systems, record, OPTIONS.stop)
        orphan = f"{savepoint.path.rpartition('/')[0]}/savepoint-a1a1a1-orphan"
        lake.s3.write(f"{orphan}/_metadata", lake.s3.read(f"{savepoint.path}/_metadata"))
        (found,) = orphan_savepoints(systems, record, savepoint)
        assert (found.path, found.checkpoint_id) == (orphan, 3)


def test_a_savepoint_that_is_not_there(tmp_path: Path, lake: S3Lake) -> None:
    with S3Flink(tmp_path, lake) as flink, opened(flink, lake) as systems:
        savepoint = stop(systems, steps(), OPTIONS.stop)
        gone = replace(savepoint, path="s3://flink/savepoints/gone")
        with pytest.raises(SavepointUnreadable, match=r"s3://flink/savepoints/gone") as failed:
            find_savepoint(systems, gone)
        _says_no_secret(failed.value)


def test_wrong_credentials_say_what_could_not_be_read_and_no_secret(tmp_path: Path, lake: S3Lake) -> None:
    """The endpoint refuses, as S3 does with 403: of the savepoints' storage, and of the tables'."""
    down = {**lake.s3.properties, "s3.endpoint": "http://127.0.0.1:9"}
    with S3Flink(tmp_path, lake) as flink:
        with opened(flink, lake, storage=down) as systems:
            savepoint = stop(systems, steps(), OPTIONS.stop)
            assert savepoint.checkpoint_id_source is IdSource.REST
            with pytest.raises(SavepointUnreadable) as failed:
                find_savepoint(systems, replace(savepoint, checkpoint_id_source=IdSource.BYTES))
            _says_no_secret(failed.value)
        with opened(flink, lake, catalog=down) as systems:
            with pytest.raises(CatalogUnreachable) as unread:
                start_job(systems, steps(), savepoint, OPTIONS.start)
            _says_no_secret(unread.value)


def test_staged_manifests_are_listed_and_read_in_s3(lake: S3Lake) -> None:
    """What the recovery judges: names, rows and paths, all by requests to S3."""
    catalog = SqlCatalog("lake", **lake.properties)
    table = catalog.load_table("shop.orders")
    name = f"{OLD_JOB}-{OPERATOR}-00000-0-3-00001.avro"
    data = f"{table.location()}/data/staged.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": [3, 3]}, schema=SCHEMA).cast(schema_to_pyarrow(table.schema())), sink)
    lake.s3.write(data, sink.getvalue().to_pybytes())
    file = parquet_file_to_data_file(table.io, table.metadata, data)
    output = table.io.new_output(f"{table.location()}/metadata/{name}")
    with ManifestWriterV2(table.spec(), table.schema(), output, 0, "deflate") as writer:
        writer.add_entry(
            ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED, snapshot_id=0, sequence_number=None, data_file=file
            )
        )
    access = lake.access()
    (found,) = list_staged(access)
    staged = read_staged(access.io(), found)
    assert (found.name, staged.problem, staged.rows, list(staged.paths)) == (name, "", 2, [data])
    catalog.close()


def _says_no_secret(error: BaseException) -> None:
    said: list[Any] = [error, error.__cause__, error.__context__]
    for each in said:
        assert SECRET not in str(each)
        assert KEY not in str(each)
    assert "\n" not in str(error)
