"""What a start needs once the job is down: made ready side by side, because all of it is downtime."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from airflow_flink_iceberg.restart.systems import Systems

_MOST_TABLES = 8
"""That are opened at the same time."""


@contextmanager
def ready_beside(systems: Systems) -> Iterator[Future[None]]:
    """Prepare the launch and read the tables in threads, beside what is done inside the block.

    Yields the preparation: ``result()`` waits for it and raises what it failed with. A table that was read costs one
    pointer read where it is asked for; one that could not be read fails there. Leaving the block waits for the threads,
    whose every request is bounded. The launch is not planned: the stop is done or on its way, so it protects nothing.
    """
    # Opened here: who finds connections may not be asked by several threads.
    tables = [systems.table(sink) for sink in systems.job.sinks]
    with ThreadPoolExecutor(1 + min(len(tables), _MOST_TABLES)) as pool:
        prepared = pool.submit(systems.deployment.prepare)
        for table in tables:
            pool.submit(table.metadata)
        yield prepared
