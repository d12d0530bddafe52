"""What can be wrong: one sentence that names the thing and the next step, and nothing stopped that cannot be restarted.

Each test asserts on what the server received.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_flink_iceberg.model.errors import (
    BranchNotFound,
    FlinkAnswerInvalid,
    FlinkIcebergError,
    FlinkUnauthorized,
    FlinkUnreachable,
    InvalidValue,
    JobAmbiguous,
    JobFailed,
    JobNotFound,
    JobNotStoppable,
    NoFreeSlots,
    OperationInFlight,
    RestartRefused,
    SavepointFailed,
    SavepointUnreadable,
    TableNotFound,
)
from airflow_flink_iceberg.model.job import JarDeployment, TableSink
from airflow_flink_iceberg.model.savepoint import Savepoint
from airflow_flink_iceberg.restart.restart import restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.steps import MemoryStore, Steps
from tests.integration.fakes.http import Answer
from tests.support.restart_world import JOB, OLD_JOB, OPTIONS, ShopFlink, open_systems

STOP, RUN = "/jobs/[0-9a-f]+/stop", "/jars/.*/run"


def is_one_sentence(error: FlinkIcebergError, *parts: str) -> None:
    text = str(error)
    assert "\n" not in text, text
    assert "\tat " not in text, text
    assert len(text) < 900, text
    for part in parts:
        assert re.search(part, text), (part, text)


def _two_of_a_name(flink: ShopFlink) -> None:
    flink.add_job("orders")


def _no_job(flink: ShopFlink) -> None:
    flink.jobs.clear()


def _restarting(flink: ShopFlink) -> None:
    flink.old.state = "RESTARTING"


def _task_initialising(flink: ShopFlink) -> None:
    flink.old.tasks = {"RUNNING": 1, "INITIALIZING": 1}


def _checkpointing_off(flink: ShopFlink) -> None:
    flink.old.interval = 2**63 - 1


def _savepoint_in_flight(flink: ShopFlink) -> None:
    flink.old.add_checkpoint("SAVEPOINT", status="IN_PROGRESS")


def _no_directory(flink: ShopFlink) -> None:
    del flink.config["execution.checkpointing.savepoint-dir"]


def _outside_roots(flink: ShopFlink) -> None:
    flink.config["execution.checkpointing.savepoint-dir"] = "file:/elsewhere/savepoints"


def _no_jar(flink: ShopFlink) -> None:
    flink.jars.clear()


def _unauthorized(flink: ShopFlink) -> None:
    flink.script("GET", ".*", Answer(401, {"errors": ["no"]}), repeat_last=True)


def _unavailable(flink: ShopFlink) -> None:
    flink.script("GET", ".*", Answer(503, {"errors": ["election"]}), repeat_last=True)


def _html(flink: ShopFlink) -> None:
    page = Answer(200, b"<html><body>Login</body></html>", {"Content-Type": "text/html"})
    flink.script("GET", ".*", page, repeat_last=True)


def _half_a_body(flink: ShopFlink) -> None:
    flink.script("GET", "/jobs/overview", Answer(200, {"jobs": []}, cut=True), repeat_last=True)


@pytest.mark.parametrize(
    ("disturb", "kind", "parts"),
    [
        (_no_job, JobNotFound, ["'orders'", "Check the name"]),
        (_two_of_a_name, JobAmbiguous, [OLD_JOB, "give job_id"]),
        (_restarting, JobNotStoppable, [OLD_JOB, "RESTARTING", "wait until"]),
        (_task_initialising, JobNotStoppable, [OLD_JOB, "retry"]),
        (_checkpointing_off, JobNotStoppable, [OLD_JOB, "execution.checkpointing.interval"]),
        (_savepoint_in_flight, OperationInFlight, [OLD_JOB, "retry"]),
        (_no_directory, InvalidValue, ["orders", "target_directory"]),
        (_outside_roots, InvalidValue, ["/elsewhere/savepoints", "savepoint_roots"]),
        (_no_jar, InvalidValue, ["orders.jar", "Upload"]),
        (_unauthorized, FlinkUnauthorized, ["401"]),
        (_unavailable, FlinkUnreachable, ["503"]),
        (_html, FlinkAnswerInvalid, ["(?i)html"]),
        (_half_a_body, (FlinkUnreachable, FlinkAnswerInvalid), ["/jobs/overview"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_nothing_is_sent_that_stops_the_job(
    *, disturb: Callable[[ShopFlink], None], kind: Any, parts: list[str], flink, systems, steps
) -> None:
    disturb(flink)
    with pytest.raises(kind) as caught:
        restart(systems, steps, OPTIONS)
    is_one_sentence(caught.value, *parts)
    assert flink.posts == []


def test_a_jobmanager_that_is_down(flink, lake, tmp_path, steps) -> None:
    with (
        open_systems("http://127.0.0.1:9", lake, tmp_path) as systems,
        pytest.raises(FlinkUnreachable) as caught,
    ):
        restart(systems, steps, OPTIONS)
    is_one_sentence(caught.value, "127.0.0.1:9")


@pytest.mark.parametrize(
    ("sink", "kind", "parts"),
    [
        (TableSink("shop.missing"), TableNotFound, ["shop.missing", "lake"]),
        (TableSink("shop.orders", branch="audit"), BranchNotFound, ["audit", "main"]),
    ],
    ids=["table", "branch"],
)
def test_a_table_or_branch_that_is_missing_is_found_before_the_stop(
    *, sink, kind, parts, flink, lake, tmp_path, steps
) -> None:
    job = replace(JOB, sinks=(sink,))
    with open_systems(flink.url, lake, tmp_path, job) as systems, pytest.raises(kind) as caught:
        restart(systems, steps, OPTIONS)
    is_one_sentence(caught.value, *parts)
    assert flink.posts == []


@pytest.mark.parametrize(
    ("sinks", "writer", "cause"),
    [((), None, "sink_undeclared"), (JOB.sinks, "d" * 32, "unknown_writer")],
    ids=["no sinks", "a second writer"],
)
def test_what_a_stop_cannot_change_refuses_the_stop(
    *, sinks, writer, cause, flink, lake, tmp_path, steps
) -> None:
    if writer:
        lake.commit(writer, 9, 30)
    job = replace(JOB, sinks=sinks)
    with open_systems(flink.url, lake, tmp_path, job) as systems, pytest.raises(RestartRefused) as caught:
        restart(systems, steps, OPTIONS)
    is_one_sentence(caught.value, "Not stopped", cause)
    assert flink.posts == []


def test_a_state_with_a_second_sink_that_is_not_declared_refuses_the_stop(flink, systems, steps) -> None:
    from tests.unit.flink.savepoint_writer import metadata
    from tests.unit.flink.sink_states import delta_manifests, holder, iceberg_committable, manifest, v2_state

    held = []
    for number, operator in ((7, "0f" * 16), (8, "0e" * 16)):
        blob = delta_manifests(manifest(f"file:///t/{number}.avro", 5))
        held.append(holder(number, v2_state({2: [iceberg_committable(OLD_JOB, operator, 2, blob)]})))
    newest = flink.directory / "checkpoints" / OLD_JOB / "chk-2" / "_metadata"
    newest.write_bytes(metadata(held, checkpoint_id=2, kind="checkpoint"))
    with pytest.raises(RestartRefused) as caught:
        restart(systems, steps, OPTIONS)
    is_one_sentence(caught.value, "2 Iceberg sinks", "sink_undeclared")
    assert flink.posts == []


def test_another_job_with_the_name_of_an_other_writer_may_write(flink, lake, tmp_path, steps) -> None:
    flink.add_job("refunds", job_id="d" * 32)
    lake.commit("d" * 32, 9, 30)
    lake.commit(OLD_JOB, 2, 1)
    job = replace(JOB, sinks=(TableSink("shop.orders", other_writers=("refunds",)),))
    with open_systems(flink.url, lake, tmp_path, job) as systems:
        assert restart(systems, steps, OPTIONS).decision.verdict == "SAFE"


# The stop


def test_a_savepoint_that_fails_leaves_the_job_running_and_the_next_try_has_a_new_id(flink, systems) -> None:
    store = MemoryStore()
    flink.stop_outcome = "failed"
    with pytest.raises(SavepointFailed) as caught:
        restart(systems, Steps(store), OPTIONS)
    is_one_sentence(caught.value, OLD_JOB, "The job goes on", "Failed to create savepoint directory")
    assert flink.running == [OLD_JOB]
    flink.stop_outcome = "saved"
    done = restart(systems, Steps(store), OPTIONS)
    sent = [request.json for request in flink.received("POST", STOP)]
    assert len(sent) == len({body["triggerId"] for body in sent}) == 2
    assert len({body["targetDirectory"] for body in sent}) == 2
    assert flink.running == [done.running_job.job_id]


def test_a_job_that_failed_while_stopping_is_restarted_from_the_savepoint_that_it_made(
    flink, lake, systems, steps
) -> None:
    flink.stop_outcome = "uncommitted"
    restored: list[str] = []

    def commit_what_waited(request) -> None:
        for job in flink.jobs.values():
            if job.restored and not restored and request.path.endswith("/checkpoints"):
                restored.append(job.job_id)
                lake.commit(OLD_JOB, 3, flink.rows_at_stop)

    flink.before = commit_what_waited
    options = replace(OPTIONS, start=replace(OPTIONS.start, commit_grace=1.0))
    done = restart(systems, steps, options)
    assert flink.old.state == "FAILED"
    assert flink.stopped_with == [done.savepoint.path] == [done.running_job.restored_path]
    assert (done.decision.verdict, done.savepoint.commit) == ("SAFE", "done")
    assert (done.restore_point.sinks[0].pending_rows, done.restore_point.sinks[0].can_roll_back) == (0, True)


def test_a_result_that_was_lost_is_found_among_the_checkpoints(flink, systems, steps) -> None:
    def forget(request) -> None:
        if f"/jobs/{OLD_JOB}/savepoints/" in request.path:
            flink.operations.clear()

    flink.before = forget
    done = restart(systems, steps, OPTIONS)
    assert flink.count("POST", STOP) == 1
    assert done.savepoint.path == flink.stopped_with[0]


def test_a_result_lost_with_the_jobs_checkpoints_is_found_in_its_directory(flink, systems, steps) -> None:
    """A JobManager with high availability that dies after FINISHED leaves nothing of the job but its result."""
    forgotten = Answer(404, {"errors": ["Checkpointing has not been enabled."]})

    def replace_jobmanager(request) -> None:
        if f"/jobs/{OLD_JOB}/savepoints/" in request.path and flink.operations:
            flink.operations.clear()
            flink.script("GET", f"/jobs/{OLD_JOB}/checkpoints", forgotten, repeat_last=True)

    flink.before = replace_jobmanager
    done = restart(systems, steps, OPTIONS)
    assert flink.count("POST", STOP) == 1
    assert [done.savepoint.path, done.running_job.restored_path] == flink.stopped_with * 2


def test_an_operation_that_the_cluster_forgot_is_sent_again_with_the_same_id(flink, systems, steps) -> None:
    flink.stop_outcome = "pending"
    forgotten: list[str] = []

    def forget(request) -> None:
        if f"/jobs/{OLD_JOB}/savepoints/" in request.path and not forgotten:
            forgotten.append(request.path)
            flink.operations.clear()
            flink.stop_outcome = "saved"

    flink.before = forget
    done = restart(systems, steps, OPTIONS)
    sent = flink.received("POST", STOP)
    assert len(sent) == 2
    assert sent[0].json == sent[1].json
    assert flink.running == [done.running_job.job_id]


def test_a_jobmanager_that_lost_everything_is_not_guessed_about(flink, systems, steps) -> None:
    flink.stop_outcome = "pending"

    def restart_jobmanager(request) -> None:
        if request.path.endswith("/status") and flink.count("POST", STOP):
            flink.restart_jobmanager()

    flink.before = restart_jobmanager
    with pytest.raises(JobNotFound) as caught:
        restart(systems, steps, OPTIONS)
    trigger = flink.received("POST", STOP)[0].json
    is_one_sentence(caught.value, OLD_JOB, trigger["triggerId"], trigger["targetDirectory"])
    assert flink.count("POST", RUN) == 0


@pytest.mark.parametrize(
    "answer", [Answer(drop=True), Answer(502, b"<html>bad gateway</html>")], ids=["dropped", "502"]
)
def test_a_lost_answer_to_the_stop_costs_no_downtime(answer, flink, systems, steps) -> None:
    """The job may be going down already: whoever gave up here would leave it down until the next try."""
    carried_out: list[str] = []

    def swallow(request) -> None:
        if request.method == "POST" and request.path.endswith("/stop") and not carried_out:
            carried_out.append(request.json["triggerId"])
            flink._stop(request, OLD_JOB)
            flink.script("POST", STOP, answer)

    flink.before = swallow
    done = restart(systems, steps, OPTIONS)
    assert flink.count("POST", STOP) == 1
    assert flink.running == [done.running_job.job_id]


def test_the_overview_that_lags_behind_is_no_job_alive(flink, systems, steps) -> None:
    """``/jobs/overview`` shows FINISHED some ms after ``/status`` does (seen on Flink 1.20 to 2.3)."""
    late: list[str] = []

    def lag(request) -> None:
        if request.path == "/jobs/overview" and flink.old.state == "FINISHED" and not late:
            late.append(request.path)
            stale = {
                "jid": OLD_JOB,
                "name": "orders",
                "start-time": 1,
                "end-time": -1,
                "state": "RUNNING",
                "tasks": {},
            }
            flink.script("GET", "/jobs/overview", Answer(body={"jobs": [stale]}))

    flink.before = lag
    done = restart(systems, steps, OPTIONS)
    assert late
    assert done.decision.verdict == "SAFE"


# The start


def stopped(flink: ShopFlink, *, rows: int = 7) -> Savepoint:
    path = f"file:{flink.directory}/savepoints/s/savepoint-1"
    flink.rows_at_stop = rows
    flink.old.add_checkpoint("SYNC_SAVEPOINT", path)
    flink.savepoints[path] = 3
    flink.on_savepoint(flink.old, path)
    flink.old.end("FINISHED")
    return Savepoint(path, 3, OLD_JOB)


def test_a_savepoint_that_is_missing_or_outside_the_roots(flink, systems, steps) -> None:
    savepoint = stopped(flink)
    for path, kind in (
        (f"file:{flink.directory}/savepoints/gone", SavepointUnreadable),
        ("file:/elsewhere/savepoint-1", InvalidValue),
        (f"file:{flink.directory}/savepoints/../../elsewhere", InvalidValue),
    ):
        for given in (replace(savepoint, path=path), path):
            with pytest.raises(kind) as caught:
                start_job(systems, steps, given, OPTIONS.start)
            is_one_sentence(caught.value, path.rsplit("/", 1)[-1])
    assert flink.posts == []


def test_a_savepoint_with_another_checkpoint_than_said(flink, systems, steps) -> None:
    with pytest.raises(SavepointUnreadable, match="holds checkpoint 3, not 8"):
        start_job(systems, steps, replace(stopped(flink), checkpoint_id=8), OPTIONS.start)
    assert flink.posts == []


def test_an_older_state_is_refused_by_name_and_number(flink, systems, steps) -> None:
    stopped(flink, rows=7)
    older = f"file:{flink.directory}/checkpoints/{OLD_JOB}/chk-2"
    with pytest.raises(RestartRefused) as caught:
        start_job(systems, steps, older, OPTIONS.start)
    is_one_sentence(caught.value, "WOULD_DUPLICATE, 7 rows", "older_state", "newest savepoint")
    assert flink.posts == []
    accepting = StartOptions(accept=("WOULD_DUPLICATE",), reason="a replay is wanted", timeout=20)  # type: ignore[arg-type]
    flink.savepoints[older] = 2
    running, decision = start_job(systems, steps, older, accepting)
    assert flink.running == [running.job_id]
    assert (decision.rows, decision.reason) == (7, "a replay is wanted")


def test_a_rival_that_runs_refuses_the_start(flink, systems, steps) -> None:
    savepoint = stopped(flink)
    rival = flink.add_job("orders")
    with pytest.raises(RestartRefused) as caught:
        start_job(systems, steps, savepoint, OPTIONS.start)
    is_one_sentence(caught.value, rival.job_id, "second_writer")
    assert flink.posts == []


def test_an_id_that_has_lived_on_the_cluster_is_passed_over(flink, systems) -> None:
    savepoint = stopped(flink)
    first, _ = start_job(systems, Steps(MemoryStore()), savepoint, OPTIONS.start)
    flink.jobs[first.job_id].end("CANCELED")
    flink.requests.clear()
    second, _ = start_job(systems, Steps(MemoryStore()), savepoint, OPTIONS.start)
    assert second.job_id != first.job_id
    assert flink.count("POST", RUN) == 1


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_lost_answer_to_the_launch_is_settled_by_asking_for_our_id(
    carried_out, flink, systems, steps
) -> None:
    savepoint = stopped(flink)
    seen: list[Any] = []

    def lose(request) -> None:
        if request.path.endswith("/run") and not seen:
            seen.append(request)
            if carried_out:
                flink._run(request, request.path.split("/")[2])
            flink.script("POST", RUN, Answer(drop=True))

    flink.before = lose
    running, _ = start_job(systems, steps, savepoint, OPTIONS.start)
    assert flink.running == [running.job_id]
    ids = {request.json["jobId"] for request in flink.received("POST", RUN)}
    assert ids == {running.job_id}
    assert flink.count("POST", RUN) == (1 if carried_out else 2)


def test_a_duplicate_that_runs_from_our_state_is_adopted(flink, systems, steps) -> None:
    savepoint = stopped(flink)

    def rival_is_faster(request) -> None:
        if request.path.endswith("/run") and request.json["jobId"] not in flink.jobs:
            flink.submit("orders", request.json["jobId"], request.json["savepointPath"], {})

    flink.before = rival_is_faster
    running, _ = start_job(systems, steps, savepoint, OPTIONS.start)
    assert flink.running == [running.job_id]


def test_evidence_of_an_earlier_attempt_says_nothing_about_the_next(flink, systems) -> None:
    from airflow_flink_iceberg.model.errors import RestoreMismatch

    savepoint, store = stopped(flink), MemoryStore()

    def fail_after_evidence(request) -> None:
        for job in flink.jobs.values():
            if job.restored and request.path.endswith("/run"):
                job.restored_count = 9
                job.add_checkpoint(status="IN_PROGRESS")

    flink.after = fail_after_evidence
    with pytest.raises(JobFailed, match="restored 9 times"):
        start_job(systems, Steps(store), savepoint, OPTIONS.start)
    first = next(job for job in flink.jobs.values() if job.restored)
    first.end("CANCELED")

    def from_another_state(request) -> None:
        for job in flink.jobs.values():
            if job.restored and job is not first:
                job.restored |= {"id": 1, "external_path": "file:/other"}

    flink.after = from_another_state
    with pytest.raises(RestoreMismatch, match="not from checkpoint 3"):
        start_job(systems, Steps(store), savepoint, OPTIONS.start)


def test_a_job_that_waits_for_slots(flink, systems, steps) -> None:
    savepoint = stopped(flink)
    flink.slots = (0, 2)

    def wait_for_slots(request) -> None:
        for job in flink.jobs.values():
            if job.restored and not job.checkpoints:
                job.tasks = {"SCHEDULED": 2}
                job.add_checkpoint(status="IN_PROGRESS")

    flink.before = wait_for_slots
    with pytest.raises(NoFreeSlots) as caught:
        start_job(systems, steps, savepoint, OPTIONS.start)
    is_one_sentence(caught.value, "TaskManager")


def test_a_start_that_flink_refuses_names_flinks_reason(flink, systems) -> None:
    savepoint, store = stopped(flink), MemoryStore()
    known = flink.savepoints.pop(savepoint.path)
    with pytest.raises(JobFailed) as caught:
        start_job(systems, Steps(store), savepoint, OPTIONS.start)
    is_one_sentence(caught.value, "FileNotFoundException", savepoint.path)
    flink.savepoints[savepoint.path] = known
    running, _ = start_job(systems, Steps(store), savepoint, OPTIONS.start)
    first, second = (request.json["jobId"] for request in flink.received("POST", RUN))
    assert (first != second, flink.running) == (True, [running.job_id])  # the first id is burnt


def test_credentials_appear_in_no_message(flink, lake, tmp_path, steps) -> None:
    _unauthorized(flink)
    with (
        open_systems(flink.url, lake, tmp_path, auth=("ada", "s3cret-word")) as systems,
        pytest.raises(FlinkUnauthorized) as caught,
    ):
        restart(systems, steps, OPTIONS)
    assert "s3cret-word" not in f"{caught.value} {json.dumps(str(caught.value.__cause__))}"


def test_a_jar_that_is_gone_is_found_before_the_stop(flink, lake, tmp_path, steps) -> None:
    job = replace(JOB, deployment=JarDeployment("missing.jar"))
    with open_systems(flink.url, lake, tmp_path, job) as systems, pytest.raises(InvalidValue) as caught:
        restart(systems, steps, OPTIONS)
    is_one_sentence(caught.value, "missing.jar", "orders.jar")
    assert flink.posts == []
