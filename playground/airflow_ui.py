"""Airflow with its UI beside a stack: webserver, scheduler, triggerer and DAG processor, without a login, on loopback.

``airflow standalone`` leaves its four children behind when it is killed. So a watcher of our own owns their session,
and ends all of it when it is told to, or when the process that started it is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from playground import ports
from playground.airflow_env import REPOSITORY, airflow_environment, migrate
from playground.errors import NotReadyError
from playground.stack import Stack
from playground.watcher import GRACE

_READY_TIMEOUT = 180.0
_POLL_INTERVAL = 0.5
PORTS = ("api", "worker_logs", "trigger_logs")


class AirflowUi:
    """``start`` returns the UI's address once it answers; ``stop`` ends all of it, and may be called again."""

    def __init__(self, stack: Stack, port: int | None = None) -> None:
        self._stack = stack
        self._wanted = {"api": port} if port else {}
        self._watcher: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Raises `BusyPortError` for a wanted port, `NotReadyError` with the log's path."""
        chosen = ports.choose(PORTS, wanted=self._wanted, preferred={"api": 8080})
        url = f"http://127.0.0.1:{chosen['api']}"
        migrate(self._stack)
        log = self._stack.directory / "airflow" / "standalone.log"
        with log.open("w") as output:
            self._watcher = subprocess.Popen(
                watched("standalone"),
                env={**airflow_environment(self._stack), **settings(url, chosen)},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                start_new_session=True,
            )
        deadline = time.monotonic() + _READY_TIMEOUT
        while not _answers(f"{url}/api/v2/monitor/health"):
            if self._watcher.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise NotReadyError(f"Airflow's UI did not answer at {url}; its log is {log}.")
            time.sleep(_POLL_INTERVAL)
        return url

    def stop(self) -> None:
        """Tell the watcher, which ends the group, and wait for it."""
        if self._watcher is None:
            return
        if self._watcher.stdin:
            self._watcher.stdin.close()
        self._watcher.wait(GRACE + 10)
        self._watcher = None


def watched(*arguments: str) -> list[str]:
    """An ``airflow`` command that is ended, with all it starts, once our end of its standard input is closed."""
    return [sys.executable, "-m", "playground.watcher", sys.executable, "-m", "airflow", *arguments]


def settings(url: str, chosen: dict[str, int]) -> dict[str, str]:
    """Airflow's configuration for its servers: ``url`` is the API's, ``chosen`` has a port for each of ``PORTS``."""
    return {
        # standalone starts its parts by the name `airflow`.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(chosen["api"]),
        # Set only the port, and every task asks the execution API at the default one.
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(chosen["worker_logs"]),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(chosen["trigger_logs"]),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    }


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
