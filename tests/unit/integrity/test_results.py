"""Evidence that travels: no secrets, no control characters, small; and counts that stay exact."""

from __future__ import annotations

import json

import pytest

from airflow_flink_iceberg.checks import duplicate_files, kafka_offsets
from airflow_flink_iceberg.integrity.results import REPORT_BYTES, Answer, clean, first_line, fit, listed, tidy
from airflow_flink_iceberg.model import CheckReport, Outcome


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET https://key:hunter2@host/x failed", "hunter2"),
        ("s3://bucket/a?X-Amz-Signature=hunter2&b=1 is gone", "hunter2"),
        ("s3.secret-access-key=hunter2, retry", "hunter2"),
        ("password: hunter2", "hunter2"),
        ("token = hunter2;", "hunter2"),
        ("CREATE CATALOG c WITH ('s3.secret-access-key'='hunter2', 'type'='iceberg')", "hunter2"),
        ('{"token": "hunter2"}', "hunter2"),
        ("WITH ('password' = 'it''s hunter2')", "hunter2"),
        ("WITH ('sasl.jaas.config' = 'X required password=\"hunter2\";')", "hunter2"),
        ("adls.account-key: hunter2", "hunter2"),
    ],
)
def test_secrets_are_taken_out_and_the_rest_stays(text: str, secret: str) -> None:
    assert secret not in clean(text)
    assert clean(text)[:3] == text[:3]


def test_harmless_text_is_left_alone() -> None:
    for text in (
        "offsets 0: 3..4; A:5 -> B:6",
        "is the table complete?",
        "/warehouse/db/t/data/x.parquet",
        "a ? b = c",
    ):
        assert clean(text) == text


def test_control_characters_and_length() -> None:
    assert (
        clean("a\x1b[31m\x00b\u202ec")
        == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    )
    assert len(clean("x" * 5000)) == 400


def test_first_line_of_an_error() -> None:
    assert first_line(ValueError("one\n  two")) == "one"
    assert first_line(KeyError()) == "KeyError"


def test_lists_are_capped_and_counted() -> None:
    assert listed(list(range(50))) == {"count": 50, "first": list(range(20))}
    assert listed([1], 7) == {"count": 7, "first": [1]}
    assert tidy({"a": range(50), "b": {1, 2}, "c": object()})["a"] == list(range(20))


def test_a_result_carries_what_the_check_was_asked() -> None:
    check = kafka_offsets("p", "o", severity="warn")
    result = Answer(Outcome.PASS, "fine", column="p, o", tier="rows").result(check, "shop.orders")
    assert (result.name, result.check_type, result.severity.value) == (
        "kafka_offsets",
        "kafka_offsets",
        "warn",
    )
    assert result.params == {"partition_column": "p", "offset_column": "o"}
    assert (result.table, result.tier, result.success) == ("shop.orders", "rows", True)


@pytest.mark.parametrize("text", ["y", "\N{SNOWMAN}"])
@pytest.mark.parametrize("count", [1, 12, 75])
def test_fit_shrinks_evidence_and_never_an_outcome(count: int, text: str) -> None:
    """Also where a letter takes six in JSON."""
    evidence = {str(key): [{"path": "x" * 390}] * 20 for key in range(60)}
    wide = Answer(Outcome.FAIL, text * 1500, expected="e" * 400, actual="a" * 400, evidence=evidence)
    small = Answer(Outcome.PASS, "fine")
    results = fit([*[wide.result(duplicate_files(), "t")] * count, small.result(duplicate_files(), "t")])
    assert [result.outcome for result in results] == [Outcome.FAIL] * count + [Outcome.PASS]
    document = json.dumps(CheckReport("t", 1, results).to_dict())
    assert len(document) < 48_000
    assert all((result.description or "").startswith(text * 5) for result in results[:count])


def test_what_fits_is_not_touched() -> None:
    result = Answer(Outcome.FAIL, "text", evidence={"items": list(range(20))}).result(duplicate_files(), "t")
    assert fit([result] * 10) == (result,) * 10
    assert REPORT_BYTES < 48_000
