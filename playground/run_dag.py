"""Runs one of the example DAGs for real: ``python -m playground.run_dag DAG_ID RESULT.json``.

The caller's environment names Airflow's home, the connections and the DAGs folder (see `airflow_env.py`). The result
has the run's state, each task's state and what each task returned.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(dag_id: str, result: str) -> int:
    """Run the DAG; return the exit code."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag()
    if bag.import_errors:
        print(bag.import_errors, file=sys.stderr)
        return 2
    dag = bag.dags[dag_id]
    run = dag.test()
    Path(result).write_text(json.dumps(_result(run), indent=1), encoding="utf-8")
    return 0 if str(run.state) == "success" else 1


def _result(run: Any) -> dict[str, Any]:
    tasks = {}
    for ti in run.get_task_instances():
        returned = ti.xcom_pull(task_ids=ti.task_id, key="return_value")
        tasks[ti.task_id] = {"state": str(ti.state), "returned": returned}
    return {"state": str(run.state), "tasks": tasks}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
