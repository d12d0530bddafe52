"""The page's part about the checks: worst first, evidence folded, and never more bytes than it is given."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from airflow_flink_iceberg.integrity.report.advice import next_step
from airflow_flink_iceberg.integrity.report.content import Report, spoken_counts
from airflow_flink_iceberg.integrity.report.markup import anchor, plain, rows, shortened, text, word
from airflow_flink_iceberg.integrity.report.text import MARKS, PROVEN_BY, printable
from airflow_flink_iceberg.model.result import CheckResult, Outcome

_EVIDENCE = 3_000
_OPEN = 3
_FOR_NAMES = 0.3
"""The share of the bytes that is kept for those results that only get one line."""


def checks_section(report: Report, budget: int) -> str:
    """All results, in at most ``budget`` bytes: first whole, then a line each, then how many there are."""
    results = report.results
    if report.checks is None:
        return ""
    head = f'<section id="checks"><h2>Checks <small>{spoken_counts(results)}</small></h2>{_bar(results)}'
    cards, rest = _cards(results, report.checks.table, int(budget * (1 - _FOR_NAMES)) - len(head))
    bad = [card for result, card in cards if result.outcome is not Outcome.PASS]
    good = [card for result, card in cards if result.outcome is Outcome.PASS]
    passed = f'<details class="group"{"" if bad or rest else " open"}><summary>{len(good)} passed</summary>'
    shown = [*bad, *([passed, *good, "</details>"] if good else [])]
    return head + "".join(shown) + _lines(rest, int(budget * _FOR_NAMES)) + "</section>"


def _bar(results: Sequence[CheckResult]) -> str:
    """The outcomes' shares; the heading beside it says the same in words."""
    counts = Counter(result.outcome for result in results)
    ordered = sorted(counts, key=lambda outcome: outcome.rank)
    parts = "".join(f'<i class="{outcome.value}" style="flex:{counts[outcome]}"></i>' for outcome in ordered)
    return f'<div class="bar" aria-hidden="true">{parts}</div>'


def _cards(
    results: Sequence[CheckResult], table: str, budget: int
) -> tuple[list[tuple[CheckResult, str]], Sequence[CheckResult]]:
    """As many results as fit, and the others."""
    cards: list[tuple[CheckResult, str]] = []
    anchors: Counter[str] = Counter()
    for number, result in enumerate(results):
        card = _card(result, _anchor(result, anchors), table, is_open=number < _OPEN and not result.success)
        budget -= len(card.encode())
        if budget < 0:
            return cards, results[number:]
        cards.append((result, card))
    return cards, ()


def _anchor(result: CheckResult, used: Counter[str]) -> str:
    """The anchor of its name; a second one of the name gets a number."""
    name = anchor(result.name)
    used[name] += 1
    return name if used[name] == 1 else f"{name}-{used[name]}"


def _card(result: CheckResult, place: str, table: str, *, is_open: bool) -> str:
    step = next_step(result)
    has_own_step = step and step != result.description
    facts = rows(
        [
            ("expected", result.expected),
            ("actual", result.actual),
            ("proven by", PROVEN_BY.get(result.tier, result.tier)),
            ("table", None if result.table == table else result.table),
            ("column", result.column),
        ]
    )
    return (
        f'<details class="check {result.counts_as.value}" id="{place}"{" open" if is_open else ""}>'
        f"<summary>{_word(result)}<b>{text(result.name, 120)}</b>"
        f'<span class="actual">{text(result.actual, 200) if result.actual is not None else ""}</span></summary>'
        + (f"<p>{text(result.description, 1_500)}</p>" if result.description else "")
        + (f'<p class="next"><b>Next:</b> {plain(step, 500)}</p>' if has_own_step else "")
        + f'<dl class="ids">{facts}</dl>{_evidence(result)}</details>'
    )


def _word(result: CheckResult) -> str:
    """The result's own outcome, in the colour of what it counts as."""
    if result.counts_as is result.outcome:
        return word(result.outcome)
    mark = f"{MARKS[result.outcome]} {result.outcome.value}"
    return f'<span class="word {result.counts_as.value}">{mark}<small>a warning</small></span>'


def _evidence(result: CheckResult) -> str:
    document = {
        name: dict(items)
        for name, items in (("evidence", result.evidence), ("params", result.params))
        if items
    }
    if not document:
        return ""
    pretty = json.dumps(document, indent=1, default=str, ensure_ascii=False)
    if len(pretty) > _EVIDENCE:
        pretty = pretty[:_EVIDENCE] + "\n... the JSON report has the rest"
    lines = "\n".join(plain(line, _EVIDENCE) for line in pretty.split("\n"))
    return f"<details><summary>Evidence</summary><pre>{lines}</pre></details>"


def _lines(results: Sequence[CheckResult], budget: int) -> str:
    """Those that have no room for more: a line each, and the number of the others."""
    if not results:
        return ""
    shown: list[str] = []
    for line in _each_line(results):
        budget -= len(line.encode())
        if budget < 0:
            break
        shown.append(line)
    left = results[len(shown) :]
    more = (
        f"<p>And {len(left):,} more ({spoken_counts(left)}): the JSON report has them all.</p>"
        if left
        else ""
    )
    return (
        f'<details class="group"><summary>{len(results):,} more</summary><ul class="short">{"".join(shown)}</ul>{more}'
        "</details>"
    )


def _each_line(results: Sequence[CheckResult]) -> Iterator[str]:
    for result in results:
        found = printable(shortened(str(result.actual or ""), 60))
        yield f"<li>{_word(result)} {text(result.name, 80)} {text(found, 120)}</li>"
