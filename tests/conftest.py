"""The environment of every test: an Airflow of its own, in a directory that goes away with the session.

Airflow reads its environment on the first import, so it is set here, while pytest loads this file. What the
shell says about another Airflow is dropped first: no test may touch a real one's database or connections.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="airflow-flink-iceberg-tests-"))


def _set_environment() -> None:
    for name in list(os.environ):
        if name.startswith(("AIRFLOW_", "PYICEBERG_")):
            del os.environ[name]
    (AIRFLOW_HOME / "dags").mkdir()
    os.environ.update(
        {
            "AIRFLOW_HOME": str(AIRFLOW_HOME),
            "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(AIRFLOW_HOME / "dags"),
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{AIRFLOW_HOME}/airflow.db",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(AIRFLOW_HOME / "logs"),
            # PyIceberg looks for its own configuration here before the home directory.
            "PYICEBERG_HOME": str(AIRFLOW_HOME),
            # All servers of the tests are on this machine; a proxy of the shell must not see their requests.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
    )
    # Processes that the tests start would import everything 2.4 times slower.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


_set_environment()


def pytest_unconfigure() -> None:
    """Remove Airflow's home when the session is over."""
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_db() -> Path:
    """Migrate Airflow's database on first use and return its home; only tests that run tasks need it."""
    migrated = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if migrated.returncode:
        pytest.fail(f"airflow db migrate failed:\n{migrated.stdout}\n{migrated.stderr}", pytrace=False)
    return AIRFLOW_HOME
