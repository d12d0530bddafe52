"""A whole small world for the use cases: a fake Flink over real HTTP, a real SQLite catalog, real savepoint bytes.

The job's sink is played here: what a stop saves is in ``_metadata``, and its rows are committed (or left waiting) as
Flink's own sink would.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    write_manifest,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.iceberg.row_positions import Columns
from airflow_flink_iceberg.model.errors import FlinkIcebergError
from airflow_flink_iceberg.model.job import FlinkJob, JarDeployment, TableSink
from airflow_flink_iceberg.model.restore_point import RestorePoint
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.cancel import cancel_job
from airflow_flink_iceberg.restart.recover import RecoverOptions, recover
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.restore_points import RestorePointOptions, create_restore_point
from airflow_flink_iceberg.restart.rollback import RollbackOptions, rollback
from airflow_flink_iceberg.restart.savepoint import SavepointOptions, take_savepoint
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.state_files import open_state_files
from airflow_flink_iceberg.restart.steps import JsonFileStore, Step, Steps
from airflow_flink_iceberg.restart.stop import StopOptions, settle_request, stop
from airflow_flink_iceberg.restart.systems import Systems
from tests.integration.fakes.flink import FakeFlink, FakeJob
from tests.integration.fakes.http import Answer, Received
from tests.unit.flink.savepoint_writer import Operator, metadata
from tests.unit.flink.sink_states import delta_manifests, holder, iceberg_committable, manifest, v2_state

OPERATOR = "0f" * 16
OLD_JOB = "a1" * 16
SCHEMA = pa.schema([("id", pa.int64())])


class Lake:
    """One SQLite catalog; :meth:`copy` is a catalog of its own over the same, never changing files."""

    def __init__(self, directory: Path, database: str = "catalog.db") -> None:
        self.directory = directory
        self.database = directory / database
        self.read_timeout = 60.0
        self.properties: dict[str, str] = {
            "type": "sql",
            "uri": f"sqlite:///{self.database}",
            "warehouse": f"file://{directory}/warehouse",
        }

    def create(self) -> None:
        """``shop.orders`` with two commits of the old job."""
        self.directory.mkdir(parents=True, exist_ok=True)
        catalog = SqlCatalog("lake", **self.properties)
        catalog.create_namespace("shop")
        table = catalog.create_table("shop.orders", schema=SCHEMA)
        for checkpoint in (1, 2):
            rows = pa.table({"id": [checkpoint] * 10}, schema=SCHEMA)
            table.append(rows, snapshot_properties=stamp(OLD_JOB, checkpoint))
        catalog.close()

    def copy(self, name: str) -> Lake:
        """The table as it is now, with a pointer and metadata files of its own: those of two lakes must not mix."""
        twin = Lake(self.directory, name)
        with sqlite3.connect(self.database) as source, sqlite3.connect(twin.database) as target:
            source.backup(target)
        _move_metadata(twin, name.replace(".", "-"))
        return twin

    @property
    def config(self) -> CatalogConfig:
        """The catalog as the code under test is given it."""
        return CatalogConfig("lake", self.properties, read_timeout=self.read_timeout)

    def access(self) -> TableAccess:
        """With nothing cached."""
        return TableAccess(self.config, "shop.orders")

    def commit(self, job_id: str, checkpoint_id: int, rows: int, operator: str = OPERATOR) -> int:
        """A commit as a sink makes it, without data files: nobody here reads rows. Returns the snapshot's id."""
        return self.edit(lambda document: _append(document, stamp(job_id, checkpoint_id, operator), rows))  # type: ignore[no-any-return]

    def edit(self, change: Callable[[dict[str, Any]], Any]) -> Any:
        """Write the next metadata file and move the catalog's pointer, as a commit does."""
        access = self.access()
        old = access.metadata_location()
        document = json.loads(access.read_file(old))
        entry = {"metadata-file": old, "timestamp-ms": document["last-updated-ms"]}
        result = change(document)
        document["metadata-log"] = [*document.get("metadata-log", []), entry]
        name = (
            f"{len(list(self.directory.glob('warehouse/**/*.json'))):05d}-{os.urandom(6).hex()}.metadata.json"
        )
        new = old.rpartition("/")[0] + "/" + name
        Path(new.removeprefix("file://")).write_text(json.dumps(document))
        with sqlite3.connect(self.database) as connection:
            moved = "UPDATE iceberg_tables SET metadata_location = ? WHERE table_name = 'orders'"
            connection.execute(moved, (new,))
        return result


