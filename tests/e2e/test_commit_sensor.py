"""The commit sensor on the real stack: traffic lands, a quiet topic passes, and every way to stall is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.model import FlinkJob
from airflow_flink_iceberg.model.errors import WaitTimeout
from airflow_flink_iceberg.restart.commit_wait import Look, Phase, choose_target, look
from airflow_flink_iceberg.sensors import IcebergCommitSensor
from playground.rest import get_json, post_json
from playground.stack import Stack
from playground.submit import wait_for_state
from tests.e2e.airflow_side import connect, flink_fields, iceberg_fields, set_connection
from tests.e2e.rig import Rig, running_job, wait_until
from tests.support.airflow_side import context


@pytest.fixture(autouse=True)
def _connections(stack: Stack) -> None:
    connect(stack)


def test_traffic_lands(stack: Stack) -> None:
    with running_job(stack) as rig:
        rig.wait_rows(100)
        found = sense(rig)
        assert found["phase"] == "landed"
        stamped = rig.iceberg().snapshot_by_id(found["snapshot_id"]).summary
        assert stamped["flink.job-id"] == rig.first_job_id == found["job_id"]
        assert int(stamped["flink.max-committed-checkpoint-id"]) >= found["checkpoint_id"]


@pytest.mark.parametrize("sink", ["v2", "v1"])
def test_a_quiet_topic_passes_without_a_snapshot(stack: Stack, sink: str) -> None:
    with running_job(stack, sink=sink, rate=0) as rig:  # type: ignore[arg-type]
        wait_completed(rig, rig.first_job_id, 1)
        found = sense(rig)
        assert found["phase"] == "empty"
        assert rig.iceberg().current_snapshot() is None
        # Where the state cannot be read, the listing says the same; and where only the state can be read, so does it,
        # although the newest checkpoint is often gone before it can be opened.
        assert without_state(rig, rig.first_job_id).phase is Phase.EMPTY
        assert sense(rig, job=without_listing(rig))["phase"] == "empty"


@pytest.fixture(scope="module")
def drained(stack: Stack) -> Iterator[tuple[Rig, str]]:
    """A v1 job that was drained and started again from that savepoint by bare REST: it runs and commits nothing.

    Through SQL, where its operator id is not that of the declared uid, and nothing in the table tells it.
    """
    with running_job(stack, sink="v1") as rig:
        rig.wait_rows(100)
        savepoint = drain(rig)
        rows = rig.row_count()
        job_id = start_again(rig, savepoint)
        wait_completed(rig, job_id, 5)
        assert rig.row_count() == rows, "the drained job was expected to commit nothing"
        yield rig, job_id


def test_a_drained_v1_job_is_told_as_stalled(drained: tuple[Rig, str]) -> None:
    rig, job_id = drained
    rows = rig.row_count()
    with pytest.raises(AirflowFailException, match=f"job {job_id} is stalled") as failed:
        sense(rig)
    assert "does not commit" in str(failed.value)
    assert rig.row_count() == rows
    assert rig.running() == [job_id]


def test_a_stalled_job_is_told_by_its_staged_files_too(drained: tuple[Rig, str]) -> None:
    rig, job_id = drained
    found = wait_look(rig, job_id)
    assert found.phase is Phase.STALLED
    assert "staged files" in found.why


def test_neither_state_nor_listing_is_unknown_and_no_wait(drained: tuple[Rig, str]) -> None:
    rig, job_id = drained
    fields = flink_fields(rig.stack)
    set_connection(
        "flink_elsewhere", **{**fields, "extra": {**fields["extra"], "savepoint_roots": "/nowhere"}}
    )
    job = replace(without_listing(rig), flink_conn_id="flink_elsewhere")
    with pytest.raises(
        AirflowFailException, match=r"is unknown: neither the state's bytes .*cannot list files"
    ):
        sense(rig, job=job)
    assert rig.running() == [job_id]


def test_a_job_without_a_checkpoint_never_passes(stack: Stack) -> None:
    with running_job(stack) as rig:
        rig.wait_rows(10)
        rig.client().cancel(rig.first_job_id)
        wait_for_state(stack.flink_url, rig.first_job_id, "CANCELED")
        script = f"SET 'execution.checkpointing.interval' = '1 h';\n{rig.script}"
        job_id = stack.submit(script)
        with pytest.raises(AirflowFailException, match=f"Job {job_id} has completed no checkpoint yet"):
            sense(rig)
        with pytest.raises(WaitTimeout, match=f"Waited 2 s for checkpoint 1 of job {job_id} in vain: .*none"):
            sense(rig, checkpoint_id=1, timeout=2.0)
        assert rig.running() == [job_id]


def test_a_used_job_id_without_state_is_no_landing(stack: Stack) -> None:
    """The sink takes new checkpoints for old ones and commits nothing while ids are small (apache/iceberg#18098)."""
    with running_job(stack) as rig:
        rig.wait_rows(200)
        wait_completed(rig, rig.first_job_id, 8)
        rig.client().cancel(rig.first_job_id)
        wait_for_state(stack.flink_url, rig.first_job_id, "CANCELED")
        stack.restart_jobmanager()  # only then is the id free again
        rows = rig.row_count()
        job_id = stack.submit(rig.script or "", properties={"$internal.pipeline.job-id": rig.first_job_id})
        assert job_id == rig.first_job_id
        wait_completed(rig, job_id, 2)
        with pytest.raises(AirflowFailException, match=r"is unknown: .*before this run started"):
            sense(rig)
        assert rig.row_count() == rows, "the reused id was expected to commit nothing yet"


def sense(rig: Rig, job: FlinkJob | None = None, **arguments: Any) -> dict[str, Any]:
    """One try of the sensor in this process."""
    given = {"poll_interval": 0.3, "timeout": 40.0, "deferrable": False, **arguments}
    return IcebergCommitSensor(task_id="landed", job=job or rig.job, **given).execute(context())


def without_state(rig: Rig, job_id: str) -> Look:
    """One look by a worker that cannot read the state."""
    systems = rig.systems()
    systems.state_files = None
    return look(systems, choose_target(systems, job_id, None))


def wait_look(rig: Rig, job_id: str) -> Look:
    """Look until the wait is over, without the state's bytes, at one checkpoint."""
    systems = rig.systems()
    systems.state_files = None
    target, found = choose_target(systems, job_id, None), []

    def is_over() -> bool:
        found.append(look(systems, target))
        return found[-1].phase is not Phase.WAITING

    wait_until(is_over, f"an end of the wait for {target}", 40)
    return found[-1]


def without_listing(rig: Rig) -> FlinkJob:
    """The job with its table behind a FileIO that cannot list."""
    fields = iceberg_fields(rig.stack, **{"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"})
    set_connection("iceberg_no_listing", **fields)
    return replace(rig.job, sinks=[replace(rig.job.sinks[0], iceberg_conn_id="iceberg_no_listing")])


def drain(rig: Rig) -> str:
    """Stop with a drain by bare REST and return the savepoint."""
    url = f"{rig.stack.flink_url}/jobs/{rig.first_job_id}"
    trigger = post_json(
        f"{url}/stop", {"drain": True, "targetDirectory": f"file://{rig.stack.savepoint_dir}"}
    )
    done: list[str] = []

    def is_saved() -> bool:
        answer = get_json(f"{url}/savepoints/{trigger['request-id']}")
        done.append((answer.get("operation") or {}).get("location") or "")
        return bool(done[-1])

    wait_until(is_saved, "the drained savepoint", 60)
    wait_for_state(rig.stack.flink_url, rig.first_job_id, "FINISHED")
    return done[-1]


def start_again(rig: Rig, savepoint: str) -> str:
    """Start from the savepoint as somebody without this package would."""
    return rig.stack.submit(rig.script or "", properties={"execution.state-recovery.path": savepoint})


def wait_completed(rig: Rig, job_id: str, count: int) -> None:
    """Wait until the job has completed so many checkpoints."""
    url = f"{rig.stack.flink_url}/jobs/{job_id}/checkpoints"
    wait_until(
        lambda: get_json(url)["counts"]["completed"] >= count, f"{count} checkpoints of job {job_id}", 60
    )
