"""A DAG file is imported again and again, so what it imports of us must be cheap: nothing that does the work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.imports import BASE, package_imports, python

HEAVY = ("pyiceberg", "pyarrow", "requests", "numpy", "msgspec", "duckdb", "polars", "sqlalchemy")
OURS_AT_WORK = tuple(
    f"airflow_flink_iceberg.{name}" for name in ("flink", "iceberg", "restart", "integrity", "cli")
)
ALL_PUBLIC = [
    f"import airflow_flink_iceberg.{name}"
    for name in ("model", "operators", "sensors", "triggers", "checks", "links", "hooks", "templating")
]


def modules_after(statements: list[str], home: Path) -> set[str]:
    code = "\n".join([*statements, "import json, sys", "print(json.dumps(sorted(sys.modules)))"])
    return set(json.loads(python(code, str(home)).splitlines()[-1]))


def under(names: tuple[str, ...], modules: set[str]) -> set[str]:
    return {module for module in modules if any(f"{module}.".startswith(f"{name}.") for name in names)}


@pytest.fixture(scope="module")
def airflow_alone(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    return modules_after([BASE], tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("statements", [package_imports(), ALL_PUBLIC], ids=["example-dag", "all-public"])
def test_a_dag_file_imports_nothing_that_works(
    statements: list[str], airflow_alone: set[str], tmp_path: Path
) -> None:
    assert statements
    added = modules_after([BASE, *statements], tmp_path) - airflow_alone

    assert "airflow_flink_iceberg.model" in added
    assert under(HEAVY, added) == set()
    assert under(OURS_AT_WORK, added) == set()


def test_the_values_alone_import_no_airflow(tmp_path: Path) -> None:
    modules = modules_after(["import airflow_flink_iceberg.model, airflow_flink_iceberg.checks"], tmp_path)

    assert under(("airflow", *HEAVY, *OURS_AT_WORK), modules) == set()


def test_what_does_the_work_would_be_noticed(airflow_alone: set[str], tmp_path: Path) -> None:
    added = modules_after([BASE, "import airflow_flink_iceberg.iceberg.catalog"], tmp_path) - airflow_alone

    assert "pyiceberg" in added
    assert "airflow_flink_iceberg.iceberg.catalog" in under(OURS_AT_WORK, added)