def _move_metadata(lake: Lake, name: str) -> None:
    """Give the lake's table a location of its own, with copies of its metadata files; all else stays where it is."""
    metadata = lake.access().metadata()
    there = f"{metadata.location}-{name}"
    files = [*(entry.metadata_file for entry in metadata.metadata_log), metadata.metadata_location]
    moved = {file: f"{there}/metadata/{file.rpartition('/')[2]}" for file in files}
    (Path(there.removeprefix("file://")) / "metadata").mkdir(parents=True)
    for old, new in moved.items():
        document = json.loads(Path(old.removeprefix("file://")).read_text())
        log = [{**each, "metadata-file": moved[each["metadata-file"]]} for each in document["metadata-log"]]
        text = json.dumps({**document, "location": there, "metadata-log": log})
        Path(new.removeprefix("file://")).write_text(text)
    with sqlite3.connect(lake.database) as connection:
        put = "UPDATE iceberg_tables SET metadata_location = ? WHERE table_name = 'orders'"
        connection.execute(put, (moved[metadata.metadata_location],))


def stamp(job_id: str, checkpoint_id: int, operator: str = OPERATOR) -> dict[str, str]:
    """What a sink writes into a snapshot's summary."""
    return {
        "flink.job-id": job_id,
        "flink.operator-id": operator,
        "flink.max-committed-checkpoint-id": str(checkpoint_id),
    }


