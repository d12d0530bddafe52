from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.flink.client import FlinkClient, FlinkEndpoint
from airflow_flink_iceberg.flink.deployments import open_deployment
from airflow_flink_iceberg.flink.deployments.base import StartRequest
from airflow_flink_iceberg.flink.deployments.jar import JarJob
from airflow_flink_iceberg.model import ExternalDeployment, FlinkJob, JarDeployment
from airflow_flink_iceberg.model.errors import (
    DuplicateJob,
    FlinkUnreachable,
    InvalidValue,
    JobFailed,
)
from tests.integration.fakes.flink import FakeFlink, new_id
from tests.integration.fakes.http import Answer

RUN = "/jars/.*/run"


def jar_job(client: FlinkClient, jar: str = "orders.jar", **fields: Any) -> JarJob:
    deployment = JarDeployment(jar, **fields)
    return JarJob(FlinkJob("orders", deployment=deployment), deployment, client)


def test_a_launch_is_one_request_with_our_job_id_and_the_state(flink: FakeFlink, client: FlinkClient) -> None:
    jar = flink.add_jar("orders.jar", "shop.Orders")
    flink.savepoints["file:/sp/1"] = 7
    deployment = jar_job(
        client, program_args=("--table", "shop.orders"), parallelism=2, entry_class="shop.Other"
    )
    deployment.prepare()
    flink.requests.clear()
    job_id = new_id()
    deployment.launch(StartRequest(job_id, "file:/sp/1"))
    (sent,) = flink.requests
    assert str(sent) == f"POST /jars/{jar}/run"
    assert sent.json == {
        "jobId": job_id, "savepointPath": "file:/sp/1", "claimMode": "NO_CLAIM", "allowNonRestoredState": False,
        "entryClass": "shop.Other", "programArgsList": ["--table", "shop.orders"], "parallelism": 2,
    }  # fmt: skip
    restored = client.checkpoints(job_id).restored
    assert restored is not None
    assert (restored.id, restored.path) == (7, "file:/sp/1")


