"""A restart whose process gets SIGKILL between a request and its answer, and is run again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_flink_iceberg.model import Restart
from playground.stack import Stack
from tests.e2e.rig import Rig, running_job
from tests.support.proxy import proxy

REPOSITORY = Path(__file__).resolve().parents[2]

Moment = Callable[[str, str, bytes], bool]


def _is(method: str, pattern: str, needle: bytes = b"") -> Moment:
    return lambda verb, path, body: verb == method and re.search(pattern, path) is not None and needle in body


STOP_SENT = _is("POST", r"/stop$")
STOP_POLLED = _is("GET", r"/status$")
RESULT_READ = _is("GET", r"/savepoints/")
JAR_RUN = _is("POST", r"/jars/.*/run")
# Not the EXPLAIN of the same INSERT, which comes before the stop: only the launch carries the id of the new job.
INSERT_SENT = _is("POST", r"/statements$", b"$internal.pipeline.job-id")

CASES = {
    "jar v2, stop sent": ("jar", "v2", STOP_SENT),
    "jar v1, run sent": ("jar", "v1", JAR_RUN),
    "sql v2, stop polled": ("sql", "v2", STOP_POLLED),
    "sql v2, result read": ("sql", "v2", RESULT_READ),
    "sql v2, insert sent": ("sql", "v2", INSERT_SENT),
    "sql v1, insert sent": ("sql", "v1", INSERT_SENT),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_and_run_again(stack: Stack, tmp_path: Path, case: str) -> None:
    deployment, sink, moment = CASES[case]
    with running_job(stack, sink=sink, deployment=deployment) as rig:  # type: ignore[arg-type]
        rig.wait_rows(100)
        children: list[subprocess.Popen[str]] = []

        def kill_at(method: str, path: str, body: bytes) -> None:
            if moment(method, path, body) and len(children) == 1 and children[0].poll() is None:
                os.kill(children[0].pid, signal.SIGKILL)
                children[0].wait(10)

        with proxy(stack.flink_url, kill_at) as flink, proxy(stack.gateway_url, kill_at) as gateway:
            spec = _spec(rig, tmp_path, flink.url, gateway.url)
            children.append(_start(spec))
            assert children[0].wait(60) == -signal.SIGKILL, f"not killed: {case}"
            children.append(_start(spec))
            output, _ = children[1].communicate(timeout=90)
            assert children[1].returncode == 0
            stops = [json.loads(body) for method, path, body in flink.seen if STOP_SENT(method, path, body)]
        done = Restart.from_dict(json.loads(output))
        assert len({stop["triggerId"] for stop in stops}) == 1, (
            "a second stop with another id can kill the job"
        )
        assert rig.running() == [done.running_job.job_id]
        assert len(_savepoints(stack, done)) == 1
        produced = rig.finish()
        assert rig.damage(produced) == (0, 0)


def _spec(rig: Rig, directory: Path, flink_url: str, gateway_url: str) -> Path:
    path = directory / "spec.json"
    spec = {
        "job": rig.job.to_dict(),
        "script": rig.script,
        "flink_url": flink_url,
        "gateway_url": gateway_url,
        "catalog_name": rig.stack.catalog_name,
        "catalog_properties": rig.stack.catalog_properties,
        "store": str(directory / "steps.json"),
    }
    path.write_text(json.dumps(spec))
    return path


def _start(spec: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.e2e.child", str(spec)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)


def _savepoints(stack: Stack, done: Restart) -> list[Path]:
    """Completed savepoints of the stopped run, wherever they lie."""
    prefix = f"savepoint-{done.savepoint.job_id[:6]}-"
    return [
        path.parent for path in stack.savepoint_dir.rglob("_metadata") if path.parent.name.startswith(prefix)
    ]
