"""Rules about the tables that a job writes, by their properties."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_flink_iceberg.flink.paths import is_below
from airflow_flink_iceberg.flink.settings import (
    DAY,
    Expectations,
    Found,
    Rule,
    TableJudge,
    TableSettings,
    spelled,
)
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.result import Outcome, Severity

_SNAPSHOTS_KEPT = 100
_MARGIN = 2.0
"""How many times the longest downtime snapshots and staged files should live."""


def at_least(key: str, default: int, minimum: int) -> TableJudge:
    """A judge of one whole-number property."""

    def judge(table: TableSettings, _: Expectations) -> Found:
        number, wanted = _number(table.properties, key, default), f"{key} >= {minimum}"
        if number is None:
            return Found(Outcome.UNKNOWN, "no whole number", wanted)
        return Found(Outcome.PASS if number >= minimum else Outcome.FAIL, str(number), wanted)

    return judge


def _expiry(table: TableSettings, expected: Expectations) -> Found:
    properties = table.properties
    age = _number(properties, "history.expire.max-snapshot-age-ms", int(5 * DAY * 1000))
    kept = _number(properties, "history.expire.min-snapshots-to-keep", 1)
    least = _MARGIN * expected.downtime
    wanted = f"snapshots live {spelled(least)} (twice the longest downtime), or {_SNAPSHOTS_KEPT} are kept"
    if age is None or kept is None:
        return Found(Outcome.UNKNOWN, "no whole number", wanted)
    is_good = age / 1000 >= least or kept >= _SNAPSHOTS_KEPT
    return Found(
        Outcome.PASS if is_good else Outcome.FAIL, f"{spelled(age / 1000)}, {kept} kept at least", wanted
    )


def _empty_commits(table: TableSettings, _: Expectations) -> Found:
    key = "flink.max-continuous-empty-commits"
    number = _number(table.properties, key, 10)
    wanted = f"{key} = 1 while restarts are supervised"
    if number is None:
        return Found(Outcome.UNKNOWN, "no whole number", wanted)
    return Found(Outcome.PASS if number == 1 else Outcome.FAIL, str(number), wanted)


def _manifests(table: TableSettings, _: Expectations) -> Found:
    given, wanted = table.properties.get("flink.manifests.location"), "a directory outside the table's"
    if not given:
        return Found(Outcome.FAIL, "in the table's metadata directory", wanted)
    try:
        is_outside = not is_below(given, table.location)
    except InvalidValue:
        return Found(Outcome.UNKNOWN, "cannot be read as a path", wanted)
    return Found(
        Outcome.PASS if is_outside else Outcome.FAIL,
        "outside" if is_outside else "inside the table's",
        wanted,
    )


def _orphans(table: TableSettings, expected: Expectations) -> Found:
    least = max(3 * DAY, _MARGIN * expected.downtime)
    wanted = f"files are taken after {spelled(least)} at the earliest"
    if expected.orphan_age is not None:
        age = expected.orphan_age
    else:
        # Amoro's own optimiser reads it from the table; other cleaners are told by their caller.
        minutes = _number(table.properties, "clean-orphan-file.min-existing-time-minutes", -1)
        if minutes is None or minutes < 0:
            return Found(Outcome.UNKNOWN, "no property says it; name orphan_age", wanted)
        age = minutes * 60.0
    return Found(Outcome.PASS if age >= least else Outcome.FAIL, spelled(age), wanted)


def _audit(table: TableSettings, _: Expectations) -> Found:
    is_on = table.properties.get("write.wap.enabled", "false").lower() == "true"
    return Found(
        Outcome.FAIL if is_on else Outcome.PASS, "on" if is_on else "off", "off, or a branch of its own"
    )


def _replaces(table: TableSettings, _: Expectations) -> Found:
    if table.replaces_partitions is None:
        return Found(Outcome.UNKNOWN, "no commit of this job was seen", "appends")
    is_append = not table.replaces_partitions
    found = "appends" if is_append else "replaces partitions"
    return Found(Outcome.PASS if is_append else Outcome.FAIL, found, "appends")


def _upsert(table: TableSettings, _: Expectations) -> Found | None:
    if table.properties.get("write.upsert.enabled", "false").lower() != "true":
        return None
    mode = table.properties.get("write.distribution-mode", "hash").lower()
    return Found(
        Outcome.PASS if mode == "hash" else Outcome.FAIL, mode[:40], "write.distribution-mode = hash"
    )


def _number(properties: Mapping[str, str], key: str, default: int) -> int | None:
    text = properties.get(key, str(default)).strip()
    return int(text) if text.lstrip("-").isdecimal() and text.isascii() else None


TABLE_RULES = (
    Rule(
        "snapshot_expiry",
        Severity.WARN,
        "If the last commit of a stopped job expires, its restart fails or commits again.",
        ("apache/iceberg#5846", "apache/iceberg#6066"),
        table=_expiry,
    ),
    Rule(
        "metadata_log",
        Severity.WARN,
        "Older metadata files are what tells a rollback or an expiry from a loss.",
        ("apache/iceberg#5846",),
        table=at_least("write.metadata.previous-versions-max", 100, 100),
    ),
    Rule(
        "commit_retries",
        Severity.WARN,
        "A compaction can win more often than four times in a row, and then the job restarts in a loop.",
        ("apache/iceberg#10200",),
        table=at_least("commit.retry.num-retries", 4, 10),
    ),
    Rule(
        "commit_status_checks",
        Severity.INFO,
        "A commit whose answer was lost has to be looked for long enough.",
        ("apache/iceberg#2808",),
        table=at_least("commit.status-check.num-retries", 3, 10),
    ),
    Rule(
        "empty_commits",
        Severity.INFO,
        "Only a snapshot for each empty checkpoint makes a quiet topic and a stalled sink look different.",
        ("apache/iceberg#17494",),
        table=_empty_commits,
    ),
    Rule(
        "manifest_location",
        Severity.INFO,
        "Staged manifests inside the table are what an orphan cleaner takes while the job is down.",
        ("apache/iceberg#6288",),
        table=_manifests,
    ),
    Rule(
        "orphan_cleaner_age",
        Severity.INFO,
        "A cleaner that takes younger files removes what a stopped job still has to commit.",
        ("apache/iceberg#6288", "apache/amoro#2925"),
        table=_orphans,
    ),
    Rule(
        "write_audit_publish",
        Severity.WARN,
        "Published by cherry-pick, rows carry the stamps of another snapshot, and can be published twice.",
        ("iceberg/docs: write.wap.enabled",),
        table=_audit,
    ),
    Rule(
        "replace_partitions",
        Severity.WARN,
        "A commit that replaces partitions takes rows away, so what a restore does cannot be counted.",
        ("iceberg/docs: Flink overwrite",),
        table=_replaces,
    ),
    Rule(
        "upsert_distribution",
        Severity.WARN,
        "Two writers of one key keep both rows.",
        ("apache/iceberg#10431", "apache/iceberg#11074"),
        table=_upsert,
    ),
)
