"""Rules about a job and its cluster."""

from __future__ import annotations

import re

from airflow_flink_iceberg.flink.settings import (
    Expectations,
    Found,
    JobSettings,
    Rule,
    first_of,
    seconds,
    spelled,
)
from airflow_flink_iceberg.model.result import Outcome, Severity

_LONG_INTERVAL = 1_800.0
_SHORT_TIMEOUT = 60.0
_MOST_FAILURES = 3
_LEAST_RETAINED = 3
_DEFAULT_DELAY = 1.0
_DELAY_KEYS = (
    "restart-strategy.exponential-delay.initial-backoff",
    "restart-strategy.fixed-delay.delay",
    "restart-strategy.failure-rate.delay",
)
_DESCRIBED_DELAY = re.compile(r"\((?:[^()]*?)(PT[\d.HMS]+|\d+\s*ms)", re.IGNORECASE)


def _verdict(is_good: bool, bad: Outcome = Outcome.FAIL) -> Outcome:
    return Outcome.PASS if is_good else bad


def _mode(job: JobSettings, _: Expectations) -> Found:
    mode = job.checkpointing.mode
    return Found(_verdict(job.checkpointing.is_exactly_once), mode, "exactly_once")


def _unaligned(job: JobSettings, _: Expectations) -> Found:
    if not job.checkpointing.unaligned:
        return Found(Outcome.PASS, "off", "off")
    # v2 forbids unaligned barriers inside the sink, so there it costs only in-flight data in retained checkpoints.
    severity = Severity.WARN if job.has_v1_sink is False else Severity.ERROR
    return Found(Outcome.FAIL, "on", "off", severity)


def _interval(job: JobSettings, _: Expectations) -> Found:
    interval = job.checkpointing.interval_ms
    if interval is None:
        return Found(Outcome.FAIL, "off", "on")
    is_short = interval / 1000 <= _LONG_INTERVAL
    wanted = f"at most {spelled(_LONG_INTERVAL)}"
    return Found(_verdict(is_short, Outcome.WARN), spelled(interval / 1000), wanted, Severity.WARN)


def _timeout(job: JobSettings, _: Expectations) -> Found:
    timeout = job.checkpointing.timeout_ms / 1000
    return Found(_verdict(timeout >= _SHORT_TIMEOUT), spelled(timeout), f"at least {spelled(_SHORT_TIMEOUT)}")


def _concurrent(job: JobSettings, _: Expectations) -> Found:
    count = job.checkpointing.max_concurrent
    return Found(_verdict(count == 1), str(count), "1")


def _tolerable(job: JobSettings, _: Expectations) -> Found:
    count = job.checkpointing.tolerable_failures
    return Found(_verdict(count <= _MOST_FAILURES), str(count), f"at most {_MOST_FAILURES}")


def _strategy(job: JobSettings, _: Expectations) -> Found:
    own = job.restart_strategy
    found = own or first_of(job.cluster, "restart-strategy.type", "restart-strategy") or "Flink's default"
    is_off = found.lower() in ("none", "off", "disable") or "deactivated" in found.lower()
    return Found(_verdict(not is_off), found[:120], "any that restarts")


def _delay(job: JobSettings, expected: Expectations) -> Found | None:
    if _strategy(job, expected).outcome is not Outcome.PASS:
        return None
    delay = _delay_of(job)
    wanted = f"longer than the catalog's timeout of {spelled(expected.catalog_timeout)}"
    if delay is None:
        return Found(Outcome.UNKNOWN, "cannot be read", wanted)
    return Found(_verdict(delay > expected.catalog_timeout), spelled(delay), wanted)


def _delay_of(job: JobSettings) -> float | None:
    if job.restart_strategy:
        described = _DESCRIBED_DELAY.search(job.restart_strategy)
        return seconds(described.group(1)) if described else None
    given = first_of(job.cluster, *_DELAY_KEYS)
    return _DEFAULT_DELAY if given is None else seconds(given)


def _retention(job: JobSettings, _: Expectations) -> Found:
    settings = job.checkpointing
    found = "not kept" if not settings.externalized else "deleted on cancellation"
    is_kept = settings.externalized and not settings.delete_on_cancellation
    return Found(_verdict(is_kept), "kept" if is_kept else found, "RETAIN_ON_CANCELLATION")


def _retained(job: JobSettings, _: Expectations) -> Found:
    keys = ("execution.checkpointing.num-retained", "state.checkpoints.num-retained")
    given = first_of(job.cluster, *keys) or "1"
    count = int(given) if given.strip().isdecimal() else None
    wanted = f"at least {_LEAST_RETAINED}"
    if count is None:
        return Found(Outcome.UNKNOWN, "cannot be read", wanted)
    return Found(_verdict(count >= _LEAST_RETAINED), str(count), wanted)