def stage(path: Path, rows: int) -> None:
    """A staged manifest of one data file, which is there; nobody here reads its rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_suffix(".parquet")
    data.write_bytes(b"rows")
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=f"file://{data}",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=rows,
        file_size_in_bytes=4,
    )
    entry = ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED, snapshot_id=0, sequence_number=None, data_file=file
    )
    output = PyArrowFileIO().new_output(f"file://{path}")
    with write_manifest(2, PartitionSpec(), Schema(), output, 0, "null") as writer:
        writer.add_entry(entry)


def _append(document: dict[str, Any], summary: Mapping[str, str], rows: int) -> int:
    last = document["snapshots"][-1] if document.get("snapshots") else {}
    number = int.from_bytes(os.urandom(6), "big")
    document["last-sequence-number"] += 1
    made = {
        **last,
        "snapshot-id": number,
        "parent-snapshot-id": document["current-snapshot-id"],
        "sequence-number": document["last-sequence-number"],
        "timestamp-ms": document["last-updated-ms"] + 1,
        "summary": {"operation": "append", "added-records": str(rows), **summary},
    }
    document["last-updated-ms"] += 1
    document["snapshots"] = [*document.get("snapshots", []), made]
    document["current-snapshot-id"] = number
    document["refs"] = {**document.get("refs", {}), "main": {"snapshot-id": number, "type": "branch"}}
    document["snapshot-log"] = [
        *document.get("snapshot-log", []), {"snapshot-id": number, "timestamp-ms": document["last-updated-ms"]},
    ]  # fmt: skip
    return number


class ShopFlink(FakeFlink):
    """A cluster with the job ``orders`` running and its jar uploaded; savepoints are written to the disk.

    :ivar sources: the states of the job's sources, as in every savepoint from now on.
    :ivar after: called with each request once it has been carried out and before its answer goes out.
    """

    def __init__(self, directory: Path, lake: Lake, *, rows_at_stop: int = 7) -> None:
        super().__init__()
        self.lake = lake
        self.rows_at_stop = rows_at_stop
        self.commits_at_stop = True
        self.sources: tuple[Operator, ...] = ()
        self.after: Callable[[Received], None] = lambda request: None
        self.directory = directory
        self.config["execution.checkpointing.savepoint-dir"] = f"file:{directory}/savepoints"
        self.config["execution.checkpointing.dir"] = f"file:{directory}/checkpoints"
        self.add_jar("orders.jar", "shop.OrdersJob")
        self.old = self.add_job("orders", job_id=OLD_JOB, started_at=1_000)
        for number in (1, 2):
            path = f"file:{directory}/checkpoints/{OLD_JOB}/chk-{number}"
            self.old.add_checkpoint(path=path)
            self.save(self.old, path, number, 10)
        self.on_savepoint = self._on_savepoint

    def answer(self, request: Received) -> Answer:
        with self.lock:
            self._go_on(request)
            answer = super().answer(request)
            self.after(request)
        return answer

    def _go_on(self, request: Received) -> None:
        """Jobs take checkpoints by themselves, also a started one."""
        job = self.jobs.get(request.path.split("/")[2]) if request.path.endswith("/checkpoints") else None
        if job is not None and job.state == "RUNNING" and not job.checkpoints:
            job.add_checkpoint()

    def _on_savepoint(self, job: FakeJob, path: str) -> None:
        number = job.checkpoints[-1]["id"]
        self.save(job, path, number, self.rows_at_stop)
        if self.commits_at_stop and self.rows_at_stop and self.stop_outcome != "uncommitted":
            self.lake.commit(job.job_id, number, self.rows_at_stop)

    def save(self, job: FakeJob, path: str, checkpoint_id: int, rows: int) -> None:
        """Write the state of a v2 sink that staged ``rows`` for this checkpoint."""
        self.save_held(job, path, checkpoint_id, checkpoint_id, rows)

    def save_held(self, job: FakeJob, path: str, checkpoint_id: int, holds: int, rows: int) -> None:
        """Write a state that still holds what was staged for checkpoint ``holds``."""
        staged = f"{self.directory}/warehouse/{job.job_id}-{OPERATOR}-00000-0-{holds}-00001.avro"
        blob = delta_manifests(manifest(f"file://{staged}", rows))
        entry = iceberg_committable(job.job_id, OPERATOR, holds, blob)
        sink = holder(7, v2_state({holds: [entry]}), name="orders: Committer")
        folder = Path(path.removeprefix("file:"))
        folder.mkdir(parents=True, exist_ok=True)
        kind = "stop" if "savepoint" in path else "checkpoint"
        state = metadata([*self.sources, sink], checkpoint_id=checkpoint_id, kind=kind)
        (folder / "_metadata").write_bytes(state)
        stage(Path(staged), rows)

    @property
    def running(self) -> list[str]:
        """Ids of the jobs that have not ended."""
        return [
            job.job_id for job in self.jobs.values() if job.state not in ("FINISHED", "FAILED", "CANCELED")
        ]

    @property
    def stopped_with(self) -> list[str]:
        """Savepoints that stops have made, by path."""
        return [path for path in self.savepoints if "/savepoints/" in path]

    @property
    def posts(self) -> list[str]:
        """What was sent that changes something, in order."""
        return [f"{r.method} {r.path}" for r in self.requests if r.method != "GET"]


JOB = FlinkJob("orders", JarDeployment("orders.jar"), sinks=(TableSink("shop.orders"),))


@contextmanager
def open_systems(
    flink_url: str,
    lake: Lake,
    directory: Path,
    job: FlinkJob = JOB,
    on_request: Callable[[str, str], None] | None = None,
    **endpoint: Any,
) -> Iterator[Systems]:
    """The systems as an operator opens them."""
    roots = tuple(f"{directory}/{name}" for name in ("savepoints", "checkpoints", "states"))
    with FlinkClient(FlinkEndpoint(flink_url, **{"timeout": 5.0, **endpoint}), on_request) as client:
        yield Systems(
            job,
            client,
            open_deployment(job, client),
            lambda sink: TableAccess(lake.config, sink.table),
            open_state_files(roots, {}),
            roots,
        )


OPTIONS = RestartOptions(
    StopOptions(poll_interval=0.01, timeout=20.0, patience=2.0),
    StartOptions(poll_interval=0.01, timeout=20.0, patience=2.0),
)


class KillingStore(JsonFileStore):
    """Kills its own process before or after the n-th write; a ``.writes`` file counts all of them.

    The count lies on the disk, so a fake in another process can ask how many writes precede a request.
    """

    def __init__(self, path: Path, die: str = "") -> None:
        super().__init__(path)
        self._die = die
        self._log = path.with_suffix(".writes")

    def set(self, key: str, value: Any) -> None:
        number = len(self._log.read_text().splitlines()) if self._log.exists() else 0
        if self._die == f"before write {number}":
            os.kill(os.getpid(), signal.SIGKILL)
        super().set(key, value)
        with self._log.open("a") as log:
            log.write(json.dumps(value["steps"]) + "\n")
        if self._die == f"after write {number}":
            os.kill(os.getpid(), signal.SIGKILL)


def run_case(case: Mapping[str, Any]) -> int:
    """One use case in a child process; its result or error is written to ``case["result"]``."""
    directory = Path(case["directory"])
    lake = Lake(Path(case["lake"]), case["database"])
    lake.properties = case.get("catalog", lake.properties)
    try:
        if case.get("largest_file") is not None:
            # As a disk that is full: what is written beyond fails with EFBIG.
            resource.setrlimit(resource.RLIMIT_FSIZE, (case["largest_file"], resource.RLIM_INFINITY))
        store = KillingStore(Path(case["store"]), case.get("die", ""))
        steps = Steps(store, epoch=case.get("epoch", 0))
        with open_systems(case["flink"], lake, directory) as systems:
            result = run_use_case(case["use_case"], systems, steps, case.get("given"))
    except (FlinkIcebergError, OSError) as error:
        _no_limit()
        Path(case["result"]).write_text(json.dumps({"error": type(error).__name__, "message": str(error)}))
        return 3
    _no_limit()
    Path(case["result"]).write_text(json.dumps(result))
    return 0


def _no_limit() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def run_use_case(
    name: str, systems: Systems, steps: Steps, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A use case of the step table, as the operators call it, from ``given``: a savepoint or restore point."""
    return _USE_CASES[name](systems, steps, given or {})


