"""The newest checkpoint of a running job, which may replace it while it is being read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_flink_iceberg.flink.checkpoints import CACHE_SECONDS
from airflow_flink_iceberg.model.errors import WaitTimeout
from airflow_flink_iceberg.restart.systems import Systems, ticks

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.checkpoints import CheckpointEntry

_INTERVAL = 0.25


def newest_checkpoints(systems: Systems, job_id: str) -> Iterator[CheckpointEntry]:
    """The newest completed checkpoint or savepoint with a path; for who asks on, each newer one that Flink tells of.

    Flink deletes a checkpoint when the next one completes, and tells of that up to 3 s later: with short intervals what
    it calls the newest is often gone. So it ends once Flink's cached answer has been renewed; at once where the job has
    completed none.

    :raises JobNotFound: Flink does not know the job.
    """
    told = -1
    try:
        for _ in ticks("the next checkpoint", _INTERVAL, CACHE_SECONDS):
            newest = systems.client.checkpoints(job_id).newest_completed
            if newest is None:
                return
            if newest.id > told and newest.external_path:
                told = newest.id
                yield newest
    except WaitTimeout:
        return
