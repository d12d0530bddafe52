"""What importing the package costs a DAG file, above ``from airflow.sdk import DAG``, which every DAG file has.

The dag processor does it for each file again and again. Each measurement is a process of its own; the statements are
those of ``dags/restart_orders.py``.
"""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DAG_FILE = Path(__file__).resolve().parents[2] / "dags" / "restart_orders.py"
BASE = "from airflow.sdk import DAG"
_PACKAGE = "airflow_flink_iceberg"
_LEAST_PAIRS = 15
_TIMED = """
import json, time
def now():
    return time.perf_counter() * 1000, time.process_time() * 1000
start = now()
{base}
middle = now()
{more}
end = now()
print(json.dumps({{"all": end[0] - start[0], "more": end[0] - middle[0], "more_cpu": end[1] - middle[1]}}))
"""


def run(runs: int) -> list[dict[str, Any]]:
    """``import_cost``: the median of what our statements take after the base in the same process, in milliseconds.

    ``pair_difference_ms`` is the median difference to a process with the base alone, in alternating order: the same
    question, but it carries the noise of two whole imports of Airflow. ``cpu_ms`` is processor time.
    """
    runs = max(runs, _LEAST_PAIRS)
    more = "\n".join(package_imports())
    with tempfile.TemporaryDirectory() as home:
        _timed(more, home)  # writes the byte code, and Airflow's configuration
        pairs = [_pair(more, home, swapped=bool(number % 2)) for number in range(runs)]
    extra = [ours["more"] for _, ours in pairs]
    return [
        {
            "name": "import_cost",
            "value": round(statistics.median(extra), 1),
            "target": 60,
            "better": "lower",
            "unit": "ms",
            "against": f"`{BASE}` alone, byte-compiled, in processes of their own",
            "runs": runs,
            "median_ms": {
                "ours": round(statistics.median(ours["all"] for _, ours in pairs), 1),
                "baseline": round(statistics.median(base["all"] for base, _ in pairs), 1),
            },
            "pair_difference_ms": round(
                statistics.median(ours["all"] - base["all"] for base, ours in pairs), 1
            ),
            "cpu_ms": round(statistics.median(ours["more_cpu"] for _, ours in pairs), 1),
            "spread": [round(min(extra), 1), round(max(extra), 1)],
        }
    ]


def package_imports() -> list[str]:
    """The example DAG's import statements of this package."""
    module = ast.parse(DAG_FILE.read_text(encoding="utf-8"))
    found = [node for node in module.body if isinstance(node, ast.ImportFrom)]
    return [ast.unparse(node) for node in found if (node.module or "").startswith(_PACKAGE)]


def python(code: str, home: str) -> str:
    """What a new Python prints, with an Airflow home of its own and byte code allowed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    environment = {**kept, "AIRFLOW_HOME": home, "PYTHONPATH": str(DAG_FILE.parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the imports failed: {done.stderr[-2000:]}")
    return done.stdout


def _pair(more: str, home: str, *, swapped: bool) -> tuple[dict[str, float], dict[str, float]]:
    if swapped:
        ours = _timed(more, home)
        return _timed("", home), ours
    base = _timed("", home)
    return base, _timed(more, home)


def _timed(more: str, home: str) -> dict[str, float]:
    """Milliseconds of the base and ``more`` together, and of ``more``."""
    printed = python(_TIMED.format(base=BASE, more=more), home)
    times: dict[str, float] = json.loads(printed.splitlines()[-1])
    return times
