"""How commands name a job's cluster and tables: Flink by URL, catalogs by PyIceberg's own configuration."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from airflow_flink_iceberg.cli.tables import CATALOG_HELP, open_table
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import Deployment, ExternalDeployment, FlinkJob, TableSink

if TYPE_CHECKING:
    from airflow_flink_iceberg.restart.systems import Systems


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --job, --flink, --catalog and --state-root."""
    parser.add_argument("--job", required=True, metavar="NAME", help="the job's name in Flink")
    parser.add_argument("--flink", metavar="URL", help="Flink's REST API; default: FLINK_ICEBERG_URL")
    parser.add_argument("--catalog", metavar="NAME", help=CATALOG_HELP)
    parser.add_argument(
        "--other-flink",
        action="append",
        default=[],
        metavar="URL",
        help="REST API of another cluster on which a job may write the same tables; may be given several times",
    )
    parser.add_argument(
        "--state-root",
        action="append",
        metavar="DIR",
        help="where savepoints may lie; may be given several times; default: the cluster's own directories",
    )


@contextmanager
def open_job(
    options: argparse.Namespace,
    sinks: Sequence[TableSink],
    deployment: Deployment | None = None,
    script: str | None = None,
) -> Iterator[Systems]:
    """The systems of a job; what was opened to launch it is closed again, the job goes on.

    :param deployment: ``None``: the job is started and stopped elsewhere.
    :param script: the text of a SQL deployment.
    :raises InvalidValue: no Flink was named, or the catalog is not configured.
    """
    from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
    from airflow_flink_iceberg.flink.deployments import open_deployment
    from airflow_flink_iceberg.restart.state_files import open_state_files
    from airflow_flink_iceberg.restart.stop import configured_roots
    from airflow_flink_iceberg.restart.systems import Systems

    url = options.flink or os.environ.get("FLINK_ICEBERG_URL")
    if not url:
        raise InvalidValue(
            "Name the cluster with --flink URL or FLINK_ICEBERG_URL: it has to be asked what runs."
        )
    job = FlinkJob(options.job, deployment=deployment or ExternalDeployment(), sinks=sinks)
    brokers = os.environ.get("FLINK_ICEBERG_KAFKA")
    gateway = getattr(options, "gateway", None) or os.environ.get("FLINK_ICEBERG_GATEWAY")
    with FlinkClient(FlinkEndpoint(url, gateway_url=gateway)) as client, ExitStack() as stack:
        roots = tuple(options.state_root or configured_roots(client))
        storage = dict(open_table(sinks[0].table, options.catalog).config.properties) if sinks else {}
        opened = open_deployment(job, client, script)
        stack.callback(opened.close)
        yield Systems(
            job,
            client,
            opened,
            lambda sink: open_table(sink.table, options.catalog),
            open_state_files(roots, storage),
            roots,
            kafka={"bootstrap.servers": brokers} if brokers else {},
            other_clusters={
                other: partial(FlinkClient, FlinkEndpoint(other))
                for other in getattr(options, "other_flink", ())
            },
        )
