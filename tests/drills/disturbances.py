"""What happens to a job, its topic and its table while nobody looks: by other tools than the package under test.

Flink is asked by plain HTTP, the table is changed by PyIceberg and by Iceberg's own Java library, the topic by Kafka's
admin client.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pyarrow as pa
from kafka.admin import KafkaAdminClient, NewPartitions
from kafka.structs import TopicPartition
from pyiceberg.catalog import load_catalog

from playground import registries
from playground.downloads import Cache
from playground.errors import SubmitError
from playground.rest import get_json, post_json
from playground.stack import Stack
from playground.tools import find_java
from tests.e2e.rig import Rig, wait_until

FOREIGN = -1
"""The source partition of rows that another writer has appended: no topic has it."""
_PAUSE = 60.0


def completed(stack: Stack, job_id: str) -> int:
    """The newest completed checkpoint's id, 0 before the first.

    Flink goes on for 3 s with "not found" where it was asked for the id just before the job came.
    """
    try:
        latest = get_json(f"{stack.flink_url}/jobs/{job_id}/checkpoints")["latest"]["completed"]
    except SubmitError as error:
        if "answered 404" not in str(error):
            raise
        return 0
    return int(latest["id"]) if latest else 0


def wait_checkpoints(rig: Rig, job_id: str, more: int) -> None:
    """Let the running job complete some checkpoints."""
    wanted = completed(rig.stack, job_id) + more
    wait_until(lambda: completed(rig.stack, job_id) >= wanted, f"checkpoint {wanted}", _PAUSE)


def newest_id(rig: Rig) -> int:
    """The checkpoint id that the table's newest snapshot is stamped with."""
    snapshot = rig.iceberg().current_snapshot()
    return int(snapshot.summary["flink.max-committed-checkpoint-id"])


def go_quiet(rig: Rig, job_id: str) -> None:
    """Pause the orders and wait until all are in the table and an empty checkpoint has followed."""
    rig.producer.set_rate(0)
    wait_until(
        lambda: len(rig.counts()) == sum(rig.end_offsets().values()), "every order in the table", _PAUSE
    )
    wait_checkpoints(rig, job_id, 1)


def stop_by_hand(rig: Rig, job_id: str, *, drain: bool = False) -> str:
    """Flink's own stop, by plain HTTP; returns the savepoint's path."""
    url = f"{rig.stack.flink_url}/jobs/{job_id}"
    trigger = post_json(f"{url}/stop", {"drain": drain})["request-id"]

    def answer() -> Any:
        return get_json(f"{url}/savepoints/{trigger}")

    wait_until(lambda: answer()["status"]["id"] == "COMPLETED", f"the stop of {job_id}", _PAUSE)
    return str(answer()["operation"]["location"])


def start_by_hand(rig: Rig, script: str, state: str | None, job_id: str | None = None) -> str:
    """A start as a script does it: nobody is asked whether it is safe."""
    properties = {"execution.state-recovery.path": state, "$internal.pipeline.job-id": job_id}
    return rig.stack.submit(script, properties={key: item for key, item in properties.items() if item})


def retained(rig: Rig, job_id: str, *, back: int = 0) -> str:
    """Cancel the job by hand; returns its newest retained checkpoint, or one that is ``back`` older."""
    cancel(rig, job_id)
    folders = (rig.stack.checkpoint_dir / job_id).glob("chk-*/_metadata")
    found = sorted(folders, key=lambda path: int(path.parent.name.removeprefix("chk-")))
    return f"file:{found[-1 - back].parent}"


def cancel(rig: Rig, job_id: str) -> None:
    """Cancel a job by plain HTTP, and wait until it has ended."""
    url = f"{rig.stack.flink_url}/jobs/{job_id}"
    with urlopen(Request(url, method="PATCH"), timeout=30):
        pass
    wait_until(lambda: get_json(f"{url}/status")["status"] == "CANCELED", f"the end of {job_id}", _PAUSE)


