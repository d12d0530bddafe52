"""Checks as values: comparable, round trips, text form, and refusals that say what is known."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from airflow_flink_iceberg import checks
from airflow_flink_iceberg.checks import check_from_dict, default_checks, kafka_offsets, parse
from airflow_flink_iceberg.model import Offsets, Severity
from airflow_flink_iceberg.model.errors import InvalidValue

ALL = [
    checks.restored_state(),
    checks.commit_continuity(other_writers=["a" * 32], severity="warn"),
    checks.duplicate_files(severity="info"),
    kafka_offsets("p", "o", offsets="dense", first_offset=None, end_offsets={1: 3, 0: 100}),
    kafka_offsets("p", "o", max_files=10),
    kafka_offsets(
        "p",
        "o",
        engine=checks.Engine("trino_lake", catalog="lake", dialect=checks.Dialect.TRINO),
        tier="engine",
    ),
    checks.state_matches_table("p", "o", rows="one_to_one", offsets="dense", settle="rows"),
    checks.lineage(other_writers=["b" * 32]),
    checks.single_writer(other_writers=["b" * 32]),
    checks.row_arithmetic(severity="info"),
    checks.commit_lag(warn_if="> 1m", error_if="> 2m"),
    checks.freshness(error_if=None, warn_if="> 1h"),
    checks.files_exist(sample=5),
    checks.stranded_manifests(warn_if="> 0", error_if="> 9"),
    checks.event_time("at", tolerance="2m"),
    checks.schema_unchanged(),
    checks.key_unique("id"),
    checks.key_unique(["a", "b"], engine="flink", tier="engine", memory_mb=64, examples=3),
    checks.sequence("n"),
    checks.sequence("n", ["shop", "till"], values="sparse", engine="duckdb"),
    checks.sql("SELECT 1", engine="trino_lake", expected=1),
    checks.sql("SELECT 1", engine="flink", warn_if="> 0", error_if="> -3", severity="warn"),
]


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.name)
def test_a_check_survives_json_and_compares_by_content(check: checks.Check) -> None:
    copy = check_from_dict(json.loads(json.dumps(check.to_dict())))
    assert copy == check
    assert hash(copy) == hash(check)
    assert type(copy) is type(check)


REQUIRED = {
    "event_time": "column=at",
    "kafka_offsets": "partition_column=p,offset_column=o",
    "key_unique": "columns=id",
    "sequence": "column=n",
    "sql": "engine=duckdb,statement=SELECT 1",
    "state_matches_table": "partition_column=p,offset_column=o",
}


@pytest.mark.parametrize("name", checks.CHECK_TYPES)
def test_a_check_typed_has_the_defaults_of_the_one_written(name: str) -> None:
    """Without its threshold a stalled sink would pass on the command line, and fail in a DAG."""
    given = dict(pair.split("=", 1) for pair in REQUIRED.get(name, "").split(",") if pair)
    assert parse(f"{name}:{REQUIRED.get(name, '')}") == (getattr(checks, name)(**given),)
    written = {"kind": name, **given}
    assert check_from_dict(written) == getattr(checks, name)(**given)


def test_checks_with_different_arguments_differ() -> None:
    assert kafka_offsets("p", "o") != kafka_offsets("p", "o", first_offset=None)
    assert checks.duplicate_files() != checks.duplicate_files(severity="warn")
    assert len({checks.duplicate_files(), checks.restored_state(), checks.commit_continuity()}) == 3


def test_text_form() -> None:
    text = "kafka_offsets:partition_column=p, offset_column=o,offsets=dense,first_offset=none,"
    text += "end_offsets=0:100/1:3,severity=warn"
    assert parse(text) == (
        kafka_offsets(
            "p",
            "o",
            offsets=Offsets.DENSE,
            first_offset=None,
            end_offsets={0: 100, 1: 3},
            severity=Severity.WARN,
        ),
    )
    assert parse("default") == default_checks()
    assert default_checks(with_restart=False) == default_checks()[1:]
    assert parse("duplicate_files") == (checks.duplicate_files(),)
    assert parse("commit_continuity:other_writers=aa/bb") == (
        checks.commit_continuity(other_writers=("aa", "bb")),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kafka_offset:partition_column=p", "no check 'kafka_offset'; known are default, commit_continuity"),
        ("", "no check ''"),
        ("kafka_offsets", "partition_column"),
        ("kafka_offsets:partition_column=p", "offset_column"),
        ("kafka_offsets:partition_column=p,offset_column=p", "name two columns"),
        ("kafka_offsets:partition_column=p,offset_column=o,rows=1", "not key=value with a key of"),
        ("kafka_offsets:partition_column=p,partition_column=q,offset_column=o", "not key=value"),
        ("kafka_offsets:partition_column=p,offset_column=o,offsets=maybe", "dense, sparse, unknown"),
        ("kafka_offsets:partition_column=p,offset_column=o,first_offset=-1", "whole number from 0"),
        ("kafka_offsets:partition_column=p,offset_column=o,end_offsets=100", "partition:end"),
        ("duplicate_files:severity=fatal", "error, warn, info"),
        ("default:severity=warn", "takes no arguments"),
        ("key_unique", "needs columns"),
        ("key_unique:columns=a+a", "names a column twice"),
        ("key_unique:columns=a,examples=21", "at most 20"),
        ("key_unique:columns=a,memory_mb=0", "at least 1"),
        ("sequence:column=n,partition_by=n", "name two columns"),
        ("sequence:column=n,values=odd", "dense, sparse, unknown"),
        ("sql:engine=duckdb,error_if=10,statement=SELECT 1", "has to be a comparison"),
        ("kafka_offsets:partition_column=p,offset_column=o,tier=engine", "needs engine="),
        ("kafka_offsets:partition_column=p,offset_column=o,tier=4", "auto, rows, engine"),
        (
            "kafka_offsets:partition_column=p,offset_column=o,engine=duckdb,tier=engine,max_files=1",
            "max_files",
        ),
    ],
)
def test_what_is_typed_wrong_is_refused_with_what_is_known(text: str, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        parse(text)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InvalidValue, match="template found nothing"):
        kafka_offsets("None", "o")
    with pytest.raises(InvalidValue, match="list of strings"):
        checks.commit_continuity(other_writers="abc")
    with pytest.raises(InvalidValue, match="no check 'commit'"):
        check_from_dict({"kind": "commit"})
    with pytest.raises(InvalidValue, match="whole number"):
        kafka_offsets("p", "o", end_offsets={0: True})


def test_lists_of_columns_in_text() -> None:
    assert parse("key_unique:columns=a+b") == (checks.key_unique(["a", "b"]),)
    assert parse("sequence:column=n,partition_by=shop/till,engine=flink,tier=engine") == (
        checks.sequence("n", ("shop", "till"), engine="flink", tier="engine"),
    )


def test_an_engine_is_named_or_described() -> None:
    named = kafka_offsets("p", "o", engine="duckdb")
    assert named.engine == checks.Engine("duckdb")
    assert kafka_offsets("p", "o", engine={"name": "duckdb"}) == named
    assert parse("kafka_offsets:partition_column=p,offset_column=o,engine=duckdb") == (named,)
    for wrong in ({"timeout": 0}, {"timeout": float("inf")}, {"dialect": "oracle"}, {"prepare": "SET x = 1"}):
        with pytest.raises(InvalidValue, match=r"engine (timeout|dialect|prepare)"):
            checks.Engine("flink", **wrong)
    with pytest.raises(InvalidValue, match="template found nothing"):
        kafka_offsets("p", "o", engine="None")


def test_params_are_what_differs_from_the_defaults() -> None:
    assert kafka_offsets("p", "o", end_offsets={0: 5}).params == {
        "partition_column": "p", "offset_column": "o", "end_offsets": {"0": 5},
    }  # fmt: skip
    assert checks.duplicate_files(severity="warn").params == {}


def test_importing_the_checks_imports_nothing_heavy() -> None:
    code = (
        "import sys; import airflow_flink_iceberg.checks; "
        "print([n for n in sys.modules if n.split('.')[0] in "
        "('pyiceberg','pyarrow','numpy','requests','msgspec','sqlalchemy','airflow')])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "name", "more"),
    [
        ("key_unique", "memory_mb", {"columns": ["id"]}),
        ("key_unique", "examples", {"columns": ["id"]}),
        ("sequence", "memory_mb", {"column": "id"}),
        ("kafka_offsets", "first_offset", {"partition_column": "p", "offset_column": "o"}),
        ("kafka_offsets", "max_files", {"partition_column": "p", "offset_column": "o"}),
        ("files_exist", "sample", {}),
        ("event_time", "max_files", {"column": "at"}),
    ],
)
def test_a_number_written_as_text_is_a_number(kind: str, name: str, more: dict[str, object]) -> None:
    check = check_from_dict({"kind": kind, name: "12", **more})
    assert getattr(check, name) == 12
    assert check == check_from_dict({"kind": kind, name: 12, **more})


def test_sql_expects_one_value() -> None:
    with pytest.raises(InvalidValue, match="one value"):
        check_from_dict({"kind": "sql", "statement": "SELECT 1", "engine": "duckdb", "expected": [1]})
