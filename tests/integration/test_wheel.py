"""What users install is the wheel, so it is the wheel that Airflow has to discover, not the source tree.

The wheel goes into an environment of its own. Its dependencies come from the environment that runs the tests,
named by a path file: such a path is searched, but its own path files are not read, so an editable
installation of the source tree stays invisible.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_flink_iceberg.get_provider_info import get_provider_info

SOURCE = Path(__file__).parents[2]
PACKAGE = "airflow_flink_iceberg"
NAME = "airflow-flink-iceberg"

Printed = subprocess.CompletedProcess[str]
Run = Callable[..., Printed]


def run(command: list[str], directory: Path, environment: dict[str, str] | None = None) -> Printed:
    """Run a command; fail with what it printed if it fails."""
    result = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    if result.returncode:
        pytest.fail(
            f"{command} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}", pytrace=False
        )
    return result


def rows(printed: Printed) -> list[dict[str, str]]:
    """The table that an ``airflow providers`` command printed as JSON, if it complained about nothing."""
    for complaint in ("Traceback", "ImportError", "ModuleNotFoundError", "Error when importing"):
        assert complaint not in printed.stderr + printed.stdout
    # A warning of Airflow's own may come before it.
    table: list[dict[str, str]] = json.loads(printed.stdout[printed.stdout.index("[{") :])
    return table


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)], SOURCE)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def run_installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs ``python ARGUMENTS`` in an environment with the wheel."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home / "venv", with_pip=False, symlinks=True)
    python = home / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--offline"]
    run([*install, "--python", str(python), str(wheel)], home)
    where = run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], home)
    Path(where.stdout.strip(), "dependencies.pth").write_text(
        sysconfig.get_path("purelib") + "\n", encoding="utf-8"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "COLUMNS": "200",
    }

    def run_python(*arguments: str, **more: str) -> Printed:
        return run([str(python), *arguments], home, {**environment, **more})

    return run_python


def test_wheel_holds_the_whole_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    source = [
        path for path in (SOURCE / PACKAGE).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert sorted(names) == sorted(str(path.relative_to(SOURCE)) for path in source)
    assert f"{PACKAGE}/py.typed" in names


def test_wheel_carries_its_license(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        licenses = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert len(licenses) == 1
        assert "Apache License" in archive.read(licenses[0]).decode()


def test_the_package_comes_from_the_wheel(run_installed: Run) -> None:
    printed = run_installed("-c", f"import {PACKAGE}, sys; print({PACKAGE}.__file__, sys.prefix)")
    file, prefix = printed.stdout.split()
    assert Path(file).is_relative_to(prefix)


def test_the_command_starts(run_installed: Run) -> None:
    command = (
        "from importlib.metadata import entry_points as e; e(name='flink-iceberg')['flink-iceberg'].load()"
    )
    run_installed("-c", command)


def test_airflow_lists_the_provider(run_installed: Run) -> None:
    providers = rows(run_installed("-m", "airflow", "providers", "list", "-o", "json"))
    ours = [entry for entry in providers if entry["package_name"] == "airflow-flink-iceberg"]
    assert len(ours) == 1
    # One broken provider info ends discovery for all, so another provider has to be there as well.
    assert any(entry["package_name"] == "apache-airflow-providers-apache-iceberg" for entry in providers)


def test_airflow_imports_the_hook_of_the_connection_type(run_installed: Run) -> None:
    hooks = rows(run_installed("-m", "airflow", "providers", "hooks", "-o", "json"))
    (flink,) = [entry for entry in hooks if entry["connection_type"] == "flink"]
    assert flink["class"] == f"{PACKAGE}.hooks.flink.FlinkHook"
    assert flink["package_name"] == "airflow-flink-iceberg"


def test_airflow_knows_the_links(run_installed: Run) -> None:
    links = rows(run_installed("-m", "airflow", "providers", "links", "-o", "json"))
    ours = {entry["extra_link_class_name"] for entry in links if PACKAGE in entry["extra_link_class_name"]}
    names = ("FlinkJobLink", "FlinkCheckpointsLink", "FlinkExceptionsLink", "ReportLink")
    assert ours == {f"{PACKAGE}.links.{name}" for name in names}


def test_airflow_knows_the_fields_of_the_connection(run_installed: Run) -> None:
    widgets = rows(run_installed("-m", "airflow", "providers", "widgets", "-o", "json"))
    (connection,) = get_provider_info()["connection-types"]
    assert {entry["connection_parameter_name"] for entry in widgets if entry["package_name"] == NAME} == {
        f"extra__flink__{field}" for field in connection["conn-fields"]
    }


def list_dags(run_installed: Run, database: Path, folder: Path) -> Printed:
    return run_installed(
        "-m", "airflow", "dags", "list", "--local", "-o", "json",
        AIRFLOW__CORE__DAGS_FOLDER=str(folder),
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{database}/airflow.db",
    )  # fmt: skip


def test_airflow_lists_the_example_dags_without_an_import_error(run_installed: Run, airflow_db: Path) -> None:
    listed = list_dags(run_installed, airflow_db, SOURCE / "dags")
    assert "Failed to load" not in listed.stderr + listed.stdout
    assert {entry["dag_id"] for entry in rows(listed)} == {
        file.stem for file in (SOURCE / "dags").glob("*.py")
    }


def test_a_dag_that_cannot_be_imported_would_be_noticed(
    run_installed: Run, airflow_db: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(f"from airflow.sdk import DAG\nimport {PACKAGE}.no_such_module\n")
    listed = list_dags(run_installed, airflow_db, tmp_path)
    assert "Failed to load" in listed.stderr + listed.stdout