def roll_back(rig: Rig) -> None:
    """Take the newest snapshot off the table, as somebody does who does not know of the job."""
    table = rig.iceberg()
    parent = table.current_snapshot().parent_snapshot_id
    table.manage_snapshots().set_current_snapshot(parent).commit()


def put_pointer_back(rig: Rig, *, versions: int | None = None) -> None:
    """Let the catalog name an older metadata file, as a restored database does; ``None``: the table's first one."""
    catalog = load_catalog(rig.stack.catalog_name, **rig.stack.catalog_properties)
    log = rig.iceberg().metadata.metadata_log
    location = log[0 if versions is None else -versions].metadata_file
    catalog.drop_table(rig.table)
    catalog.register_table(rig.table, location)


def recreate(rig: Rig) -> None:
    """Drop the table and create it again, empty, under its name and at its place."""
    catalog = load_catalog(rig.stack.catalog_name, **rig.stack.catalog_properties)
    old = rig.iceberg()
    catalog.drop_table(rig.table)
    catalog.create_table(rig.table, old.schema(), location=old.location(), properties={"format-version": "2"})


def append_foreign(rig: Rig, rows: int = 5) -> None:
    """Another writer's rows, told from the orders by their partition."""
    table = rig.iceberg()
    sample = table.scan(limit=1).to_arrow().to_pylist()[0]
    made = [{**sample, "kafka_partition": FOREIGN, "kafka_offset": number} for number in range(rows)]
    table.append(pa.Table.from_pylist(made, schema=table.schema().as_arrow()))


def delete_first(rig: Rig, below: int = 5) -> int:
    """A DELETE of the oldest orders, by copy on write; returns how many are gone."""
    before = rig.row_count()
    rig.iceberg().delete(f"kafka_offset < {below} and kafka_partition >= 0")
    return before - rig.row_count()


def maintain(rig: Rig, action: str) -> None:
    """``compact`` or ``expire``, by Iceberg's own Java library."""
    stack = rig.stack
    libraries = [Cache().root / bundle.name for bundle in registries.bundles(stack.versions)[:2]]
    properties = [f"{key}={item}" for key, item in stack.catalog.java_properties.items()]
    opens = "--add-opens=java.base/java.lang=ALL-UNNAMED"
    class_path = ":".join(f"{library}/*" for library in libraries)
    source = Path(__file__).with_name("Maintenance.java")
    command = [str(find_java().java), opens, "-XX:TieredStopAtLevel=1", "-cp", class_path, str(source)]
    done = subprocess.run(
        [*command, action, stack.catalog_name, rig.table, *properties],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def delete_pending_file(rig: Rig) -> None:
    """Delete a data file that a staged manifest lists, as an orphan cleaner does that knows only snapshots."""
    table = rig.iceberg()
    known = {Path(urlsplit(task.file.file_path).path) for task in table.scan().plan_files()}
    folder = Path(urlsplit(table.location()).path) / "data"
    pending = [path for path in folder.glob("*.parquet") if path not in known]
    assert pending, f"no data file in {folder} waits for a commit"
    for path in pending:
        path.unlink()


def delete_records(rig: Rig, below: int) -> dict[int, int]:
    """Let the topic begin at an offset above 0; returns the first offset of each partition."""
    admin = KafkaAdminClient(bootstrap_servers=rig.stack.kafka_bootstrap)
    try:
        starts = dict.fromkeys(rig.end_offsets(), below)
        admin.delete_records({TopicPartition(rig.topic, where): below for where in starts})
    finally:
        admin.close()
    return starts


def add_partition(rig: Rig, partitions: int) -> None:
    """More partitions for the topic."""
    admin = KafkaAdminClient(bootstrap_servers=rig.stack.kafka_bootstrap)
    try:
        admin.create_partitions({rig.topic: NewPartitions(total_count=partitions)})
    finally:
        admin.close()
    wait_until(lambda: len(rig.end_offsets()) == partitions, "the new partition", 30)


def restart_cluster(stack: Stack) -> None:
    """A JobManager that has forgotten all its jobs: only there a job id can be used again."""
    stack.restart_jobmanager()
