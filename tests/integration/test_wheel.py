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

SOURCE = Path(__file__).parents[2]
PACKAGE = "airflow_flink_iceberg"

Printed = subprocess.CompletedProcess[str]
Run = Callable[..., Printed]


def run(command: list[str], directory: Path, environment: dict[str, str] | None = None) -> Printed:
    """Run a command; fail with what it printed if it fails."""
    result = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=90, check=False
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
    table: list[dict[str, str]] = json.loads(printed.stdout)
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
    return lambda *arguments: run([str(python), *arguments], home, environment)


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
