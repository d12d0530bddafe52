"""The state that ``verify`` compares a table with, and what is kept of the answer."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_flink_iceberg.cli.jobs import read_script
from airflow_flink_iceberg.cli.output import complain
from airflow_flink_iceberg.cli.savepoint import read_state
from airflow_flink_iceberg.cli.systems import open_job
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.job import TableSink

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.client import FlinkClient
    from airflow_flink_iceberg.flink.metadata import SavepointMetadata
    from airflow_flink_iceberg.integrity.kept_baselines import Keeping
    from airflow_flink_iceberg.model.restart import Restart
    from airflow_flink_iceberg.model.topics import TopicFacts
    from airflow_flink_iceberg.restart.systems import Systems


@dataclass(frozen=True)
class GivenState:
    """What a table is compared with; without a state, ``why_not`` says why.

    :param systems: the running job's, where one was named.
    """

    sink: TableSink
    flink: FlinkClient | None = None
    metadata: SavepointMetadata | None = None
    job_id: str | None = None
    topics: TopicFacts | None = None
    systems: Systems | None = None
    why_not: str = "no state was given: name the running job (--flink URL --job NAME) or a --savepoint PATH"


def add_state_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what names a state, and what is to be kept."""
    parser.add_argument("--flink", metavar="URL", help="Flink's REST API; default: FLINK_ICEBERG_URL")
    parser.add_argument(
        "--job", metavar="NAME", help="compare with the newest checkpoint of this running job"
    )
    parser.add_argument(
        "--savepoint",
        metavar="PATH",
        help="compare with this savepoint or retained checkpoint, by its own bytes",
    )
    parser.add_argument(
        "--state-root",
        action="append",
        metavar="DIR",
        help="where checkpoints may lie; may be given several times; default: the cluster's own directories",
    )
    parser.add_argument(
        "--sink-uid", metavar="UID", help="uidPrefix or uid-suffix of the sink, if the job has several"
    )
    parser.add_argument(
        "--keep-baseline",
        action="store_true",
        help="where state_matches_table finds the table whole, keep that as a tag and a property of the table",
    )
    parser.add_argument(
        "--accept-rows",
        type=int,
        metavar="N",
        help="accept this history gap (doubled > 0, missing < 0) and keep a baseline that says so; needs --reason",
    )
    parser.add_argument("--reason", metavar="TEXT", help="why; kept with the accepted rows")


def keeping_of(options: argparse.Namespace) -> Keeping | None:
    """What the arguments ask to be kept.

    :raises InvalidValue: rows are accepted without a reason.
    """
    if not options.keep_baseline and options.accept_rows is None:
        return None
    from airflow_flink_iceberg.integrity.baselines import Acceptance
    from airflow_flink_iceberg.integrity.kept_baselines import Keeping

    accepted = None if options.accept_rows is None else Acceptance(options.accept_rows, options.reason or "")
    return Keeping(options.job, accepted)


@contextmanager
def opened_state(options: argparse.Namespace, restart: Restart | None) -> Iterator[GivenState]:
    """Read the state that the arguments name; the cluster stays open for the checks that ask it.

    :raises InvalidValue: two states are named, or a job without its cluster.
    :raises SavepointUnreadable: the bytes of ``--savepoint`` are absent or out of bounds.
    """
    sink = TableSink(options.table, branch=options.branch, sink_uid=options.sink_uid)
    if options.savepoint and options.job:
        raise InvalidValue("Give either --savepoint or --job: a table is compared with one state.")
    with ExitStack() as stack:
        if options.job:
            yield _of_running_job(options, sink, restart, stack)
            return
        flink = _flink(options, stack)
        if options.savepoint:
            metadata = read_state(options.savepoint, options.catalog)
            yield GivenState(sink, flink, metadata, topics=_topics(metadata))
        else:
            yield GivenState(sink, flink)


def _of_running_job(
    options: argparse.Namespace, sink: TableSink, restart: Restart | None, stack: ExitStack
) -> GivenState:
    from airflow_flink_iceberg.restart.running_state import read_running_state
    from airflow_flink_iceberg.restart.topics_of_state import topics_in

    systems = stack.enter_context(open_job(options, [sink]))
    state = read_running_state(systems, restart.running_job.job_id if restart else None)
    topics = topics_in(systems, state.metadata)
    return GivenState(sink, systems.client, state.metadata, state.job_id, topics, systems, state.why_not)


def _topics(metadata: SavepointMetadata) -> TopicFacts | None:
    """The state's topics by the brokers of FLINK_ICEBERG_KAFKA, where it is set and they answer."""
    from airflow_flink_iceberg.kafka.topics import read_topics
    from airflow_flink_iceberg.model.errors import BrokersUnreachable, SavepointUnreadable

    brokers = os.environ.get("FLINK_ICEBERG_KAFKA")
    try:
        read = metadata.kafka_offsets() if brokers else {}
        return read_topics({"bootstrap.servers": brokers or ""}, read) if read else None
    except (BrokersUnreachable, SavepointUnreadable) as error:
        complain(f"The topics are not compared with those of the baseline: {error}")
        return None


def made_of(options: argparse.Namespace, given: GivenState) -> str | None:
    """What tells whether the job is still the one of a baseline: by --sql, the job's whole script."""
    from airflow_flink_iceberg.integrity.fingerprint import fingerprint
    from airflow_flink_iceberg.model.job import FlinkJob, SqlDeployment

    if not options.sql:
        return None
    job = FlinkJob(options.job or options.table, deployment=SqlDeployment(options.sql), sinks=[given.sink])
    return fingerprint(job, read_script(options.sql), given.metadata)


def _flink(options: argparse.Namespace, stack: ExitStack) -> FlinkClient | None:
    url = options.flink or os.environ.get("FLINK_ICEBERG_URL")
    if not url:
        return None
    from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint

    return stack.enter_context(FlinkClient(FlinkEndpoint(url)))
