"""Start a job for the first time. Small on purpose: the package under test has the real clients."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from playground.errors import NotReadyError, SubmitError
from playground.rest import get_json, post_json, upload_jar

_POLL_INTERVAL = 0.1
_STATEMENT_TIMEOUT = 120.0


def submit_script(gateway_url: str, script: str, *, properties: Mapping[str, str] | None = None) -> str:
    """Run a script in a session of its own and return the job id of its last statement, the INSERT.

    `properties` are session properties, e.g. `execution.state-recovery.path`. Raises `SubmitError`.
    """
    opened = post_json(f"{gateway_url}/v1/sessions", {"properties": dict(properties or {})})
    session = f"{gateway_url}/v1/sessions/{opened['sessionHandle']}"
    answers = [_run(session, statement) for statement in script.split(";\n") if statement.strip()]
    if not answers or not (job_id := answers[-1].get("jobID")):
        raise SubmitError("The script's last statement started no job: it has to be an INSERT.")
    return str(job_id)


def run_jar(
    flink_url: str,
    jar: Path,
    *,
    entry_class: str,
    program_args: Sequence[str],
    savepoint: str | None = None,
    properties: Mapping[str, str] | None = None,
) -> str:
    """Upload a jar, run it under these settings of Flink, and return its job id. Raises `SubmitError`."""
    body = {
        "entryClass": entry_class,
        "programArgsList": list(program_args),
        "savepointPath": savepoint,
        "flinkConfiguration": dict(properties or {}),
    }
    given = {key: value for key, value in body.items() if value}
    return str(post_json(f"{flink_url}/jars/{upload_jar(flink_url, jar)}/run", given)["jobid"])


def wait_for_state(flink_url: str, job_id: str, *states: str, timeout: float = 60.0) -> str:
    """Wait until the job is in one of the states and return it; `NotReadyError` names the state it is in."""
    deadline = time.monotonic() + timeout
    while True:
        # /jobs/:id would be up to `web.refresh-interval` late.
        state = str(get_json(f"{flink_url}/jobs/{job_id}/status")["status"])
        if state in states:
            return state
        if time.monotonic() > deadline:
            raise NotReadyError(f"Job {job_id} is {state}, not {' or '.join(states)}, after {timeout:g} s.")
        time.sleep(_POLL_INTERVAL)


def wait_until_running(flink_url: str, job_id: str, *, timeout: float = 60.0) -> None:
    """Wait until all tasks of the job run."""
    deadline = time.monotonic() + timeout
    tasks: dict[str, int]
    while True:
        jobs = get_json(f"{flink_url}/jobs/overview")["jobs"]
        tasks = next((job["tasks"] for job in jobs if job["jid"] == job_id), {})
        if tasks and tasks["running"] == tasks["total"]:
            return
        if time.monotonic() > deadline:
            raise NotReadyError(
                f"The tasks of job {job_id} are {tasks}, not all running, after {timeout:g} s."
            )
        time.sleep(_POLL_INTERVAL)


def _run(session: str, statement: str) -> dict[str, object]:
    operation = post_json(f"{session}/statements", {"statement": statement})["operationHandle"]
    url, deadline = f"{session}/operations/{operation}", time.monotonic() + _STATEMENT_TIMEOUT
    while get_json(f"{url}/status")["status"] in ("INITIALIZED", "PENDING", "RUNNING"):
        if time.monotonic() > deadline:
            raise NotReadyError(
                f"The gateway did not finish {statement[:60]!r} within {_STATEMENT_TIMEOUT:g} s."
            )
        time.sleep(_POLL_INTERVAL / 2)
    try:
        answer: dict[str, object] = get_json(f"{url}/result/0")
    except SubmitError as error:
        raise SubmitError(f"{statement[:60]!r} failed: {error}") from error
    return answer
