"""``verify --engine``: the same answer from another reader, and what is missing is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_flink_iceberg.cli.main import main
from tests.integration.fakes.flink import FakeFlink
from tests.integration.fakes.gateway import FakeGateway
from tests.integration.integrity.lake import Lake

OFFSETS = "kafka_offsets:partition_column=kpart,offset_column=koff"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    made = Lake(tmp_path)
    for key, value in made.properties.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{key.upper()}", value)
    made.commit("A:1", made.offsets((0, 0, 5), (0, 4, 9)))
    return made


def verify(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    code = main(("verify", "shop.orders", "--catalog", "lake", "--json", *arguments))
    out, err = capsys.readouterr()
    return code, json.loads(out)["results"] if out else [], err


def test_duckdb_answers_what_the_rows_say(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("duckdb")
    _, (by_rows,), _ = verify(capsys, "--check", OFFSETS)
    code, results, _ = verify(
        capsys, "--engine", "duckdb", "--tier", "engine", "--check", OFFSETS, "--check",
        "key_unique:columns=kpart+koff", "--check", "sequence:column=koff,partition_by=kpart", "--check",
        "sql:engine=duckdb,error_if=> 8,statement=SELECT MAX(koff), 1 FROM {table}", "--check", "duplicate_files",
    )  # fmt: skip
    assert code == 1
    offsets, keys, numbers, own, files = results
    assert (by_rows["tier"], offsets["tier"], files["tier"]) == ("rows", "engine", "metadata")
    assert by_rows["evidence"]["duplicates"] == offsets["evidence"]["duplicates"]
    assert [keys["evidence"]["doubled"], numbers["evidence"]["doubled"]] == [1, 1]
    assert own["outcome"] == "unknown"
    assert "one column" in own["description"]


def test_flink_is_asked_through_the_gateway_after_the_scripts_catalogs(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "orders.sql"
    script.write_text(
        "SET 'x' = 'y'; CREATE CATALOG lake WITH ('type'='iceberg'); CREATE TEMPORARY TABLE s (a INT); "
        "INSERT INTO lake.shop.orders SELECT * FROM s;"
    )
    with FakeFlink() as flink, FakeGateway(flink) as gateway:
        gateway.rows = [[True]]
        code, (found,), _ = verify(
            capsys, "--gateway", gateway.url, "--sql", str(script),
            "--check", "sql:engine=flink,statement=SELECT COUNT(*) = 9 FROM {table}",
        )  # fmt: skip
    assert (code, found["outcome"]) == (0, "pass")
    statements = [statement for _, statement, _ in gateway.statements]
    pinned = f"`lake`.`shop`.`orders` /*+ OPTIONS('snapshot-id'='{lake.head()}') */"
    assert statements == [
        "CREATE CATALOG lake WITH ('type'='iceberg')",
        f"SELECT COUNT(*) = 9 FROM {pinned}",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--engine", "flink", "--tier", "engine", "--check", OFFSETS), 3, "--gateway URL"),
        (("--check", f"{OFFSETS},engine=trino_lake,tier=engine"), 3, "connection of Airflow"),
        (("--engine", "duckdb"), 2, "none of these does"),
        (("--tier", "engine", "--check", OFFSETS), 2, "needs engine="),
        (
            ("--engine", "flink", "--gateway", "http://127.0.0.1:9", "--tier", "engine", "--check", OFFSETS),
            3,
            "127",
        ),
    ],
)
def test_what_is_missing_is_said(
    lake: Lake, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, says: str
) -> None:
    got, results, err = verify(capsys, *arguments)
    assert got == code
    assert says in (results[0]["description"] if results else err)


def test_a_large_table_says_that_an_engine_would_help(
    lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_flink_iceberg.integrity.plan.MAX_ROWS", 8)
    _, (found,), _ = verify(capsys, "--check", OFFSETS)
    assert found["evidence"]["plan"].endswith(
        "more than 8 rows, which takes long: an engine could read them (engine=)"
    )
    pytest.importorskip("duckdb")
    _, (found,), _ = verify(capsys, "--engine", "duckdb", "--check", OFFSETS)
    assert (found["tier"], found["evidence"]["plan"].startswith("Tier 4, engine duckdb: 1 file")) == (
        "engine",
        True,
    )
