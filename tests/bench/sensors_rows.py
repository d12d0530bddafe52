"""Fills a fresh Airflow database with deferred sensors, as the scheduler leaves them: ``python -m … FILE COUNT HUNG``.

A run of the DAG in ``FILE`` is made for real; its one task instance is then copied, for a thousand workers that start
a task only to defer it would take an hour.
"""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path

from sqlalchemy import insert, select

from airflow_flink_iceberg.triggers import FlinkJobTrigger

INTERVAL = 10.0
DAG = """
from airflow.sdk import DAG, task
with DAG("waiting"):
    @task
    def wait(): ...
    wait()
"""


def fill(file: Path, count: int, hung: int) -> None:
    """``count`` sensors, the last ``hung`` of them at the second connection."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session

    file.write_text(DAG)
    DagBag(dag_folder=str(file)).dags["waiting"].test()
    table = TaskInstance.__table__
    with create_session() as session:
        (row,) = session.execute(select(table)).mappings().all()
        for index in range(count):
            trigger = Trigger.from_object(_trigger(index, "flink_hung" if index >= count - hung else "flink"))
            session.add(trigger)
            session.flush()
            copy = {"id": uuid.uuid4(), "map_index": index, "state": "deferred", "trigger_id": trigger.id}
            session.execute(insert(table).values(**{**row, **copy, "end_date": None}))


def _trigger(index: int, conn_id: str) -> FlinkJobTrigger:
    return FlinkJobTrigger(
        target_states=["RUNNING"],
        flink_conn_id=conn_id,
        job_name="orders",
        job_id=f"{index:032x}",
        ignored=[],
        deadline=time.time() + 3600,
        poll_interval=INTERVAL,
    )


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
