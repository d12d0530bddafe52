"""One use case in a process of its own, without Airflow, so that it can be killed: ``python -m tests.e2e.child SPEC``.

The spec names the job, the addresses and the file of the step record. Prints the result as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.iceberg.catalog import CatalogConfig, TableAccess
from airflow_flink_iceberg.model import FlinkJob
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.state_files import open_state_files
from airflow_flink_iceberg.restart.steps import JsonFileStore, Steps
from airflow_flink_iceberg.restart.stop import configured_roots
from airflow_flink_iceberg.restart.systems import Systems


def main(spec_path: str) -> None:
    """Restart the job of the spec."""
    spec = json.loads(Path(spec_path).read_text())
    job = FlinkJob.from_dict(spec["job"])
    client = FlinkClient(FlinkEndpoint(spec["flink_url"], gateway_url=spec["gateway_url"], timeout=30))
    roots = configured_roots(client)
    config = CatalogConfig(spec["catalog_name"], spec["catalog_properties"])
    systems = Systems(
        job,
        client,
        open_deployment(job, client, spec["script"]),
        lambda sink: TableAccess(config, sink.table),
        open_state_files(roots, {}),
        roots,
    )
    steps = Steps(JsonFileStore(spec["store"]), epoch=spec.get("epoch", 0))
    done = restart(systems, steps, RestartOptions())
    print(json.dumps(done.to_dict()))


if __name__ == "__main__":
    main(sys.argv[1])
