"""The commit sensor against a server and a real catalog: one target for all tries, and the resume after a deferral."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from airflow._shared.module_loading import import_string
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_flink_iceberg.flink.operator_ids import sink_operator_ids
from airflow_flink_iceberg.model import FlinkJob, RunningJob, SqlDeployment, TableSink
from airflow_flink_iceberg.model.errors import WaitTimeout
from airflow_flink_iceberg.sensors import IcebergCommitSensor
from airflow_flink_iceberg.triggers import polling
from tests.integration.fakes.flink import Answer, FakeFlink, FakeJob
from tests.integration.integrity.lake import OPERATOR, Lake, job_id
from tests.support.airflow_side import context

CANARY = "c4nary-Secret-value"
JOB = FlinkJob(
    "orders", deployment=SqlDeployment(f"SET 'p'='{CANARY}'; ..."), sinks=[TableSink("shop.orders")]
)


@pytest.fixture
def job(flink: FakeFlink) -> FakeJob:
    running = flink.add_job("orders", job_id=job_id("A"))
    for _ in range(4):
        running.add_checkpoint()
    return running


def sensor(**arguments: Any) -> IcebergCommitSensor:
    given = {"job": JOB, "poll_interval": 0.05, "timeout": 1.0, "deferrable": False, **arguments}
    return IcebergCommitSensor(task_id="landed", **given)


def staged(lake: Lake, checkpoint_id: int, run: str = "A") -> Path:
    """A staged manifest, named as the sink names it."""
    folder = lake.directory / "warehouse" / "shop" / "orders" / "metadata"
    file = folder / f"{job_id(run)}-{OPERATOR}-00000-0-{checkpoint_id}-00001.avro"
    file.write_bytes(b"")
    return file


def test_a_landed_checkpoint(lake: Lake, job: FakeJob) -> None:
    lake.commit("A:3")
    landed = lake.commit("A:4")
    lake.commit(None)
    found = sensor().execute(context())
    assert (found["phase"], found["checkpoint_id"], found["snapshot_id"]) == ("landed", 4, landed)


def test_a_checkpoint_that_is_discarded_meanwhile_has_completed_all_the_same(
    lake: Lake, job: FakeJob
) -> None:
    """Flink marks it in the answer that it caches, in which the next one is not yet to be seen."""
    lake.commit("A:4")
    for checkpoint in job.checkpoints:
        checkpoint["discarded"] = True
    assert sensor().execute(context())["checkpoint_id"] == 4


def test_another_run_and_another_branch_are_no_landing(lake: Lake, job: FakeJob) -> None:
    lake.commit("B:9")
    staged(lake, 4)
    with pytest.raises(WaitTimeout, match=r"checkpoint 4 .*1 staged files"):
        sensor().execute(context())


def test_no_staged_file_is_left(lake: Lake, job: FakeJob) -> None:
    lake.commit("A:3")
    staged(lake, 4, run="B")
    assert sensor().execute(context())["phase"] == "empty"


def test_staged_files_that_three_checkpoints_did_not_commit(lake: Lake, job: FakeJob) -> None:
    staged(lake, 1)
    with pytest.raises(AirflowFailException, match="is stalled: 1 staged files"):
        sensor(checkpoint_id="1").execute(context())


def test_a_missing_directory_of_manifests_proves_nothing(lake: Lake, job: FakeJob) -> None:
    """It may be a disk that this worker cannot see."""
    with lake.table.transaction() as change:
        change.set_properties({"flink.manifests.location": f"file://{lake.directory}/elsewhere"})
    with pytest.raises(AirflowFailException, match="is unknown: neither"):
        sensor().execute(context())


def test_two_sinks_on_one_branch_are_told_apart(lake: Lake, job: FakeJob) -> None:
    """The commit of the one is no landing of the other, however often the table is read."""
    one, two = (sorted(sink_operator_ids(uid))[0] for uid in ("one", "two"))
    both = FlinkJob("orders", sinks=[TableSink("shop.orders", sink_uid=uid) for uid in ("one", "two")])
    lake.commit("A:3", operator=two)
    lake.commit("A:4", operator=one)
    staged(lake, 4)
    with pytest.raises(WaitTimeout):
        sensor(job=both).execute(context())
    lake.commit("A:4", operator=two)
    assert sensor(job=both).execute(context())["phase"] == "landed"


def test_the_target_is_stored_once_and_a_retry_waits_for_the_same(
    lake: Lake, flink: FakeFlink, job: FakeJob
) -> None:
    store: Any = {}
    staged(lake, 4)
    with pytest.raises(WaitTimeout, match="checkpoint 4 "):
        sensor(timeout=0.2).execute(context(store))
    job.add_checkpoint()
    lake.commit("A:4")
    assert sensor().execute(context(store))["checkpoint_id"] == 4
    # A clear is a new request.
    lake.commit("A:5")
    assert sensor().execute(context(store, max_tries=1))["checkpoint_id"] == 5


@pytest.mark.parametrize("as_json", [True, False])
def test_since_a_running_job(lake: Lake, job: FakeJob, as_json: bool) -> None:
    lake.commit("A:4")
    since = RunningJob(job.job_id, 1, "file:/s", 2)
    given = json.dumps(since.to_dict()) if as_json else since.to_dict()
    assert sensor(since=given).execute(context())["checkpoint_id"] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"checkpoint_id": "None"}, "checkpoint_id has to be a whole number"),
        ({"checkpoint_id": ""}, "checkpoint_id"),
        ({"checkpoint_id": -1}, "checkpoint_id"),
        ({"checkpoint_id": True}, "checkpoint_id"),
        ({"since": "None"}, "since is 'None'"),
        ({"since": {"kind": "savepoint"}}, "running_job"),
        ({"since": {}, "checkpoint_id": 1}, "not both"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"timeout": "soon"}, "timeout"),
    ],
)
def test_bad_arguments(lake: Lake, job: FakeJob, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AirflowFailException, match=sentence):
        sensor(**arguments).execute(context())


def test_a_deferral_holds_no_script_and_is_resumed(
    lake: Lake, flink: FakeFlink, job: FakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MIN_HOLD", 0.1)
    store: Any = {}
    operator = sensor(deferrable=True, checkpoint_id=5, timeout=60)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context(store))
    text = json.dumps(deferred.value.trigger.serialize())
    assert CANARY not in text
    path, kwargs = json.loads(text)
    trigger = import_string(path)(**kwargs)
    asked: list[str] = []
    flink.before = lambda request: asked.append(threading.current_thread().name)

    async def event_and_blocking() -> tuple[Any, float]:
        """The event, and the longest time that the loop of all triggers stood still."""
        worst, running = 0.0, True

        async def heart() -> None:
            nonlocal worst
            loop = asyncio.get_running_loop()
            while running:
                before = loop.time()
                await asyncio.sleep(0.01)
                worst = max(worst, loop.time() - before)

        beating = asyncio.create_task(heart())
        asyncio.get_running_loop().call_later(0.4, job.add_checkpoint)
        event = await anext(trigger.run())
        running = False
        await beating
        return event.payload, worst

    flink.script("GET", "/jobmanager/config", _slow(), repeat_last=False)
    lake.commit("A:5")
    payload, worst = asyncio.run(event_and_blocking())
    assert payload == {"phase": "landed"}
    assert worst < 0.5, "the first look blocked the loop"
    found = getattr(operator, deferred.value.method_name)(context(store), event=payload)
    assert (found["checkpoint_id"], found["phase"]) == (5, "landed")


def test_a_wait_that_is_nearly_over_does_not_defer(lake: Lake, job: FakeJob) -> None:
    staged(lake, 4)
    with pytest.raises(WaitTimeout):
        sensor(deferrable=True, timeout=0.3).execute(context())


def _slow() -> Answer:
    return Answer(body=[], delay=1.0)
