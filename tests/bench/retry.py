"""What a restart costs in downtime when its process is killed at the worst moment and the task is run again at once.

Interleaved pairs on real Flink: one restart whose process gets SIGKILL between a request and its answer and is
followed by a second process on the same record, and one that nobody disturbs. Both go through the same proxies, and
both processes are forked ready from one that has imported everything: when the retry begins is Airflow's affair
(``retry_delay``), what it costs once it runs is ours.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_flink_iceberg.model import Restart
from playground.stack import Stack
from tests.bench.downtime import DEFAULT_POLL, bench_stack
from tests.bench.downtime_pairs import Compared, Restarter, compare, count_offsets
from tests.e2e import child
from tests.e2e.rig import Rig, running_job
from tests.e2e.test_kill import INSERT_SENT, JAR_RUN, RESULT_READ, STOP_SENT, Moment
from tests.support.proxy import proxy
from tests.support.zygote import Zygote

# What a restart imports only when it needs it; the zygote imports it once for all.
for _name in (
    "airflow_flink_iceberg.flink.gateway",
    "airflow_flink_iceberg.flink.resolve",
    "kafka",
    "sqlalchemy.dialects.sqlite",
):
    importlib.import_module(_name)

_REPOSITORY = Path(__file__).resolve().parents[2]
_MOMENTS: dict[str, dict[str, Moment]] = {
    "jar": {"stop sent": STOP_SENT, "result read": RESULT_READ, "job launched": JAR_RUN},
    "sql": {"stop sent": STOP_SENT, "result read": RESULT_READ, "job launched": INSERT_SENT},
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
    counted, added = "", dict[str, list[float]]()
    with running_job(stack, deployment=deployment) as rig, _restarts(rig) as restarts:
        for moment, is_it in _MOMENTS[deployment].items():
            compared = compare(rig, runs, restarts.killed(is_it), restarts.plain())
            added[moment] = _seconds_added(compared)
            rig.first_job_id = rig.running()[0]
        counted = count_offsets(rig, runs * len(_MOMENTS[deployment]))
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
        "counted": counted,
    }


def _seconds_added(compared: Compared) -> list[float]:
    return [
        (killed.running_ms - plain.running_ms) / 1000
        for killed, plain in zip(compared.ours, compared.theirs, strict=True)
    ]


class _Restarts:
    """Restarts in processes of their own, of which one may be killed."""

    def __init__(self, directory: Path, zygote: Zygote) -> None:
        self._request = {"spec": str(directory / "spec.json"), "result": str(directory / "result.json")}
        self._store = directory / "steps.json"
        self._zygote = zygote
        self._moment: Moment | None = None
        self._pid: int | None = None

    def before_answer(self, method: str, path: str, body: bytes) -> None:
        """Kill the running process if this is the moment; only the first of each restart is."""
        if self._moment and self._pid and self._moment(method, path, body):
            pid, self._pid = self._pid, None
            os.kill(pid, signal.SIGKILL)

    def killed(self, moment: Moment) -> Restarter:
        """A restart that is killed at the moment and run again."""

        def restart(_: str) -> str:
            self._moment = moment
            return self._run(codes=(-signal.SIGKILL, 0))

        return restart

    def plain(self) -> Restarter:
        """A restart that nobody disturbs."""

        def restart(_: str) -> str:
            self._moment = None
            return self._run(codes=(0,))

        return restart

    def _run(self, codes: tuple[int, ...]) -> str:
        self._store.unlink(missing_ok=True)
        for number, wanted in enumerate(codes):
            pid = self._zygote.start(self._request)
            self._pid = pid if number == 0 else None
            code = self._zygote.wait()
            self._pid = None
            if code != wanted:
                raise RuntimeError(f"try {number + 1} of the restart ended with {code} instead of {wanted}")
        result = json.loads(Path(self._request["result"]).read_text(encoding="utf-8"))
        return Restart.from_dict(result).running_job.job_id


@contextmanager
def _restarts(rig: Rig) -> Iterator[_Restarts]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Zygote("tests.bench.retry:run_child", _REPOSITORY) as zygote,
    ):
        directory = Path(folder)
        restarts = _Restarts(directory, zygote)
        with (
            proxy(rig.stack.flink_url, restarts.before_answer) as flink,
            proxy(rig.stack.gateway_url, restarts.before_answer) as gateway,
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
