"""What a restart costs in downtime when its process is killed at the worst moment and the task is run again at once.

Interleaved pairs on real Flink: one restart whose process gets SIGKILL at a request and is followed by a second process
on the same record, and one that nobody disturbs; both go through the same proxies. The figure is the difference of the
two downtimes by Flink's own timestamps, of the worst of four moments: the stop was sent, its result was read (both
answered, the answer lost), the launch is about to be sent (recorded, the request lost), the launch was answered.

Not in it is what passes between the kill and the first line of the next try's task: Airflow notices the lost process
and waits for ``retry_delay``, and the next process starts and imports. So the second process is started at once, and
forked ready from one that has imported everything. What a fresh process would import is measured beside it and reported
as ``import_seconds``; ``to_launch_seconds`` is from the fork of the second process to its launch request.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.model import Restart
from playground.stack import Stack
from tests.bench.downtime import DEFAULT_POLL, bench_stack
from tests.bench.downtime_pairs import WARM_UP, Compared, Restarter, compare, count_offsets
from tests.e2e import child
from tests.e2e.rig import Rig, running_job
from tests.e2e.test_kill import INSERT_SENT, JAR_RUN, RESULT_READ, STOP_SENT, Moment
from tests.support.proxy import proxy
from tests.support.zygote import Zygote

# What a restart imports only when it needs it; the zygote imports it once for all.
_LATE = (
    "airflow_flink_iceberg.flink.gateway",
    "airflow_flink_iceberg.flink.resolve",
    "kafka",
    "sqlalchemy.dialects.sqlite",
)
for _name in _LATE:
    importlib.import_module(_name)

_IMPORTS = 5
_REPOSITORY = Path(__file__).resolve().parents[2]
_LAUNCH = {"jar": JAR_RUN, "sql": INSERT_SENT}


@dataclass(frozen=True)
class _Kill:
    """At which request; ``arrives``: it is carried out and its answer lost, else the request itself is."""

    moment: Moment
    arrives: bool = True


def _kills(deployment: str) -> dict[str, _Kill]:
    launch = _LAUNCH[deployment]
    return {
        "stop sent": _Kill(STOP_SENT),
        "result read": _Kill(RESULT_READ),
        "about to launch": _Kill(launch, arrives=False),
        "job launched": _Kill(launch),
    }


def run(runs: int) -> list[dict[str, Any]]:
    """``retry_added_downtime`` (a jar) and ``retry_added_downtime_sql``: of the worst moment, in seconds."""
    with bench_stack() as stack:
        return [
            _entry("retry_added_downtime", stack, "jar", runs),
            _entry("retry_added_downtime_sql", stack, "sql", runs),
        ]


def run_child(request: dict[str, Any]) -> None:
    """One restart; its result goes to a file, because the zygote speaks on stdout."""
    with Path(request["result"]).open("w", encoding="utf-8") as sys.stdout:
        child.main(request["spec"])


def _entry(name: str, stack: Stack, deployment: str, runs: int) -> dict[str, Any]:
    counted, added, to_launch = "", dict[str, list[float]](), dict[str, list[float]]()
    kills = _kills(deployment)
    with running_job(stack, deployment=deployment) as rig, _restarts(rig, _LAUNCH[deployment]) as restarts:
        for moment, kill in kills.items():
            compared = compare(rig, runs, restarts.killed(kill), restarts.plain())
            added[moment] = _seconds_added(compared)
            to_launch[moment] = restarts.seconds_to_launch()[WARM_UP:]
            rig.first_job_id = rig.running()[0]
        counted = count_offsets(rig, runs * len(kills))
    medians = {moment: round(statistics.median(values), 3) for moment, values in added.items()}
    worst = max(medians, key=lambda moment: medians[moment])
    return {
        "name": name,
        "value": medians[worst],
        "target": DEFAULT_POLL,
        "better": "lower",
        "unit": "s",
        "against": f"the same restart undisturbed ({deployment}); killed once {worst}, the worst of "
        f"{', '.join(medians)}; the target is one poll interval",
        "runs": runs,
        "spread": [round(min(added[worst]), 3), round(max(added[worst]), 3)],
        "added_seconds": medians,
        "to_launch_seconds": {
            each: round(statistics.median(found), 3) for each, found in to_launch.items() if found
        },
        "import_seconds": round(_import_seconds(), 3),
        "counted": counted,
    }


def _seconds_added(compared: Compared) -> list[float]:
    return [
        (killed.running_ms - plain.running_ms) / 1000
        for killed, plain in zip(compared.ours, compared.theirs, strict=True)
    ]


def _import_seconds() -> float:
    """What a process that was not forked ready pays before its first line."""
    names = ", ".join(("tests.e2e.child", *_LATE))
    code = f"import time; at = time.monotonic(); import {names}; print(time.monotonic() - at)"
    command = [sys.executable, "-c", code]
    said = [
        subprocess.run(
            command, cwd=_REPOSITORY, capture_output=True, text=True, check=True, timeout=120
        ).stdout
        for _ in range(_IMPORTS)
    ]
    return statistics.median(float(each) for each in said)


class _Restarts:
    """Restarts in processes of their own, of which one may be killed."""

    def __init__(self, directory: Path, zygote: Zygote, launch: Moment) -> None:
        self._request = {"spec": str(directory / "spec.json"), "result": str(directory / "result.json")}
        self._store = directory / "steps.json"
        self._zygote = zygote
        self._launch = launch
        self._kill: _Kill | None = None
        self._pid: int | None = None
        self._again_at: float | None = None
        self._to_launch: list[float] = []

    def before_answer(self, method: str, path: str, body: bytes) -> None:
        """Kill the running process if this is the moment; only the first of each restart is."""
        if self._kill and self._kill.arrives:
            self._kill_at(method, path, body)

    def swallow(self, method: str, path: str, body: bytes) -> bool:
        """The same, and the request is lost; notes besides when a second try launches."""
        if self._again_at and self._launch(method, path, body):
            self._to_launch.append(time.monotonic() - self._again_at)
            self._again_at = None
        return bool(self._kill and not self._kill.arrives and self._kill_at(method, path, body))

    def seconds_to_launch(self) -> list[float]:
        """From each fork of a second try to its launch, since the last call; none where it adopts the job."""
        found, self._to_launch = self._to_launch, []
        return found

    def _kill_at(self, method: str, path: str, body: bytes) -> bool:
        if not (self._kill and self._pid and self._kill.moment(method, path, body)):
            return False
        pid, self._pid = self._pid, None
        os.kill(pid, signal.SIGKILL)
        return True

    def killed(self, kill: _Kill) -> Restarter:
        """A restart that is killed at the moment and run again."""

        def restart(_: str) -> str:
            self._kill = kill
            return self._run(codes=(-signal.SIGKILL, 0))

        return restart

    def plain(self) -> Restarter:
        """A restart that nobody disturbs."""

        def restart(_: str) -> str:
            self._kill = None
            return self._run(codes=(0,))

        return restart

    def _run(self, codes: tuple[int, ...]) -> str:
        self._store.unlink(missing_ok=True)
        for number, wanted in enumerate(codes):
            self._again_at = time.monotonic() if number else None
            pid = self._zygote.start(self._request)
            self._pid = pid if number == 0 else None
            code = self._zygote.wait()
            self._pid = self._again_at = None
            if code != wanted:
                raise RuntimeError(f"try {number + 1} of the restart ended with {code} instead of {wanted}")
        result = json.loads(Path(self._request["result"]).read_text(encoding="utf-8"))
        return Restart.from_dict(result).running_job.job_id


@contextmanager
def _restarts(rig: Rig, launch: Moment) -> Iterator[_Restarts]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Zygote("tests.bench.retry:run_child", _REPOSITORY) as zygote,
    ):
        directory = Path(folder)
        restarts = _Restarts(directory, zygote, launch)
        with (
            proxy(rig.stack.flink_url, restarts.before_answer, swallow=restarts.swallow) as flink,
            proxy(rig.stack.gateway_url, restarts.before_answer, swallow=restarts.swallow) as gateway,
        ):
            spec = {
                "job": rig.job.to_dict(),
                "script": rig.script,
                "flink_url": flink.url,
                "gateway_url": gateway.url,
                "catalog_name": rig.stack.catalog_name,
                "catalog_properties": rig.stack.catalog_properties,
                "store": str(directory / "steps.json"),
            }
            (directory / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
            yield restarts
