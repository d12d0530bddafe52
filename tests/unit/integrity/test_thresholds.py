"""Thresholds as dbt writes them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_flink_iceberg import checks
from airflow_flink_iceberg.checks.thresholds import (
    count_threshold,
    duration_threshold,
    number_threshold,
    outcome_of,
    seconds,
    spoken_seconds,
)
from airflow_flink_iceberg.model import Outcome
from airflow_flink_iceberg.model.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "measured", "is_met"),
    [
        ("> 10m", 600.0, False),
        ("> 10m", 600.1, True),
        (">= 10m", 600.0, True),
        ("<5s", 4.9, True),
        ("<= 1.5h", 5_401, False),
        ("= 2d", 172_800, True),
        ("!= 1ms", 0.001, False),
    ],
)
def test_a_duration_is_compared_in_seconds(text: str, measured: float, is_met: bool) -> None:
    assert duration_threshold("commit_lag error_if", text).is_met(measured) is is_met


@pytest.mark.parametrize("text", ["10m", "> 10", "> m", "> -1m", "> 10 weeks", "", "> 10m and < 5m"])
def test_what_is_no_duration_threshold_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"comparison such as '> 10m'"):
        checks.commit_lag(error_if=text)
    with pytest.raises(InvalidValue, match=r"freshness warn_if"):
        checks.freshness(warn_if=text)


def test_counts_have_no_unit() -> None:
    assert count_threshold("x", "> 100").is_met(101)
    with pytest.raises(InvalidValue, match=r"comparison such as '> 100'"):
        checks.stranded_manifests(error_if="> 10m")


@pytest.mark.parametrize(
    "kind", ["files_exist", "duplicate_files", "stranded_manifests", "freshness", "commit_lag"]
)
def test_a_check_that_could_never_fail_is_refused(kind: str) -> None:
    with pytest.raises(InvalidValue, match="could never fail or warn: give warn_if or error_if"):
        checks.parse(f"{kind}:error_if=none")
    unit = "m" if kind in ("freshness", "commit_lag") else ""
    with pytest.raises(InvalidValue, match="error_if could never be met"):
        checks.parse(f"{kind}:error_if=< 0{unit}")
    (kept,) = checks.parse(f"{kind}:error_if=none,warn_if=> 0{unit}")
    assert kept.name == kind


def test_a_sample_of_no_file_is_refused() -> None:
    with pytest.raises(InvalidValue, match="files_exist sample has to be at least 1"):
        checks.files_exist(sample=0)


def test_numbers_are_compared_by_all_their_digits() -> None:
    limit = number_threshold("sql error_if", "> 9007199254740992")
    assert limit.is_met(9_007_199_254_740_993)
    assert not limit.is_met(9_007_199_254_740_992)
    assert number_threshold("x", "= 0.1").is_met(Decimal("0.1"))
    assert not number_threshold("x", "= 0.1").is_met(Decimal("0.1000000000000000055"))


def test_error_comes_before_warning() -> None:
    warn, error = duration_threshold("x", "> 1m"), duration_threshold("x", "> 2m")
    assert outcome_of(30, warn, error) is Outcome.PASS
    assert outcome_of(90, warn, error) is Outcome.WARN
    assert outcome_of(150, warn, error) is Outcome.FAIL
    assert outcome_of(150, None, None) is Outcome.PASS


def test_durations_are_read_and_spoken() -> None:
    assert seconds("x", "1.5h") == 5_400
    assert spoken_seconds(93_784) == "1d 2h 3m 4s"
    assert (spoken_seconds(0.2), spoken_seconds(60)) == ("0s", "1m")
    with pytest.raises(InvalidValue, match="such as 90s"):
        checks.event_time("at", tolerance="soon")


def test_text_form_of_a_threshold_and_a_sample() -> None:
    assert checks.parse("commit_lag:error_if=>= 10m,warn_if=> 5m") == (
        checks.commit_lag(error_if=">= 10m", warn_if="> 5m"),
    )
    quiet = checks.freshness(error_if=None, warn_if="> 1h")
    assert checks.parse("freshness:error_if=none,warn_if=> 1h") == (quiet,)
    assert checks.parse("files_exist:sample=all") == (checks.files_exist(sample=None),)
    assert checks.parse("files_exist:sample=7") == (checks.files_exist(sample=7),)
    text = (
        "state_matches_table:partition_column=p,offset_column=o,rows=one_to_one,settle=rows,first_offset=none"
    )
    assert checks.parse(text) == (
        checks.state_matches_table("p", "o", rows="one_to_one", settle="rows", first_offset=None),
    )
    assert checks.parse("kafka_offsets:partition_column=p,offset_column=o,max_files=3") == (
        checks.kafka_offsets("p", "o", max_files=3),
    )
    with pytest.raises(InvalidValue, match="at least 1"):
        checks.kafka_offsets("p", "o", max_files=0)
    with pytest.raises(InvalidValue, match="gap, bounds, rows"):
        checks.state_matches_table("p", "o", settle="all")


def test_every_check_has_a_runner_of_its_name() -> None:
    import importlib

    for kind in checks.CHECK_TYPES:
        runner = importlib.import_module(f"airflow_flink_iceberg.integrity.runners.{kind}")
        assert callable(runner.run)
