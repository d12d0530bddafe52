from __future__ import annotations

from typing import Any

import pytest

from airflow_flink_iceberg.flink.deployments.base import StartRequest
from airflow_flink_iceberg.flink.deployments.rest import is_owned_by_operator
from airflow_flink_iceberg.flink.deployments.sql import launch_config, session_properties
from airflow_flink_iceberg.flink.script import SqlScript
from airflow_flink_iceberg.model import FlinkJob, SqlDeployment
from airflow_flink_iceberg.model.errors import InvalidValue

JOB_ID = "0123456789abcdef0123456789abcdef"


def properties(settings: dict[str, str] | None = None, given: dict[str, Any] | None = None) -> dict[str, str]:
    deployment = SqlDeployment("INSERT INTO t SELECT 1", properties=given or {})
    job = FlinkJob("orders", deployment=deployment)
    return session_properties(job, SqlScript(settings or {}, (), "INSERT INTO t SELECT 1"), deployment)


def test_the_job_gets_its_name() -> None:
    assert properties() == {"pipeline.name": "orders"}
    assert properties({"pipeline.name": "orders"}) == {"pipeline.name": "orders"}


def test_properties_of_the_deployment_win_over_the_script_and_become_text() -> None:
    found = properties(
        {"parallelism.default": "1", "a": "b"}, {"parallelism.default": 4, "x": True, "y": 0.5}
    )
    assert found == {"parallelism.default": "4", "a": "b", "x": "true", "y": "0.5", "pipeline.name": "orders"}


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({"pipeline.name": "other"}, {}),
        ({}, {"pipeline.name": "other"}),
        ({"pipeline.name": "orders"}, {"pipeline.name": "other"}),
    ],
)
def test_another_name_is_a_contradiction(settings: dict[str, str], given: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match=r"'orders'.*'other'"):
        properties(settings, given)


@pytest.mark.parametrize(
    "key",
    [
        "execution.state-recovery.path",
        "execution.savepoint.path",
        "$internal.pipeline.job-id",
        "execution.state-recovery.claim-mode",
    ],
)
def test_what_a_launch_decides_cannot_be_fixed_in_the_script(key: str) -> None:
    with pytest.raises(InvalidValue, match="decided at each launch"):
        properties({key: "x"})


def test_an_insert_that_would_not_return_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"table\.dml-sync"):
        properties({"table.dml-sync": "TRUE"})
    assert properties({"table.dml-sync": "false"})


def test_a_launch_from_a_savepoint_leaves_it_to_us() -> None:
    assert launch_config(StartRequest(JOB_ID, "file:/sp/1")) == {
        "$internal.pipeline.job-id": JOB_ID,
        "execution.state-recovery.path": "file:/sp/1",
        "execution.state-recovery.claim-mode": "NO_CLAIM",
        "execution.state-recovery.ignore-unclaimed-state": "false",
    }
    allowed = launch_config(StartRequest(JOB_ID, "file:/sp/1", allow_non_restored_state=True))
    assert allowed["execution.state-recovery.ignore-unclaimed-state"] == "true"


def test_a_launch_without_state_names_none() -> None:
    assert launch_config(StartRequest(JOB_ID, None)) == {"$internal.pipeline.job-id": JOB_ID}


@pytest.mark.parametrize(
    ("config", "owned"),
    [
        ({"$internal.flink.version": "v2_1", "execution.shutdown-on-application-finish": "false"}, True),
        ({"$internal.flink.version": "v2_1"}, False),
        ({"execution.shutdown-on-application-finish": "false", "kubernetes.cluster-id": "x"}, False),
        ({}, False),
    ],
)
def test_a_cluster_of_the_kubernetes_operator_for_one_job_is_recognised(
    config: dict[str, str], owned: bool
) -> None:
    assert is_owned_by_operator(config) is owned
