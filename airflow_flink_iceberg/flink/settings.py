"""Settings under which restarts lose, double or stall: versioned rules as data, and what each found.

A rule says its id, how bad it is, why, and which issue or document taught it; its judge looks at values that were
read before and touches nothing. Rules about the job are in :mod:`settings_job`, about a table in
:mod:`settings_tables`. Nothing that is not named by a rule is ever quoted, so no credential can be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from airflow_flink_iceberg.flink.checkpoints import CheckpointSettings
from airflow_flink_iceberg.model.result import Outcome, Severity

RULES_VERSION = 1
"""Rises when a rule is added, dropped or judges differently."""

DAY = 86_400.0
_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": DAY}
_AMOUNT = re.compile(
    r"(\d+)\s*(ms|milli(?:s|second)?s?|sec(?:ond)?s?|s|min(?:ute)?s?|m|h(?:our)?s?|d(?:ay)?s?)?"
)
_ISO = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", re.IGNORECASE)


@dataclass(frozen=True)
class JobSettings:
    """What is known of a job's settings.

    :param cluster: the JobManager's configuration; may hold secrets, so only keys named in a rule are read.
    :param restart_strategy: the job's own, in Flink's words; ``None``: the cluster's default holds.
    :param has_v1_sink: by the job's graph; ``None``: not known.
    :param is_sql: submitted through the SQL Gateway.
    :param is_external: started by somebody else.
    :param unnamed_sinks: tables whose sink has no uid declared.
    """

    checkpointing: CheckpointSettings
    cluster: Mapping[str, str] = field(default_factory=dict, repr=False)
    restart_strategy: str | None = None
    has_v1_sink: bool | None = None
    is_sql: bool = False
    is_external: bool = False
    unnamed_sinks: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSettings:
    """What is known of one table's settings.

    :param replaces_partitions: whether the newest commit of this job replaced partitions; ``None``: no commit was seen.
    """

    name: str
    location: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    replaces_partitions: bool | None = None


@dataclass(frozen=True)
class Expectations:
    """What no system tells, in seconds.

    :param downtime: the longest time that the job may be down.
    :param catalog_timeout: after which a request to the catalog is given up.
    :param orphan_age: how old a file has to be before the orphan cleaner takes it; ``None``: not known.
    """

    downtime: float = DAY
    catalog_timeout: float = 60.0
    orphan_age: float | None = None


@dataclass(frozen=True)
class Found:
    """One judgement: what was found, and what is wanted.

    :param severity: overrides the rule's, where it depends on what was found.
    """

    outcome: Outcome
    found: str
    wanted: str
    severity: Severity | None = None


JobJudge = Callable[[JobSettings, Expectations], "Found | None"]
TableJudge = Callable[[TableSettings, Expectations], "Found | None"]


@dataclass(frozen=True)
class Rule:
    """One rule; a judge that answers ``None`` says that the rule does not apply.

    :param references: issues or documents that it rests on.
    """

    id: str
    severity: Severity
    reason: str
    references: tuple[str, ...]
    job: JobJudge | None = None
    table: TableJudge | None = None


@dataclass(frozen=True)
class Judged:
    """A rule with what it found; ``table`` is empty for a rule about the job."""

    rule: Rule
    found: Found
    table: str = ""

    @property
    def severity(self) -> Severity:
        """How bad it is here."""
        return self.found.severity or self.rule.severity


def all_rules() -> tuple[Rule, ...]:
    """Every rule, each id once."""
    from airflow_flink_iceberg.flink.settings_job import JOB_RULES
    from airflow_flink_iceberg.flink.settings_tables import TABLE_RULES

    return (*JOB_RULES, *TABLE_RULES)


def lint(
    job: JobSettings, tables: Iterable[TableSettings], expected: Expectations, ignored: Iterable[str] = ()
) -> tuple[Judged, ...]:
    """Judge everything by every rule that applies and is not ignored."""
    tables, left_out = tuple(tables), frozenset(ignored)
    judged: list[Judged] = []
    for rule in (rule for rule in all_rules() if rule.id not in left_out):
        if rule.job and (found := rule.job(job, expected)):
            judged.append(Judged(rule, found))
        for table in tables if rule.table else ():
            if rule.table and (found := rule.table(table, expected)):
                judged.append(Judged(rule, found, table.name))
    return tuple(judged)


def first_of(config: Mapping[str, str], *keys: str) -> str | None:
    """The value of the first key that is set; Flink keeps the names of older versions."""
    return next((config[key] for key in keys if config.get(key)), None)


def seconds(text: str) -> float | None:
    """A duration as Flink writes it (``10 s``, ``500ms``, ``1 min``, ``PT1M30S``); a bare number is milliseconds."""
    given = text.strip()
    iso = _ISO.fullmatch(given)
    if iso and any(iso.groups()):
        hours, minutes, rest = iso.groups()
        return float(hours or 0) * 3_600 + float(minutes or 0) * 60 + float(rest or 0)
    found = _AMOUNT.fullmatch(given.lower())
    if found is None:
        return None
    unit = found.group(2) or "ms"
    known = next((key for key in ("ms", "min") if unit.startswith(key)), None)
    return int(found.group(1)) * _UNITS[known or ("ms" if unit.startswith("milli") else unit[0])]


def spelled(duration: float) -> str:
    """Seconds for people: ``5 d``, ``90 s``, ``0.5 s``."""
    for unit, size in (("d", DAY), ("h", 3_600.0), ("min", 60.0)):
        if duration >= size and duration % size == 0:
            return f"{duration / size:g} {unit}"
    return f"{duration:g} s"
