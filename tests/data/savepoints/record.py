"""Records the snapshots beside this file from a real Flink: `python tests/data/savepoints/record.py [FLINK_VERSION [CASE...]]`.

Run from the repository's root; takes about two minutes. The stack lies in `/tmp/orders`, because `_metadata` holds
absolute paths and cannot be changed without breaking its lengths. What a snapshot should hold is written to
`expected.json` from other sources than its bytes: Flink's REST API and the rows of the Iceberg table.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyiceberg.catalog import load_catalog
from pyiceberg.table import Table

from playground.orders import OrdersProducer
from playground.rest import get_json, post_json
from playground.sql import orders_script
from playground.stack import Stack
from playground.versions import select

HERE = Path(__file__).parent
STACK = Path("/tmp/orders")  # noqa: S108
TIMEOUT = 60.0
FILES = {"execution.checkpointing.data-inline-threshold": "0b"}
MERGED = {"execution.checkpointing.file-merging.enabled": "true"}
COMPRESSED = {"execution.checkpointing.snapshot-compression": "true"}


@dataclass(frozen=True)
class Case:
    """One snapshot to record; `kind` is stop, drain, savepoint (the job goes on) or checkpoint (after a cancel)."""

    sink: str
    kind: str
    parallelism: int = 1
    layout: str = "CANONICAL"
    properties: Mapping[str, str] = field(default_factory=dict)


CASES = {
    "v1-stop": Case("v1", "stop"),
    "v2-stop": Case("v2", "stop", layout="NATIVE"),
    "v1-savepoint": Case("v1", "savepoint"),
    "v2-savepoint": Case("v2", "savepoint", parallelism=2),
    "v1-checkpoint": Case("v1", "checkpoint"),
    "v2-checkpoint": Case("v2", "checkpoint"),
    "v2-drain": Case("v2", "drain"),
    "v1-stop-compressed": Case("v1", "stop", properties=COMPRESSED),
    "v2-stop-files": Case("v2", "stop", parallelism=2, properties=FILES),
    "v2-checkpoint-files": Case("v2", "checkpoint", parallelism=2, properties=FILES),
    "v2-checkpoint-merged": Case("v2", "checkpoint", parallelism=2, properties={**FILES, **MERGED}),
    "v2-stop-files-compressed": Case("v2", "stop", parallelism=2, properties={**FILES, **COMPRESSED}),
}


def main() -> None:
    """Record all cases for one Flink version, one job after the other, each into its own table."""
    versions = select(sys.argv[1] if len(sys.argv) > 1 else None)
    line = ".".join(versions.flink.split(".")[:2])
    stack = Stack(STACK, versions=versions, checkpoint_interval=1.0)
    try:
        with stack:
            producer = OrdersProducer(stack.kafka_bootstrap, rate=60)
            for name in sys.argv[2:] or CASES:
                record(stack, CASES[name], f"flink-{line}-{name}")
            producer.stop()
    finally:
        stack.wipe()


def record(stack: Stack, case: Case, name: str) -> None:
    """Run a job until it has committed twice, take the snapshot, and copy it with what is known about it."""
    identifier = f"shop.{name.replace('-', '_').replace('.', '_')}"
    script = orders_script(
        stack.catalog,
        stack.source(),
        sink=case.sink,
        table=identifier,
        job_name=name,
        parallelism=case.parallelism,
    )
    job_id = stack.submit(script, properties=dict(case.properties))
    catalog = load_catalog(stack.catalog_name, **stack.catalog_properties)
    wait(lambda: len(commits(catalog.load_table(identifier), job_id)) >= 2)
    operators = get_json(f"{stack.flink_url}/jobs/{job_id}")["vertices"]
    checkpoint_id, path = take(stack, case, job_id)
    table = catalog.load_table(identifier)
    if case.kind == "savepoint":
        get_json(f"{stack.flink_url}/jobs/{job_id}/yarn-cancel")
    target = HERE / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(path.removeprefix("file:"), target)
    if MERGED.items() <= case.properties.items():
        # Merged files are named by absolute paths, and lie beside the checkpoint's own directory.
        shutil.copytree(Path(path.removeprefix("file:")).parent / "taskowned", target / "taskowned")
    expected = {
        "flink_version": stack.versions.flink,
        "checkpoint_id": checkpoint_id,
        "kind": case.kind,
        "format": None if case.kind == "checkpoint" else case.layout.lower(),
        "sink": case.sink,
        "job_id": job_id,
        "topic": "orders",
        "parallelism": case.parallelism,
        "chain_heads": sorted(vertex["id"] for vertex in operators),
        "commits": [one for one in commits(table, job_id) if one["checkpoint_id"] <= checkpoint_id][:2],
        "drained_rows": sum(one["added_records"] for one in commits(table, job_id) if one["checkpoint_id"] == 2**63 - 1),
    }
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(name, checkpoint_id, [one["checkpoint_id"] for one in expected["commits"]])


def take(stack: Stack, case: Case, job_id: str) -> tuple[int, str]:
    """The snapshot's checkpoint id and path, both from Flink's REST API."""
    job = f"{stack.flink_url}/jobs/{job_id}"
    if case.kind == "checkpoint":
        get_json(f"{job}/yarn-cancel")
        wait(lambda: get_json(f"{job}/status")["status"] == "CANCELED")
        newest = get_json(f"{job}/checkpoints")["latest"]["completed"]
        return newest["id"], newest["external_path"]
    body: dict[str, Any] = {"formatType": case.layout}
    if case.kind == "savepoint":
        body |= {"target-directory": str(stack.savepoint_dir), "cancel-job": False}
    else:
        body |= {"targetDirectory": str(stack.savepoint_dir), "drain": case.kind == "drain"}
    trigger = post_json(f"{job}/{'savepoints' if case.kind == 'savepoint' else 'stop'}", body)["request-id"]
    wait(lambda: get_json(f"{job}/savepoints/{trigger}")["status"]["id"] == "COMPLETED")
    path = get_json(f"{job}/savepoints/{trigger}")["operation"]["location"]
    found: list[int] = []

    def listed() -> bool:
        history = get_json(f"{job}/checkpoints")["history"]
        found.extend(one["id"] for one in history if one.get("external_path") == path)
        return bool(found)

    wait(listed)
    return found[0], path


def commits(table: Table, job_id: str) -> list[dict[str, Any]]:
    """The job's commits, newest first, with the next offset of each partition that the rows imply."""
    found = []
    for snapshot in reversed(table.snapshots()):
        summary = snapshot.summary.additional_properties if snapshot.summary else {}
        if summary.get("flink.job-id") != job_id:
            continue
        rows = table.scan(snapshot_id=snapshot.snapshot_id, selected_fields=("kafka_partition", "kafka_offset"))
        newest = rows.to_arrow().group_by("kafka_partition").aggregate([("kafka_offset", "max")]).to_pylist()
        found.append({
            "checkpoint_id": int(summary["flink.max-committed-checkpoint-id"]),
            "operator_id": summary["flink.operator-id"],
            "added_records": int(summary.get("added-records", 0)),
            "next_offsets": {str(row["kafka_partition"]): row["kafka_offset_max"] + 1 for row in newest},
        })
    return found


def wait(condition: Any) -> None:
    """Until it holds, at most a minute."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
