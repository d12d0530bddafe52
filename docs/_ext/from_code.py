"""Directives that make tables from what the code itself says, so that a page cannot disagree with it.

What is missing there is an error of the build: a step without a description, an operator without a how-to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

_STEPS = "airflow_flink_iceberg.restart.steps"
_PARTS = ("Intent", "Outcome", "Repeat")
_log = logging.getLogger(__name__)


class StepTable(Directive):
    """The steps of the record: what is written before the outside call, what after it, what a repeat does."""

    def run(self) -> list[nodes.Node]:
        """Read the docstrings of the enum's members."""
        from airflow_flink_iceberg.restart.steps import Step

        described = ModuleAnalyzer.for_module(_STEPS).find_attr_docs()
        rows = []
        for step in Step:
            text = " ".join(described.get(("Step", step.name), ()))
            found = re.match(r"\s*Intent: (.+?)\.\s+Outcome: (.+?)\.\s+Repeat: (.+?)\.?\s*$", text)
            if found is None:
                raise self.error(f"{_STEPS}.Step.{step.name} does not say {', '.join(_PARTS)}.")
            rows.append([_code(step.value), *map(_text, found.groups())])
        return [_table(("step", "intent", "outcome", "what a repeat does"), (10, 30, 20, 40), rows)]


class CallTable(Directive):
    """Every call that changes something outside, as the crash tests have it."""

    def run(self) -> list[nodes.Node]:
        """Read the calls."""
        from airflow_flink_iceberg.restart.step_table import CALLS

        rows = [
            [
                _text(call.use_case),
                _code(call.step.value),
                _code(", ".join(call.sends)),
                _text(call.id),
                _text(call.again),
            ]
            for call in CALLS
        ]
        return [
            _table(("use case", "step", "sends", "its id", "the same once more"), (14, 12, 24, 25, 25), rows)
        ]


class RuleTable(Directive):
    """The rules of the preflight about settings, in the order in which they are applied."""

    def run(self) -> list[nodes.Node]:
        """Read the rules."""
        from airflow_flink_iceberg.flink.settings import all_rules

        rows = [
            [
                _code(rule.id),
                _text(rule.severity.value),
                _text(f"{rule.reason} ({'; '.join(rule.references)})"),
            ]
            for rule in all_rules()
        ]
        return [_table(("rule", "severity", "reason"), (20, 10, 70), rows)]


class LedgerTable(Directive):
    """The columns of the ledger, as the table itself describes them."""

    def run(self) -> list[nodes.Node]:
        """Read the columns."""
        from airflow_flink_iceberg.iceberg.ledger_table import _COLUMNS

        rows = [
            [_code(name), _text(_type_of(kind)), _text(_described(kind, comment))]
            for name, (kind, comment) in _COLUMNS.items()
        ]
        return [_table(("column", "type", "meaning"), (20, 20, 60), rows)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives, and the check that nothing is left out."""
    app.add_directive("step-table", StepTable)
    app.add_directive("call-table", CallTable)
    app.add_directive("rule-table", RuleTable)
    app.add_directive("ledger-table", LedgerTable)
    app.connect("env-check-consistency", _complete)
    return {"parallel_read_safe": True}


def _type_of(kind: Any) -> str:
    if isinstance(kind, dict):
        return "list of struct"
    return f"list of {kind[0]}" if isinstance(kind, list) else str(kind)


def _described(kind: Any, comment: str) -> str:
    if not isinstance(kind, dict):
        return comment
    fields = (
        f"{name} ({_type_of(each)}{f': {text}' if text else ''})" for name, (each, text) in kind.items()
    )
    return f"{comment + ': ' if comment else ''}{'; '.join(fields)}"


def _complete(_app: Sphinx, env: BuildEnvironment) -> None:
    """Every operator, sensor and deployment has its how-to, every check, cause and action its row, every
    command its section."""
    from airflow_flink_iceberg import operators, sensors
    from airflow_flink_iceberg.checks import CHECK_TYPES
    from airflow_flink_iceberg.cli.main import _COMMANDS
    from airflow_flink_iceberg.model.decision import Cause
    from airflow_flink_iceberg.model.ledger import LedgerAction

    how_tos = _labels(env)
    wanted = [f"howto/operator:{name}" for name in operators.__all__]
    wanted += [f"howto/sensor:{name}" for name in sensors.__all__]
    wanted += [
        f"howto/deployment:{name}" for name in ("SqlDeployment", "JarDeployment", "ExternalDeployment")
    ]
    for label in wanted:
        if label.lower() not in how_tos:
            _log.warning("there is no how-to %s", label)
    _mentions(env, "checks", (f"{name}(" for name in CHECK_TYPES))
    _mentions(env, "refusals", (f"`{cause}`" for cause in Cause))
    _mentions(env, "ledger", (f"`{action}`" for action in LedgerAction))
    _mentions(env, "cli", (f"flink-iceberg {name}" for name in _COMMANDS))


def _labels(env: BuildEnvironment) -> set[str]:
    return {name.lower() for name in env.get_domain("std").anonlabels}  # type: ignore[attr-defined]


def _mentions(env: BuildEnvironment, page: str, words: Iterable[str]) -> None:
    text = env.doc2path(page).read_text(encoding="utf-8")
    for word in words:
        if word not in text:
            _log.warning("%s.md does not mention %s", page, word, location=page)


def _table(head: Sequence[str], widths: Sequence[int], rows: Sequence[Sequence[nodes.Node]]) -> nodes.table:
    group = nodes.tgroup("", cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", _row([_text(cell) for cell in head]))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", group)


def _row(cells: Iterable[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def _text(text: str) -> nodes.paragraph:
    return nodes.paragraph("", re.sub(r"\s+", " ", text.replace("``", "")))


def _code(text: str) -> nodes.paragraph:
    return nodes.paragraph("", "", nodes.literal("", text))
