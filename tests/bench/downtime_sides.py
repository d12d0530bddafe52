"""The two sides of the comparison: the product's ``restart()``, and the shortest scripts that do without its care."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from airflow_flink_iceberg.flink.client import FlinkEndpoint
from airflow_flink_iceberg.flink.deployments.base import StartRequest
from airflow_flink_iceberg.flink.deployments.sql import launch_config, session_properties
from airflow_flink_iceberg.flink.gateway import GatewayClient, GatewaySession
from airflow_flink_iceberg.flink.script import parse_script
from airflow_flink_iceberg.model import JarDeployment, SqlDeployment
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.steps import Steps
from airflow_flink_iceberg.restart.stop import StopOptions
from tests.bench.downtime_pairs import Restarter
from tests.bench.downtime_store import AirflowPricedStore, airflow_write_seconds
from tests.e2e.rig import Rig

_TIMEOUT = 60.0
Launch = Callable[[str, str], None]
"""Starts a job from a savepoint under an id."""


def product(rig: Rig, poll_interval: float) -> Restarter:
    """``restart()`` with everything it does: guard, pins, records, proof of the restored state."""
    options = RestartOptions(
        StopOptions(poll_interval=poll_interval), StartOptions(poll_interval=poll_interval)
    )
    price = airflow_write_seconds()

    def run(_: str) -> str:
        with tempfile.TemporaryDirectory() as directory:
            steps = Steps(AirflowPricedStore(Path(directory, "steps.json"), price))
            # Opened anew each time, as every task does.
            systems = rig.systems()
            try:
                return restart(systems, steps, options).running_job.job_id
            finally:
                systems.deployment.close()
                systems.client.close()

    return run


def bare_rest(rig: Rig, poll_interval: float) -> Restarter:
    """Stop, poll the trigger, run the jar, poll the status: one kept-alive connection and nothing in between."""
    deployment = rig.job.deployment
    if not isinstance(deployment, JarDeployment):
        raise TypeError("bare REST calls launch a jar")
    body = {"entryClass": deployment.entry_class, "programArgsList": list(deployment.program_args)}

    def run(job_id: str) -> str:
        with _session() as http:

            def launch(savepoint: str, new_job_id: str) -> None:
                given = {**body, "jobId": new_job_id, "savepointPath": savepoint}
                _post(http, f"{rig.stack.flink_url}/jars/{deployment.jar}/run", given)

            return _stop_and_start(rig, http, job_id, launch, poll_interval)

    return run


def script_after_stop(rig: Rig, poll_interval: float) -> Restarter:
    """What people's scripts do: stop, and then run their SQL file in a new session."""

    def run(job_id: str) -> str:
        with _session() as http:

            def launch(savepoint: str, new_job_id: str) -> None:
                _submit(rig, _prepared(rig), savepoint, new_job_id)

            return _stop_and_start(rig, http, job_id, launch, poll_interval)

    return run


def script_before_stop(rig: Rig, poll_interval: float) -> Restarter:
    """The best that a script can do: session and DDL are ready, and only the INSERT comes after the stop."""

    def run(job_id: str) -> str:
        prepared = _prepared(rig)
        with _session() as http:

            def launch(savepoint: str, new_job_id: str) -> None:
                _submit(rig, prepared, savepoint, new_job_id)

            return _stop_and_start(rig, http, job_id, launch, poll_interval)

    return run


def _stop_and_start(
    rig: Rig, http: requests.Session, job_id: str, launch: Launch, poll_interval: float
) -> str:
    url = rig.stack.flink_url
    trigger, new_job_id = secrets.token_hex(16), secrets.token_hex(16)
    stop = {"targetDirectory": f"file://{rig.stack.savepoint_dir}", "drain": False, "triggerId": trigger}
    _post(http, f"{url}/jobs/{job_id}/stop", stop)

    def location() -> str | None:
        answer = _get(http, f"{url}/jobs/{job_id}/savepoints/{trigger}")
        return (answer.get("operation") or {}).get("location")

    def running() -> bool:
        return bool(_get(http, f"{url}/jobs/{new_job_id}/status").get("status") == "RUNNING")

    launch(_polled(location, poll_interval), new_job_id)
    _polled(running, poll_interval)
    return new_job_id


def _prepared(rig: Rig) -> GatewaySession:
    deployment = rig.job.deployment
    if not isinstance(deployment, SqlDeployment) or rig.script is None:
        raise TypeError("a script is SQL")
    script = parse_script(rig.script)
    endpoint = FlinkEndpoint(rig.stack.flink_url, gateway_url=rig.stack.gateway_url).for_gateway()
    # The same client as ours on both sides: compared is the order of the calls, not who sends them.
    session = GatewayClient(endpoint).open(session_properties(rig.job, script, deployment))
    for statement in script.ddl:
        session.execute(statement)
    return session


def _submit(rig: Rig, session: GatewaySession, savepoint: str, new_job_id: str) -> None:
    insert = parse_script(rig.script or "").insert
    session.submit_insert(insert, launch_config(StartRequest(new_job_id, savepoint)))


def _polled(question: Callable[[], Any], poll_interval: float) -> Any:
    deadline = time.monotonic() + _TIMEOUT
    while not (answer := question()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no answer within {_TIMEOUT:g} s")
        time.sleep(poll_interval)
    return answer


def _session() -> requests.Session:
    http = requests.Session()
    http.trust_env = False
    return http


def _post(http: requests.Session, url: str, body: dict[str, Any]) -> Any:
    answer = http.post(url, json=body, timeout=_TIMEOUT)
    answer.raise_for_status()
    return answer.json()


def _get(http: requests.Session, url: str) -> Any:
    # An unknown job on /status is an error with a body, and here simply not yet the answer.
    return http.get(url, timeout=_TIMEOUT).json()
