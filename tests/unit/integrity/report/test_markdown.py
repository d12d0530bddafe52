"""The Markdown, read by a parser that knows tables: others' texts stay text, and every check has its row."""

from __future__ import annotations

from itertools import pairwise

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from airflow_flink_iceberg.integrity.report.content import Report
from airflow_flink_iceberg.integrity.report.markdown import code, markdown_report
from airflow_flink_iceberg.model import CheckReport, Outcome, TimelineEvent
from tests.support.reports import HOSTILE, MIXED, hostile_checks, restart, result

# What others write never makes one of these.
FORBIDDEN = {
    "html_block",
    "html_inline",
    "link_open",
    "image",
    "fence",
    "code_block",
    "blockquote_open",
    "hr",
}


def parsed(text: str) -> list[Token]:
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [token for block in tokens for token in [block, *(block.children or [])]]


def cells(tokens: list[Token]) -> list[list[str]]:
    """The text of each row's cells."""
    found: list[list[str]] = []
    for token, following in pairwise(tokens):
        if token.type == "tr_open":
            found.append([])
        if token.type in ("td_open", "th_open"):
            found[-1].append("".join(child.content for child in following.children or []))
    return found


def test_it_reads_as_it_is_meant() -> None:
    text = markdown_report(Report(MIXED, restart()))
    rows = cells(parsed(text))
    checks = rows[rows.index(["outcome", "check", "expected", "actual", "proven by"]) + 1 :]
    assert [row[:2] for row in checks] == [
        ["✘ fail", "kafka_offsets"],
        ["? unknown", "commit_continuity"],
        ["✘ fail", "schema_unchanged"],
        ["! warn", "restored_state"],
        ["✔ pass", "duplicate_files"],
    ]
    assert ["downtime", "0.31 s"] in rows
    assert ["new job", "b" * 32] in rows
    assert text.startswith("## ✘ FAIL\n\n1 of 5 checks of shop\\.orders")


@pytest.mark.parametrize("times", [1, 50])
def test_nothing_of_others_formats_links_or_mentions(times: int) -> None:
    event = TimelineEvent(HOSTILE * times, 1_764_065_000_100)
    text = markdown_report(Report(hostile_checks(times), restart(event), (HOSTILE,)))
    tokens = parsed(text)
    assert {token.type for token in tokens} & FORBIDDEN == set()
    assert {len(row) for row in cells(tokens)} == {2, 5}
    assert "@everyone" not in text
    assert "https://" not in text
    assert "www." not in text
    assert not {character for character in text if ord(character) < 32} - {"\n"}
    text.encode()


@pytest.mark.parametrize("value", ["a`b", "``", "`", "", " ", "a|b", "[x](y)", "<b>", "\\"])
def test_ids_survive_as_code(value: str) -> None:
    tokens = parsed(f"| a |\n| --- |\n| {code(value)} |")
    ((_,), (found,)) = cells(tokens)
    assert found.strip() == value.strip()
    assert [token.type for token in tokens].count("code_inline") == 1


def test_many_results_fit_into_a_comment_and_none_is_forgotten() -> None:
    many = [
        result(f"check_{n}", Outcome.FAIL, actual="*" * 400, expected="_" * 400, description="#" * 2_000)
        for n in range(10_000)
    ]
    text = markdown_report(Report(CheckReport("shop.orders", 1, tuple(many))))
    assert len(text) < 65_536
    assert "10,000 fail" in text
    assert "And 9,900 more (9,900 fail)" in text
