"""The preflight says before the stop what would refuse the start, and touches nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_flink_iceberg.model import FlinkJob, TableSink
from airflow_flink_iceberg.model.decision import Verdict
from airflow_flink_iceberg.model.errors import InvalidValue, JobNotFound
from airflow_flink_iceberg.model.result import CheckReport, CheckResult, Outcome, Severity
from airflow_flink_iceberg.restart.preflight import PreflightOptions, preflight
from airflow_flink_iceberg.restart.systems import Systems
from tests.support.restart_world import OLD_JOB, Lake, ShopFlink

STRANGER = "5e" * 16


def look(systems: Systems, **options: object) -> CheckReport:
    return preflight(systems, PreflightOptions(**options))  # type: ignore[arg-type]


def result(report: CheckReport, name: str) -> CheckResult:
    (found,) = (each for each in report.results if each.name == name)
    return found


def test_a_strange_writer_refuses_the_restart_before_the_stop(
    flink: ShopFlink, lake: Lake, systems: Systems
) -> None:
    """The failing world: another job writes beside ours, so after the stop nobody could tell their rows."""
    lake.commit(STRANGER, 9, 30)
    lake.commit(OLD_JOB, 3, 1)
    lake.commit(STRANGER, 10, 12)
    report = look(systems)
    finding = result(report, "guard_unknown_writer")
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.table == "shop.orders@main"
    assert STRANGER in (finding.description or "")
    assert report.outcome in (Outcome.FAIL, Outcome.UNKNOWN)
    accepted = look(systems, accept=(Verdict.UNKNOWN,))
    assert result(accepted, "guard_unknown_writer").outcome is Outcome.WARN


def test_nothing_is_touched(flink: ShopFlink, lake: Lake, systems: Systems) -> None:
    pointer = lake.access().metadata_location()
    report = look(systems)
    assert flink.posts == []
    assert lake.access().metadata_location() == pointer
    assert CheckReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert len(json.dumps(report.to_dict())) < 48_000


def test_a_healthy_job_can_be_restarted(flink: ShopFlink, systems: Systems) -> None:
    report = look(systems)
    assert result(report, "stoppable").outcome is Outcome.PASS
    assert result(report, "slots").outcome is Outcome.PASS
    guard = result(report, "guard")
    assert (guard.outcome, guard.evidence["proven_by"]) == (Outcome.PASS, "bytes")
    assert "checkpoint 2" in (guard.description or "")
    assert report.outcome in (Outcome.PASS, Outcome.WARN), (
        "defaults of Flink and Iceberg may warn, never fail"
    )


def test_what_the_worker_cannot_read_is_said_on_the_worker(flink: ShopFlink, systems: Systems) -> None:
    systems.state_files = None
    guard = result(look(systems), "guard")
    assert guard.evidence["proven_by"] == "ids"
    assert "no access to the state's storage" in (guard.description or "")


def test_a_second_job_of_the_name_is_found(flink: ShopFlink, systems: Systems) -> None:
    other = flink.add_job("orders")
    systems.job = replace(systems.job, job_id=OLD_JOB)
    systems.deployment = systems.deployment.__class__(systems.job, systems.job.deployment, systems.client)  # type: ignore[call-arg]
    finding = result(look(systems), "guard_second_writer")
    assert finding.outcome is Outcome.FAIL
    assert other.job_id in (finding.description or "")


def test_no_checkpoint_yet_is_unknown_and_does_not_fail(flink: ShopFlink, systems: Systems) -> None:
    flink.old.checkpoints.clear()
    flink.old.add_checkpoint(status="IN_PROGRESS")
    guard = result(look(systems), "guard")
    assert (guard.outcome, guard.severity) == (Outcome.UNKNOWN, Severity.WARN)


def test_a_job_that_cannot_be_stopped_and_a_full_cluster(flink: ShopFlink, systems: Systems) -> None:
    flink.old.state, flink.slots = "RESTARTING", (0, 8)
    report = look(systems)
    assert result(report, "stoppable").outcome is Outcome.FAIL
    assert report.outcome is Outcome.FAIL


def test_settings_come_from_the_job_the_cluster_and_the_table(
    flink: ShopFlink, lake: Lake, systems: Systems
) -> None:
    flink.old.changed_settings = {"mode": "at_least_once", "tolerable_failed_checkpoints": 50}
    flink.old.restart_strategy = "Restart deactivated."
    flink.config["execution.state-recovery.claim-mode"] = "CLAIM"
    lake.edit(lambda document: document["properties"].update({"write.wap.enabled": "true"}))
    report = look(systems)
    failed = {each.name for each in report.results if each.outcome is Outcome.FAIL}
    assert {"checkpoint_mode", "tolerable_failures", "restart_strategy", "claim_mode"} <= failed
    assert "write_audit_publish" in failed
    mode = result(report, "checkpoint_mode")
    assert (mode.severity, mode.actual, mode.expected) == (Severity.ERROR, "at_least_once", "exactly_once")
    assert result(report, "commit_retries").evidence["references"] == ["apache/iceberg#10200"]
    assert result(report, "write_audit_publish").table == "shop.orders@main"
    assert report.outcome is Outcome.FAIL


def test_a_v1_sink_is_known_by_the_graph(flink: ShopFlink, systems: Systems) -> None:
    flink.old.changed_settings = {"unaligned_checkpoints": True}
    flink.old.vertex_name = "Source: orders[1] -> IcebergStreamWriter -> IcebergFilesCommitter"
    assert result(look(systems), "checkpoint_unaligned").severity is Severity.ERROR
    flink.old.vertex_name = "orders: Writer -> orders: Pre-commit aggregator -> orders: Committer"
    assert result(look(systems), "checkpoint_unaligned").severity is Severity.WARN


def test_a_rule_may_be_ignored_by_its_id_only(flink: ShopFlink, systems: Systems) -> None:
    flink.old.changed_settings = {"mode": "at_least_once"}
    report = look(systems, ignored_rules=("checkpoint_mode",))
    assert "checkpoint_mode" not in {each.name for each in report.results}
    with pytest.raises(InvalidValue, match="no settings rule 'checkpoint_mod' to ignore"):
        look(systems, ignored_rules=("checkpoint_mod",))


def test_a_secret_of_the_configuration_is_in_no_result(flink: ShopFlink, systems: Systems) -> None:
    flink.config["s3.secret-key"] = "CANARY-9"
    flink.config["restart-strategy.exponential-delay.initial-backoff"] = "1 s"
    assert "CANARY-9" not in json.dumps(look(systems).to_dict())


def test_many_tables_are_one_result_a_rule(flink: ShopFlink, lake: Lake, systems: Systems) -> None:
    sinks = [TableSink("shop.orders", sink_uid=f"sink-{number}") for number in range(30)]
    systems.job = FlinkJob("orders", systems.job.deployment, sinks=sinks)
    report = look(systems)
    names = [each.name for each in report.results if each.check_type == "setting"]
    assert len(names) == len(set(names))
    assert len(json.dumps(report.to_dict())) < 48_000


def test_without_a_job_there_is_nothing_to_look_at(flink: ShopFlink, systems: Systems) -> None:
    flink.jobs.clear()
    with pytest.raises(JobNotFound):
        look(systems)
