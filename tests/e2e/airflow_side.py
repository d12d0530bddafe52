"""The connections of this process's Airflow to the real stack."""

from __future__ import annotations

import json
import os
from typing import Any

from playground.airflow_env import airflow_environment
from playground.stack import Stack

CONNECTIONS = ("AIRFLOW_CONN_FLINK_DEFAULT", "AIRFLOW_CONN_ICEBERG_DEFAULT")


def connect(stack: Stack) -> None:
    """Point the default connections of this process's Airflow at the stack."""
    environment = airflow_environment(stack)
    os.environ.update({name: environment[name] for name in CONNECTIONS})


def set_connection(name: str, **fields: Any) -> str:
    """One more connection; returns its id."""
    os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(fields)
    return name


def flink_fields(stack: Stack, **changes: Any) -> dict[str, Any]:
    """The stack's flink connection with some fields changed."""
    fields: dict[str, Any] = json.loads(airflow_environment(stack)[CONNECTIONS[0]])
    return {**fields, **changes}


def iceberg_fields(stack: Stack, **changes: Any) -> dict[str, Any]:
    """The stack's iceberg connection with some keys of its extra changed."""
    fields: dict[str, Any] = json.loads(airflow_environment(stack)[CONNECTIONS[1]])
    return {**fields, "extra": {**fields["extra"], **changes}}
