"""A thousand deferred sensors on one real triggerer: how late their looks come, and what they cost.

Fifty of them wait at a second JobManager, which after the first phase accepts connections and never answers.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playground import ports
from playground.airflow_ui import watched
from tests.bench.sensors_rows import INTERVAL

SENSORS = 1000
HUNG = 50
PHASE = 60.0
"""Seconds that each of the two phases is watched."""
_START_TIMEOUT = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")
_REPOSITORY = Path(__file__).resolve().parents[2]


def run(runs: int) -> list[dict[str, Any]]:
    """``waiting_sensors_lag``: the latest look of all, in seconds after its interval; the same with the hung ones."""
    found = [_measured() for _ in range(runs)]
    worst = max(found, key=lambda each: max(each["lag"], each["hung"]))
    shared = {"unit": "s", "better": "lower", "target": INTERVAL, "runs": runs}
    against = f"one interval of {INTERVAL:g} s: {SENSORS} deferred sensors on one triggerer"
    return [
        {"name": "waiting_sensors_lag", "value": worst["lag"], "against": against, **shared, **worst},
        {
            "name": "waiting_sensors_lag_beside_hung",
            "value": worst["hung"],
            "against": f"{against}, {HUNG} of which ask a JobManager that hangs",
            **shared,
        },
    ]


def _measured() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as home, _flink(Path(home) / "arrivals") as (addresses, hang):
        environment = _environment(Path(home), addresses)
        _python(environment, "-m", "airflow", "db", "migrate")
        file = Path(home) / "dags" / "waiting.py"
        file.parent.mkdir()
        _python(environment, "-m", "tests.bench.sensors_rows", str(file), str(SENSORS), str(HUNG))
        with _triggerer(environment, Path(home)) as pid:
            _wait_for_all(Path(home) / "arrivals")
            before, began = _cpu_seconds(pid), time.time()
            time.sleep(PHASE)
            cpu, ended = _cpu_seconds(pid) - before, time.time()
            hang()
            time.sleep(PHASE)
            memory = _memory_mb(pid)
        healthy = _gaps(Path(home) / "arrivals", began, ended)
        beside = _gaps(Path(home) / "arrivals", ended, ended + PHASE)
    return {
        "lag": round(max(healthy) - INTERVAL, 2),
        "hung": round(max(beside) - INTERVAL, 2),
        "looks_per_second": round(len(healthy) / PHASE, 1),
        "cpu_percent": round(100 * cpu / (ended - began), 1),
        "memory_mb": round(memory),
    }


def _gaps(arrivals: Path, began: float, ended: float) -> list[float]:
    """Seconds without a look, for each sensor at the healthy JobManager; the whole phase for one that gave up."""
    looks: defaultdict[int, list[float]] = defaultdict(list)
    for at, job_id in _lines(arrivals):
        if began <= at <= ended:
            looks[job_id].append(at)
    return [
        later - earlier
        for job_id in range(SENSORS - HUNG)
        for earlier, later in itertools.pairwise([began, *looks[job_id], ended])
    ]


def _lines(arrivals: Path) -> Iterator[tuple[float, int]]:
    for line in arrivals.read_text().splitlines():
        at, _, job_id = line.partition(" ")
        yield float(at), int(job_id, 16)


def _wait_for_all(arrivals: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while len({job_id for _, job_id in _lines(arrivals)}) < SENSORS:
        if time.monotonic() > deadline:
            raise RuntimeError("the triggerer did not take up all sensors")
        time.sleep(1)


def _environment(home: Path, addresses: list[str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    connections = {
        f"AIRFLOW_CONN_{name}": json.dumps({"conn_type": "flink", "host": url, "extra": {"timeout": 10}})
        for name, url in zip(("FLINK", "FLINK_HUNG"), addresses, strict=True)
    }
    return {
        **kept,
        **connections,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(ports.choose(("logs",))["logs"]),
        "PYTHONPATH": str(_REPOSITORY),
    }


def _python(environment: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {(done.stdout + done.stderr)[-2000:]}")


@contextmanager
def _flink(arrivals: Path) -> Iterator[tuple[list[str], Any]]:
    command = [sys.executable, "-m", "tests.bench.sensors_flink", str(arrivals)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        stdin = process.stdin

        def hang() -> None:
            stdin.write("hang\n")
            stdin.flush()

        try:
            yield json.loads(process.stdout.readline()), hang
        finally:
            stdin.close()
            process.wait(30)


@contextmanager
def _triggerer(environment: dict[str, str], home: Path) -> Iterator[int]:
    """The watcher's pid; it ends all that it started once its standard input is closed."""
    with (home / "triggerer.log").open("w") as log:
        process = subprocess.Popen(
            watched("triggerer", "--capacity", str(2 * SENSORS)),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process.pid
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait(60)


def _tree(pid: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(found for child in children for found in _tree(child))]


def _cpu_seconds(pid: int) -> float:
    """Of the process and all below it."""
    total = 0
    for each in _tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def _memory_mb(pid: int) -> float:
    """Proportional set size: what the processes share is counted once."""
    total = 0
    for each in _tree(pid):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
