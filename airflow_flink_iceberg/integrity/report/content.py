"""What a report says, whatever it is written as: a restart, a run of checks, or both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from airflow_flink_iceberg.integrity.report.advice import next_step
from airflow_flink_iceberg.integrity.report.text import worst_first
from airflow_flink_iceberg.model.restart import Restart
from airflow_flink_iceberg.model.result import CheckReport, CheckResult, Outcome
from airflow_flink_iceberg.model.values import Value

_DERIVED = ("outcome", "sentence", "next_steps")
_STEPS = 5


@dataclass(frozen=True)
class NextStep:
    """What to do about a result, or about several for which it is the same.

    :param result: the worst of them.
    """

    text: str
    result: CheckResult


@dataclass(frozen=True)
class Report(Value):
    """A restart, a run of checks, or a restart with the checks that verify it.

    :param failed_tasks: tasks of the same task group that failed, by id.
    :param origin: where it was made, as names and texts: the DAG, the run, the task.
    :param links: names and http(s) addresses of pages that say more; no secret may be in them.
    """

    KIND: ClassVar[str] = "report"

    checks: CheckReport | None = None
    restart: Restart | None = None
    failed_tasks: tuple[str, ...] = ()
    origin: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """The checks' outcome, ``fail`` if a task failed, and ``unknown`` where nothing was checked."""
        if self.failed_tasks:
            return Outcome.FAIL
        return self.checks.outcome if self.checks else Outcome.UNKNOWN

    @cached_property
    def results(self) -> list[CheckResult]:
        """The checks' results, worst first."""
        return worst_first(self.checks.results) if self.checks else []

    @property
    def sentence(self) -> str:
        """The verdict in one sentence."""
        what = _restarted(self.restart) if self.restart else ""
        failed = f"{_named(self.failed_tasks)} failed" if self.failed_tasks else ""
        checked = _checked(self.checks) if self.checks else "nothing was checked"
        # What decides comes first: it is read on a phone.
        ordered = [what, checked] if self.outcome in (Outcome.PASS, Outcome.WARN) else [checked, what]
        return _joined([failed, *ordered])

    @property
    def next_steps(self) -> list[NextStep]:
        """What to do, most urgent first, each said once; nothing for what passed."""
        steps: dict[str, NextStep] = {}
        for result in self.results:
            if result.outcome is Outcome.PASS or len(steps) == _STEPS:
                break
            if text := next_step(result):
                steps.setdefault(text, NextStep(text, result))
        return list(steps.values())

    def to_dict(self) -> dict[str, Any]:
        """The dict form, with outcome, sentence and next steps spelled out."""
        steps = [{"check": step.result.name, "text": step.text} for step in self.next_steps]
        spelled = {"outcome": self.outcome.value, "sentence": self.sentence, "next_steps": steps}
        whole = super().to_dict()
        return {"kind": whole.pop("kind"), "version": whole.pop("version"), **spelled, **whole}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Rebuild; what is spelled out is derived again."""
        return super().from_dict({key: value for key, value in data.items() if key not in _DERIVED})


def spoken_counts(results: Sequence[CheckResult]) -> str:
    """``1 fail, 1 unknown, 8 pass``, worst first."""
    counts = Counter(result.outcome for result in results)
    ordered = sorted(counts, key=lambda outcome: outcome.rank)
    return ", ".join(f"{counts[outcome]:,} {outcome.value}" for outcome in ordered)


def spoken_seconds(seconds: float | None) -> str:
    """``0.31 s``, ``42 s``, ``4 min 12 s``, ``2 h 5 min``; ``unknown`` for ``None``."""
    if seconds is None:
        return "unknown"
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _restarted(restart: Restart) -> str:
    down = restart.downtime_seconds
    took = "" if down is None else f" with {spoken_seconds(down)} of downtime"
    unknown = "; how long it was down is not known" if down is None else ""
    return f"the job was restarted from checkpoint {restart.savepoint.checkpoint_id}{took}{unknown}"


def _checked(checks: CheckReport) -> str:
    results, where = worst_first(checks.results), _where(checks)
    if not results:
        return f"no check of {where} was run"
    of = f"{len(results):,} check{'' if len(results) == 1 else 's'} of {where}"
    for outcome, verb in ((Outcome.FAIL, "failed"), (Outcome.UNKNOWN, "could not be answered")):
        bad = [result for result in results if result.counts_as is outcome]
        if bad:
            return f"{len(bad):,} of {of} {verb}: {_first(bad)}"
    warned = sum(result.outcome is not Outcome.PASS for result in results)
    if warned:
        return f"none of {of} failed, and {warned:,} gave a warning: {_first(results)}"
    return f"all {of} passed" if len(results) > 1 else f"the one {of.removeprefix('1 ')} passed"


def _where(checks: CheckReport) -> str:
    name = f"{checks.table}@{checks.branch}"
    return name if len(name) <= 100 else f"{name[:99]}…"


def _first(results: Sequence[CheckResult]) -> str:
    """The worst by name with what it found, and how many more there are."""
    found = results[0].actual
    what = f" ({str(found)[:120]})" if found not in (None, "") else ""
    more = f" and {len(results) - 1:,} more" if len(results) > 1 else ""
    return f"{results[0].name[:80]}{what}{more}"


def _named(tasks: Sequence[str]) -> str:
    shown = ", ".join(tasks[:3]) + (f" and {len(tasks) - 3} more" if len(tasks) > 3 else "")
    return f"task{'' if len(tasks) == 1 else 's'} {shown}"


def _joined(parts: Sequence[str]) -> str:
    text = "; ".join(part for part in parts if part)
    return f"{text[0].upper()}{text[1:]}."