def _stop(systems: Systems, steps: Steps, _: Mapping[str, Any]) -> dict[str, Any]:
    settle_request(systems, steps)
    return stop(systems, steps, OPTIONS.stop).to_dict()


def _start(systems: Systems, steps: Steps, given: Mapping[str, Any]) -> dict[str, Any]:
    running, decision = start_job(systems, steps, Savepoint.from_dict(given), OPTIONS.start)
    return {"running_job": running.to_dict(), "decision": decision.to_dict()}


def _savepoint(systems: Systems, steps: Steps, _: Mapping[str, Any]) -> dict[str, Any]:
    return take_savepoint(systems, steps, SavepointOptions(poll_interval=0.01, timeout=20.0)).to_dict()


def _cancel(systems: Systems, steps: Steps, _: Mapping[str, Any]) -> dict[str, Any]:
    return cancel_job(systems, steps, poll_interval=0.01, timeout=20.0).to_dict()


def _restore_point(systems: Systems, steps: Steps, given: Mapping[str, Any]) -> dict[str, Any]:
    options = RestorePointOptions(poll_interval=0.01, timeout=0.1)
    return create_restore_point(systems, steps, Savepoint.from_dict(given), options).to_dict()


def _rollback(systems: Systems, steps: Steps, given: Mapping[str, Any]) -> dict[str, Any]:
    options = RollbackOptions(dry_run=False, reason="rows doubled", quiet_seconds=0.0)
    return rollback(systems, steps, RestorePoint.from_dict(given), options).to_dict()


def _recover(systems: Systems, steps: Steps, _: Mapping[str, Any]) -> dict[str, Any]:
    options = RecoverOptions(dry_run=False, columns=Columns("p", "o"), reason="lost yesterday")
    return recover(systems, steps, options).to_dict()


_USE_CASES: dict[str, Callable[[Systems, Steps, Mapping[str, Any]], dict[str, Any]]] = {
    "restart": lambda systems, steps, _: restart(systems, steps, OPTIONS).to_dict(),
    "stop": _stop,
    "start": _start,
    "savepoint": _savepoint,
    "cancel": _cancel,
    "restore point": _restore_point,
    "rollback": _rollback,
    "recover": _recover,
}


__all__ = [
    "JOB",
    "OLD_JOB",
    "OPTIONS",
    "KillingStore",
    "Lake",
    "ShopFlink",
    "Step",
    "open_systems",
    "run_case",
]