def test_a_launch_without_state_names_no_savepoint(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("orders.jar", "shop.Orders")
    deployment = jar_job(client)
    job_id = new_id()
    deployment.launch(StartRequest(job_id, None))
    (sent,) = flink.received("POST", RUN)
    assert sent.json == {"jobId": job_id, "programArgsList": []}
    assert client.checkpoints(job_id).restored is None


def test_the_newest_upload_of_a_name_is_taken(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("orders.jar", "A", uploaded=5)
    newest = flink.add_jar("orders.jar", "A", uploaded=9)
    flink.add_jar("orders.jar", "A", uploaded=7)
    jar_job(client).launch(StartRequest(new_id(), None))
    assert flink.count("POST", f"/jars/{newest}/run") == 1


def test_a_jar_may_be_named_by_its_id(flink: FakeFlink, client: FlinkClient) -> None:
    older = flink.add_jar("orders.jar", "A", uploaded=5)
    flink.add_jar("orders.jar", "A", uploaded=9)
    jar_job(client, older).launch(StartRequest(new_id(), None))
    assert flink.count("POST", f"/jars/{older}/run") == 1


def test_prepare_again_sends_nothing(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("orders.jar", "A")
    deployment = jar_job(client)
    deployment.prepare()
    count = len(flink.requests)
    deployment.prepare()
    assert len(flink.requests) == count


def test_a_missing_jar_names_those_that_are_there(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("payments.jar", "A")
    with pytest.raises(
        InvalidValue, match=r"no jar 'orders\.jar' for job 'orders'; it has 'payments\.jar'.*upload=True"
    ):
        jar_job(client).prepare()


def test_a_jar_without_entry_class(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("orders.jar")
    with pytest.raises(InvalidValue, match="entry_class"):
        jar_job(client).prepare()
    jar_job(client, entry_class="shop.Orders").prepare()


def test_a_local_jar_is_uploaded_once_and_whole(
    flink: FakeFlink, client: FlinkClient, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 4_000
    (tmp_path / "orders.jar").write_bytes(content)
    deployment = jar_job(client, str(tmp_path / "orders.jar"), upload=True)
    deployment.prepare()
    deployment.prepare()
    (sent,) = flink.received("POST", "/jars/upload")
    assert content in sent.body
    assert int(sent.headers["content-length"]) == len(sent.body)
    assert b'filename="orders.jar"' in sent.body[:300]


def test_a_local_jar_that_is_not_there(flink: FakeFlink, client: FlinkClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"gone\.jar cannot be read"):
        jar_job(client, str(tmp_path / "gone.jar"), upload=True).prepare()
    with pytest.raises(InvalidValue, match="cannot be read"):
        jar_job(client, str(tmp_path), upload=True).prepare()
    assert flink.count("POST", ".*") == 0


def test_a_cluster_that_takes_no_jobs() -> None:
    with FakeFlink(application_mode=True) as flink, FlinkClient(FlinkEndpoint(flink.url)) as client:
        with pytest.raises(InvalidValue, match=r"takes no jobs.*'orders'"):
            jar_job(client).prepare()
        assert flink.count("POST", ".*") == 0


@pytest.mark.parametrize("version", ["1.20.5", "2.3.0"])
def test_a_job_id_that_has_lived(version: str) -> None:
    with FakeFlink(version) as flink, FlinkClient(FlinkEndpoint(flink.url)) as client:
        flink.add_jar("orders.jar", "A")
        job = flink.add_job("orders")
        with pytest.raises(DuplicateJob, match=f"{job.job_id} of 'orders' has lived"):
            jar_job(client).launch(StartRequest(job.job_id, None))
        assert job.state == "RUNNING"


def test_a_savepoint_that_is_not_there(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("orders.jar", "A")
    job_id = new_id()
    with pytest.raises(
        JobFailed,
        match=f"'orders' as job {job_id} from savepoint file:/sp/9.*Cannot find checkpoint or savepoint",
    ):
        jar_job(client).launch(StartRequest(job_id, "file:/sp/9"))
    assert flink.count("POST", RUN) == 1


@pytest.mark.parametrize("answer", [Answer(503, {"errors": ["leader election"]}), Answer(drop=True)])
def test_a_lost_answer_is_never_sent_again(flink: FakeFlink, client: FlinkClient, answer: Answer) -> None:
    flink.add_jar("orders.jar", "A")
    deployment = jar_job(client)
    deployment.prepare()
    flink.script("POST", RUN, answer)
    with pytest.raises(FlinkUnreachable):
        deployment.launch(StartRequest(new_id(), None))
    assert flink.count("POST", RUN) == 1


def test_a_program_that_fixes_its_own_job_id_is_named(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("orders.jar", "A")
    other, ours = new_id(), new_id()
    flink.script("POST", RUN, Answer(body={"jobid": other}))
    with pytest.raises(Exception, match=f"{other}.*{ours}"):
        jar_job(client).launch(StartRequest(ours, None))


def test_a_job_of_somebody_else_cannot_be_launched(flink: FakeFlink, client: FlinkClient) -> None:
    deployment = open_deployment(FlinkJob("orders", deployment=ExternalDeployment()), client)
    deployment.prepare()
    with pytest.raises(InvalidValue, match="'orders' is started by somebody else"):
        deployment.launch(StartRequest(new_id(), "file:/sp/1"))
    assert flink.requests == []


def test_no_free_slots_show_in_the_overview(flink: FakeFlink, client: FlinkClient) -> None:
    flink.slots = (0, 8)
    overview = client.overview()
    assert (overview.slots_available, overview.slots_total) == (0, 8)


def test_the_sources_are_those_of_flinks_plan_of_the_same_run_asked_once(
    flink: FakeFlink, client: FlinkClient
) -> None:
    jar = flink.add_jar("orders.jar", "shop.Orders")
    flink.planned = [{"id": "ab" * 16}, {"id": "cd" * 16, "inputs": [{"id": "ab" * 16}]}]
    deployment = jar_job(client, program_args=("--table", "shop.orders"), parallelism=2)
    assert deployment.planned_sources() == frozenset({"ab" * 16})
    assert deployment.planned_sources() == frozenset({"ab" * 16})
    (sent,) = flink.received("POST", "/jars/.*/plan")
    assert str(sent) == f"POST /jars/{jar}/plan"
    assert sent.json == {"programArgsList": ["--table", "shop.orders"], "parallelism": 2}
    assert flink.count("POST", RUN) == 0


def test_a_program_without_a_plan_has_no_known_sources(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("orders.jar", "shop.Orders")
    deployment = jar_job(client)
    assert deployment.planned_sources() is None
    assert deployment.planned_sources() is None
    assert flink.count("POST", "/jars/.*/plan") == 1


def test_what_one_process_has_found_out_the_next_does_not_ask(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("orders.jar", "A")
    first = jar_job(client)
    first.prepare()
    found = first.planned_sources()
    flink.requests.clear()
    again = jar_job(client)
    again.recall(json.loads(json.dumps(first.known())))
    again.prepare()
    assert again.planned_sources() == found
    assert flink.requests == []


def test_a_jar_of_another_name_is_not_recalled(flink: FakeFlink, client: FlinkClient) -> None:
    flink.add_jar("orders.jar", "A")
    other = flink.add_jar("orders-2.jar", "A")
    first = jar_job(client)
    first.prepare()
    again = jar_job(client, "orders-2.jar")
    again.recall(first.known())
    again.launch(StartRequest(new_id(), None))
    assert flink.count("POST", f"/jars/{other}/run") == 1
