"""Each settings rule in a bad and in a good world; every rule is data that explains itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from airflow_flink_iceberg.flink.checkpoints import CheckpointSettings
from airflow_flink_iceberg.flink.settings import (
    DAY,
    Expectations,
    Found,
    JobSettings,
    TableSettings,
    all_rules,
    lint,
    seconds,
    spelled,
)
from airflow_flink_iceberg.model.result import Outcome, Severity

GOOD_CHECKPOINTS = CheckpointSettings(
    "exactly_once", 60_000, 600_000, externalized=True, delete_on_cancellation=False
)
GOOD_CLUSTER = {
    "restart-strategy.type": "exponential-delay",
    "restart-strategy.exponential-delay.initial-backoff": "2 min",
    "execution.checkpointing.num-retained": "3",
    "s3.secret-key": "TOP-SECRET",
}
GOOD_JOB = JobSettings(GOOD_CHECKPOINTS, GOOD_CLUSTER, has_v1_sink=False, is_sql=True)
GOOD_TABLE = TableSettings(
    "shop.orders@main",
    "s3://lake/shop/orders",
    {
        "commit.retry.num-retries": "10",
        "commit.status-check.num-retries": "10",
        "flink.max-continuous-empty-commits": "1",
        "flink.manifests.location": "s3a://lake/staged",
        "clean-orphan-file.min-existing-time-minutes": "10080",
        "write.upsert.enabled": "true",
        "write.distribution-mode": "hash",
    },
    replaces_partitions=False,
)
EXPECTED = Expectations()


def found(
    rule: str, job: JobSettings, table: TableSettings, expected: Expectations = EXPECTED
) -> Found | None:
    judged = [each for each in lint(job, [table], expected) if each.rule.id == rule]
    return replace(judged[0].found, severity=judged[0].severity) if judged else None


def checkpoints(**fields: Any) -> JobSettings:
    return replace(GOOD_JOB, checkpointing=replace(GOOD_CHECKPOINTS, **fields))


def cluster(**fields: str) -> JobSettings:
    named = {key.replace("__", "-").replace("_", "."): value for key, value in fields.items()}
    return replace(GOOD_JOB, cluster={**GOOD_CLUSTER, **named})


def table(**fields: str) -> TableSettings:
    named = {key.replace("__", "-").replace("_", "."): value for key, value in fields.items()}
    return replace(GOOD_TABLE, properties={**GOOD_TABLE.properties, **named})


DEFAULTS = replace(GOOD_TABLE, properties={})
F, W, U = Outcome.FAIL, Outcome.WARN, Outcome.UNKNOWN
BAD: dict[str, list[tuple[JobSettings | TableSettings, Outcome, str]]] = {
    "checkpoint_mode": [(checkpoints(mode="at_least_once"), F, "at_least_once")],
    "checkpoint_unaligned": [(checkpoints(unaligned=True), F, "on")],
    "checkpoint_interval": [
        (checkpoints(interval_ms=None), F, "off"),
        (checkpoints(interval_ms=3_600_000), W, "1 h"),
    ],
    "checkpoint_timeout": [(checkpoints(timeout_ms=10_000), F, "10 s")],
    "checkpoint_concurrency": [(checkpoints(max_concurrent=2), F, "2")],
    "tolerable_failures": [(checkpoints(tolerable_failures=10), F, "10")],
    "restart_strategy": [
        (cluster(restart__strategy_type="none"), F, "none"),
        (replace(GOOD_JOB, restart_strategy="Restart deactivated."), F, "Restart deactivated."),
    ],
    "restart_delay": [
        (replace(GOOD_JOB, cluster={}), F, "1 s"),
        (replace(GOOD_JOB, restart_strategy="Restart with fixed delay (1000 ms). #3 restart attempts."), F, "1 s"),
        (replace(GOOD_JOB, restart_strategy="Restart with fixed delay (PT30S). #3 restart attempts."), F, "30 s"),
        (replace(GOOD_JOB, restart_strategy="Failure rate restart"), U, "cannot be read"),
    ],
    "checkpoint_retention": [
        (checkpoints(externalized=False), F, "not kept"),
        (checkpoints(delete_on_cancellation=True), F, "deleted on cancellation"),
    ],
    "checkpoints_retained": [
        (replace(GOOD_JOB, cluster={}), F, "1"),
        (replace(GOOD_JOB, cluster={"state.checkpoints.num-retained": "many"}), U, "cannot be read"),
    ],
    "sink_uids": [(replace(GOOD_JOB, unnamed_sinks=("shop.orders",)), W, "no sink_uid for shop.orders")],
    "v1_through_sql": [
        (replace(GOOD_JOB, has_v1_sink=True), F, "v1"),
        (replace(GOOD_JOB, has_v1_sink=None), U, "which sink it is cannot be told"),
    ],
    "claim_mode": [
        (replace(GOOD_JOB, cluster={"execution.state-recovery.claim-mode": "CLAIM"}), F, "CLAIM"),
        (replace(GOOD_JOB, cluster={"execution.savepoint-restore-mode": "LEGACY"}), F, "LEGACY"),
    ],
    "snapshot_expiry": [
        (table(history_expire_max__snapshot__age__ms="3600000"), F, "1 h, 1 kept at least"),
        (table(history_expire_max__snapshot__age__ms="soon"), U, "no whole number"),
    ],
    "metadata_log": [(table(write_metadata_previous__versions__max="5"), F, "5")],
    "commit_retries": [(DEFAULTS, F, "4")],
    "commit_status_checks": [(DEFAULTS, F, "3")],
    "empty_commits": [(DEFAULTS, F, "10")],
    "manifest_location": [
        (DEFAULTS, F, "in the table's metadata directory"),
        (table(flink_manifests_location="s3a://lake/shop/orders/staged"), F, "inside the table's"),
        (table(flink_manifests_location="staged"), U, "cannot be read as a path"),
    ],
    "orphan_cleaner_age": [
        (DEFAULTS, U, "no property says it; name orphan_age"),
        (table(clean__orphan__file_min__existing__time__minutes="60"), F, "1 h"),
    ],
    "write_audit_publish": [(table(write_wap_enabled="TRUE"), F, "on")],
    "replace_partitions": [
        (replace(GOOD_TABLE, replaces_partitions=True), F, "replaces partitions"),
        (replace(GOOD_TABLE, replaces_partitions=None), U, "no commit of this job was seen"),
    ],
    "upsert_distribution": [(table(write_distribution__mode="none"), F, "none")],
}  # fmt: skip
CASES = [(rule, *case) for rule, cases in BAD.items() for case in cases]


@pytest.mark.parametrize(("rule", "world", "outcome", "said"), CASES)
def test_a_bad_world(rule: str, world: JobSettings | TableSettings, outcome: Outcome, said: str) -> None:
    job = world if isinstance(world, JobSettings) else GOOD_JOB
    where = world if isinstance(world, TableSettings) else GOOD_TABLE
    judged = found(rule, job, where)
    assert judged is not None
    assert (judged.outcome, judged.found) == (outcome, said)
    assert judged.wanted


@pytest.mark.parametrize("rule", [rule.id for rule in all_rules()])
def test_a_good_world(rule: str) -> None:
    judged = found(rule, GOOD_JOB, GOOD_TABLE)
    assert judged is not None, "a rule that never applies proves nothing"
    assert judged.outcome is Outcome.PASS


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_every_rule_explains_itself_and_has_a_bad_world(rule: Any) -> None:
    assert BAD[rule.id]
    assert rule.reason.endswith(".")
    assert rule.references
    known = r"apache/(iceberg|amoro)#\d+|FLINK-\d+|(flink|iceberg)/docs: .+"
    assert all(re.fullmatch(known, reference) for reference in rule.references)
    assert (rule.job is None) != (rule.table is None)


def test_ids_are_unique() -> None:
    ids = [rule.id for rule in all_rules()]
    assert len(ids) == len(set(ids)) >= 20


@pytest.mark.parametrize(("has_v1", "severity"), [(True, "error"), (None, "error"), (False, "warn")])
def test_unaligned_is_worst_where_the_sink_loses_files(has_v1: bool | None, severity: str) -> None:
    judged = found(
        "checkpoint_unaligned", replace(checkpoints(unaligned=True), has_v1_sink=has_v1), GOOD_TABLE
    )
    assert judged is not None
    assert judged.severity is Severity(severity)


def test_a_long_interval_warns_and_none_at_all_fails() -> None:
    off, late = (checkpoints(interval_ms=each) for each in (None, 3_600_000))
    assert [
        getattr(found("checkpoint_interval", job, GOOD_TABLE), "severity", None) for job in (off, late)
    ] == [
        Severity.ERROR,
        Severity.WARN,
    ]


def test_a_claim_mode_matters_where_somebody_else_starts_the_job() -> None:
    job = replace(GOOD_JOB, cluster={"execution.state-recovery.claim-mode": "CLAIM"})
    kinds = [
        getattr(found("claim_mode", replace(job, is_external=e), GOOD_TABLE), "severity", None)
        for e in (True, False)
    ]
    assert kinds == [Severity.WARN, Severity.INFO]


@pytest.mark.parametrize(
    ("downtime", "properties", "outcome"),
    [
        (2 * DAY, {}, Outcome.PASS),
        (3 * DAY, {}, Outcome.FAIL),
        (3 * DAY, {"history.expire.min-snapshots-to-keep": "100"}, Outcome.PASS),
        (30 * DAY, {"history.expire.max-snapshot-age-ms": str(int(60 * DAY * 1000))}, Outcome.PASS),
    ],
)
def test_snapshots_have_to_outlive_the_downtime(
    downtime: float, properties: dict[str, str], outcome: Outcome
) -> None:
    judged = found(
        "snapshot_expiry",
        GOOD_JOB,
        replace(GOOD_TABLE, properties=properties),
        Expectations(downtime=downtime),
    )
    assert judged is not None
    assert judged.outcome is outcome


def test_the_restart_delay_is_measured_against_the_catalogs_timeout() -> None:
    for timeout, outcome in ((60.0, Outcome.PASS), (121.0, Outcome.FAIL)):
        judged = found("restart_delay", GOOD_JOB, GOOD_TABLE, Expectations(catalog_timeout=timeout))
        assert judged is not None
        assert judged.outcome is outcome


def test_what_the_caller_knows_of_the_orphan_cleaner_counts() -> None:
    for age, outcome in ((7 * DAY, Outcome.PASS), (DAY, Outcome.FAIL)):
        judged = found("orphan_cleaner_age", GOOD_JOB, DEFAULTS, Expectations(orphan_age=age))
        assert judged is not None
        assert judged.outcome is outcome


def test_rules_that_do_not_apply_say_nothing() -> None:
    assert found("v1_through_sql", replace(GOOD_JOB, is_sql=False), GOOD_TABLE) is None
    assert found("upsert_distribution", GOOD_JOB, DEFAULTS) is None
    assert found("restart_delay", cluster(restart__strategy_type="disable"), GOOD_TABLE) is None


def test_ignored_rules_and_several_tables() -> None:
    judged = lint(
        GOOD_JOB, [GOOD_TABLE, replace(DEFAULTS, name="shop.refunds@main")], EXPECTED, ["claim_mode"]
    )
    assert "claim_mode" not in {each.rule.id for each in judged}
    assert [each.table for each in judged if each.rule.id == "commit_retries"] == [
        "shop.orders@main",
        "shop.refunds@main",
    ]


def test_no_secret_is_quoted() -> None:
    assert "TOP-SECRET" not in repr(lint(GOOD_JOB, [GOOD_TABLE], EXPECTED))
    assert "TOP-SECRET" not in repr(GOOD_JOB)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10 s", 10.0),
        ("500ms", 0.5),
        ("1 min", 60.0),
        ("2 minutes", 120.0),
        ("3h", 10_800.0),
        ("1 d", DAY),
        ("250", 0.25),
        ("PT1M30S", 90.0),
        ("pt0.5s", 0.5),
        ("soon", None),
        ("PT", None),
        ("", None),
        ("10 s ago", None),
        ("5 milliseconds", 0.005),
    ],
)
def test_durations_as_flink_writes_them(text: str, value: float | None) -> None:
    assert seconds(text) == value


def test_durations_for_people() -> None:
    assert [spelled(each) for each in (0.5, 90, 120, 7_200, 5 * DAY)] == [
        "0.5 s",
        "90 s",
        "2 min",
        "2 h",
        "5 d",
    ]
