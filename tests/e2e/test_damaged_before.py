"""Damage that is older than a restart, on the real stack: the preflight's number is that of the counted rows."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_flink_iceberg.checks import state_matches_table
from airflow_flink_iceberg.model import Verdict
from airflow_flink_iceberg.operators import FlinkPreflightOperator, IcebergIntegrityCheckOperator
from airflow_flink_iceberg.restart.restart import RestartOptions, restart
from airflow_flink_iceberg.restart.start import StartOptions
from airflow_flink_iceberg.restart.start_job import start_job
from airflow_flink_iceberg.restart.stop import StopOptions, stop
from playground.airflow_env import airflow_environment
from playground.stack import Stack
from tests.e2e.airflow_side import CONNECTIONS
from tests.e2e.rig import Rig, running_job, wait_until
from tests.support.airflow_side import context


def damaged_before(rig: Rig, **arguments: Any) -> dict[str, Any]:
    """The result of a preflight that need not have passed."""
    tried = context()
    task = FlinkPreflightOperator(task_id="preflight", job=rig.job, **arguments)
    try:
        report = task.execute(tried)
    except AirflowFailException:
        report = tried["ti"].pushed["return_value"]
    found: dict[str, Any] = next(each for each in report["results"] if each["name"] == "damaged_before")
    return found


def judged(rig: Rig, outcome: str) -> dict[str, Any]:
    """The first result with a number: Flink tells of a checkpoint seconds after its rows are in the table."""
    found: list[dict[str, Any]] = []

    def is_known() -> bool:
        found.append(damaged_before(rig))
        return bool(found[-1]["outcome"] != "unknown")

    wait_until(is_known, "a checkpoint that is newer than the baseline", 30)
    assert found[-1]["outcome"] == outcome, found[-1]["description"]
    return found[-1]


def verify(rig: Rig, **arguments: Any) -> None:
    checks = [state_matches_table("kafka_partition", "kafka_offset", settle="rows")]
    task = IcebergIntegrityCheckOperator(task_id="verify", job=rig.job, checks=checks, **arguments)
    task.execute(context())


def test_the_preflight_tells_the_counted_damage_and_passes_a_whole_table(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CONNECTIONS:
        monkeypatch.setenv(name, airflow_environment(stack)[name])
    with running_job(stack, rows="one_to_one", offsets="dense") as rig:
        rig.wait_rows(200)
        assert damaged_before(rig)["outcome"] == "unknown"
        verify(rig, keep_baseline=True)
        first = restart(rig.systems(), rig.steps(), RestartOptions())
        rig.wait_rows(200)
        whole = judged(rig, "pass")
        assert whole["evidence"]["gap"] == 0, whole["description"]

        stop(rig.systems(), rig.steps(), StopOptions())
        options = StartOptions(accept=(Verdict.WOULD_DUPLICATE,), reason="the test wants the damage")
        start_job(rig.systems(), rig.steps(), first.savepoint, options)
        produced = rig.producer.stop()
        wait_until(lambda: rig.damage(produced)[0] == 0, "all orders", 60)
        _, doubled = rig.damage(produced)
        assert doubled > 0
        found = judged(rig, "fail")
        assert found["evidence"]["gap"] == doubled, found["description"]
        assert f"at least {doubled:,} rows doubled since checkpoint" in found["description"]

        verify(rig, since="last-proven", accept_rows=doubled, reason="the test has seen them")
        assert "rows accepted: the test has seen them" in judged(rig, "pass")["description"]
