"""Worlds in which more than one run restarts a job: two at once, and a clear in the middle of a stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from airflow_flink_iceberg.model import Restart
from playground.stack import Stack
from tests.drills.record import Row, seen
from tests.e2e.rig import Rig, running_job
from tests.e2e.test_kill import _spec, _start
from tests.support.proxy import proxy


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_two_runs_at_once(stack: Stack, rows: list[Row], tmp_path: Path, sink: str) -> None:
    """Two runs of one DAG, each with a record of its own: one restarts, the other is refused or comes after it."""
    begun = time.monotonic()
    with running_job(stack, sink=sink) as rig:  # type: ignore[arg-type]
        rig.wait_rows(100)
        children = [_start(_own_spec(rig, tmp_path / name)) for name in ("one", "two")]
        ended = [(child, *child.communicate(timeout=150)) for child in children]
        done = [Restart.from_dict(json.loads(out)) for child, out, _ in ended if child.returncode == 0]
        assert done, "both were refused"
        assert rig.running() == [done[-1].running_job.job_id] or rig.running() == [done[0].running_job.job_id]
        lost, doubled = rig.damage(rig.finish())
    answer = "one refused" if len(done) == 1 else "one after the other"
    seen(
        rows,
        stack,
        "two runs at once",
        sink,
        "Two runs of one DAG restart the job at the same time, each with a record of its own.",
        answer=(answer, None, None),
        damage=(lost, doubled),
        seconds=time.monotonic() - begun,
    )
    assert (lost, doubled) == (0, 0)


@pytest.mark.parametrize("sink", ["v2", "v1"])
@pytest.mark.parametrize("moment", ["stop sent", "result read"])
def test_a_clear_during_a_stop(stack: Stack, rows: list[Row], tmp_path: Path, sink: str, moment: str) -> None:
    """The task is killed with its stop in flight and cleared: a new request, which adopts what it finds."""
    begun = time.monotonic()
    pattern = r"/stop$" if moment == "stop sent" else r"/savepoints/"
    with running_job(stack, sink=sink) as rig:  # type: ignore[arg-type]
        rig.wait_rows(100)
        children: list[subprocess.Popen[str]] = []

        def kill_at(method: str, path: str, body: bytes) -> None:
            if re.search(pattern, path) and len(children) == 1 and children[0].poll() is None:
                os.kill(children[0].pid, signal.SIGKILL)
                children[0].wait(10)

        with proxy(stack.flink_url, kill_at) as flink:
            children.append(_start(_spec(rig, tmp_path, flink.url, stack.gateway_url)))
            assert children[0].wait(60) == -signal.SIGKILL
            spec = _spec(rig, tmp_path, flink.url, stack.gateway_url)
            spec.write_text(json.dumps({**json.loads(spec.read_text()), "epoch": 1}))
            children.append(_start(spec))
            output, _ = children[1].communicate(timeout=120)
            assert children[1].returncode == 0
            stops = [json.loads(body)["triggerId"] for _, path, body in flink.seen if path.endswith("/stop")]
        done = Restart.from_dict(json.loads(output))
        assert done.savepoint.job_id == rig.first_job_id
        assert len(set(stops)) == 1, "a second stop with another id can kill the job"
        assert rig.running() == [done.running_job.job_id]
        lost, doubled = rig.damage(rig.finish())
    seen(
        rows,
        stack,
        f"clear during a stop, {moment}",
        sink,
        "The task is killed with its stop in flight, and cleared: a new request.",
        answer=("the stop is adopted", None, None),
        damage=(lost, doubled),
        seconds=time.monotonic() - begun,
    )
    assert (lost, doubled) == (0, 0)


def _own_spec(rig: Rig, directory: Path) -> Path:
    directory.mkdir()
    return _spec(rig, directory, rig.stack.flink_url, rig.stack.gateway_url)