def _uids(job: JobSettings, _: Expectations) -> Found:
    if job.unnamed_sinks:
        shown = ", ".join(job.unnamed_sinks[:3])
        return Found(Outcome.WARN, f"no sink_uid for {shown}", "a uid on every sink")
    return Found(Outcome.PASS, "every sink has one", "a uid on every sink")


def _v1_through_sql(job: JobSettings, _: Expectations) -> Found | None:
    if not job.is_sql:
        return None
    wanted = "table.exec.iceberg.use-v2-sink = true"
    if job.has_v1_sink is None:
        return Found(Outcome.UNKNOWN, "which sink it is cannot be told", wanted)
    return Found(_verdict(not job.has_v1_sink), "v1" if job.has_v1_sink else "not v1", wanted)


def _claim(job: JobSettings, _: Expectations) -> Found:
    keys = ("execution.state-recovery.claim-mode", "execution.savepoint-restore-mode")
    found = first_of(job.cluster, *keys) or "NO_CLAIM"
    # Starts of this package say NO_CLAIM themselves, whatever the cluster's default is.
    severity = Severity.WARN if job.is_external else Severity.INFO
    return Found(_verdict(found.upper() == "NO_CLAIM"), found[:40], "NO_CLAIM", severity)


JOB_RULES = (
    Rule(
        "checkpoint_mode",
        Severity.ERROR,
        "At-least-once lets rows of the next checkpoint into this one, and a restore doubles them.",
        ("flink/docs: execution.checkpointing.mode",),
        job=_mode,
    ),
    Rule(
        "checkpoint_unaligned",
        Severity.ERROR,
        "A barrier that overtakes write results makes a v1 sink lose files of a checkpoint.",
        ("apache/iceberg#15846", "FLINK-36287"),
        job=_unaligned,
    ),
    Rule(
        "checkpoint_interval",
        Severity.ERROR,
        "Iceberg's sinks commit with checkpoints only: without them never, with rare ones late.",
        ("apache/iceberg#1442",),
        job=_interval,
    ),
    Rule(
        "checkpoint_timeout",
        Severity.WARN,
        "A savepoint that takes longer than this fails, and may restart the job.",
        ("flink/docs: execution.checkpointing.timeout",),
        job=_timeout,
    ),
    Rule(
        "checkpoint_concurrency",
        Severity.WARN,
        "Checkpoints that overlap make the order of commits hard to tell.",
        ("flink/docs: execution.checkpointing.max-concurrent-checkpoints",),
        job=_concurrent,
    ),
    Rule(
        "tolerable_failures",
        Severity.WARN,
        "A commit that fails for long has to fail the job, or the table falls behind unseen.",
        ("apache/iceberg#10200",),
        job=_tolerable,
    ),
    Rule(
        "restart_strategy",
        Severity.WARN,
        "Without restarts one failed commit ends the job.",
        ("flink/docs: restart-strategy.type",),
        job=_strategy,
    ),
    Rule(
        "restart_delay",
        Severity.WARN,
        "A commit that is still in the catalog when the job restarts can land after it, and its rows twice.",
        ("apache/iceberg#14425",),
        job=_delay,
    ),
    Rule(
        "checkpoint_retention",
        Severity.WARN,
        "After a cancellation or a failure there is no state to start from, unless it is kept.",
        ("flink/docs: execution.checkpointing.externalized-checkpoint-retention",),
        job=_retention,
    ),
    Rule(
        "checkpoints_retained",
        Severity.INFO,
        "Several retained checkpoints are candidates for a rollback.",
        ("flink/docs: execution.checkpointing.num-retained",),
        job=_retained,
    ),
    Rule(
        "sink_uids",
        Severity.WARN,
        "Without a stable uid a changed job cannot claim its sink's state, and what is pending in it is lost.",
        ("apache/iceberg#5873", "apache/iceberg#14063"),
        job=_uids,
    ),
    Rule(
        "v1_through_sql",
        Severity.WARN,
        "A v1 sink made by SQL has an id that hashes the graph: another plan or Flink version can refuse the restore.",
        ("apache/iceberg#5873",),
        job=_v1_through_sql,
    ),
    Rule(
        "claim_mode",
        Severity.INFO,
        "With CLAIM, Flink owns the savepoint and may delete it when a rollback would need it.",
        ("flink/docs: execution.state-recovery.claim-mode",),
        job=_claim,
    ),
)
