"""What Airflow's provider discovery reads: one dictionary of constants.

Nothing is imported here. An import error or a wrong ``package-name`` in this module would break discovery for
every provider of the installation, not only for this one.
"""

from __future__ import annotations

from typing import Any

_FLINK = "Apache Flink with Apache Iceberg"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the form of Airflow's ``provider_info.schema.json``.

    ``package-name`` equals the distribution's name. The connection type ``iceberg`` belongs to the official
    Iceberg provider and is not registered again.
    """
    return {
        "package-name": "airflow-flink-iceberg",
        "name": _FLINK,
        "description": (
            "Restart Flink jobs that write Iceberg tables; prove that no row was lost or doubled, "
            "or say what cannot be proven."
        ),
        "integrations": [
            {
                "integration-name": _FLINK,
                "external-doc-url": "https://flink.apache.org/",
                "tags": ["apache", "software"],
            }
        ],
        "operators": [
            _modules(
                "operators",
                "stop",
                "savepoint",
                "start",
                "restart",
                "cancel",
                "preflight",
                "restore_point",
                "rollback",
                "recover",
                "integrity",
                "safe_restart",
                "safe_restart_report",
            )
        ],
        "sensors": [_modules("sensors", "commit", "job", "checkpoint")],
        "triggers": [_modules("triggers", "stop", "savepoint", "commit", "job", "checkpoint")],
        "hooks": [_modules("hooks", "flink")],
        "connection-types": [_flink_connection()],
        "extra-links": [
            f"airflow_flink_iceberg.links.{name}"
            for name in ("FlinkJobLink", "FlinkCheckpointsLink", "FlinkExceptionsLink", "ReportLink")
        ],
    }


def _modules(package: str, *names: str) -> dict[str, Any]:
    return {
        "integration-name": _FLINK,
        "python-modules": [f"airflow_flink_iceberg.{package}.{name}" for name in names],
    }


def _flink_connection() -> dict[str, Any]:
    return {
        "connection-type": "flink",
        "hook-class-name": "airflow_flink_iceberg.hooks.flink.FlinkHook",
        "hook-name": "Flink",
        "ui-field-behaviour": {
            "hidden-fields": [],
            "relabeling": {
                "host": "REST host",
                "port": "REST port",
                "schema": "Scheme",
                "login": "User at the ingress",
                "password": "Password at the ingress",
            },
            "placeholders": {
                "host": "flink.example.com, with a path prefix where the ingress has one",
                "port": "8081",
                "schema": "http or https",
                "login": "only for basic authentication",
                "extra": '{"sql_gateway_url": "http://gateway.example.com:8083"}',
            },
        },
        "conn-fields": _connection_fields(),
    }


def _connection_fields() -> dict[str, dict[str, Any]]:
    # `format: password` is what makes the form hide a value; only strings can carry it, so the two JSON
    # objects that may hold secrets are typed as text.
    text = {"type": ["string", "null"]}
    secret = {"type": ["string", "null"], "format": "password"}
    return {
        "ui_url": _field("Web UI address", text, "The Flink UI as people's browsers reach it; links use it."),
        "sql_gateway_url": _field("SQL Gateway address", text, "Needed for jobs that are SQL scripts."),
        "verify": _field(
            "TLS verification",
            {"type": ["string", "null"], "default": "true"},
            "true, false, or the path of a CA bundle on the workers.",
        ),
        "client_cert": _field("Client certificate", text, "Path on the workers, for mutual TLS."),
        "client_key": _field("Client key", text, "Path on the workers, for mutual TLS."),
        "token": _field("Bearer token", secret, "Sent like the extra headers; not together with a user."),
        "headers": _field(
            "Extra headers",
            secret,
            "A JSON object of header names and values, sent to the REST host; to the SQL Gateway only if it has the "
            "same scheme, host and port.",
        ),
        "timeout": _field(
            "Request timeout",
            {"type": ["number", "null"], "default": 10, "minimum": 0.1},
            "Seconds per request.",
        ),
        "savepoint_roots": _field(
            "Savepoint roots",
            text,
            "Directories, separated by commas, that savepoints may come from and go to. Empty: the cluster's own.",
        ),
        "storage": _field(
            "Storage of savepoints",
            secret,
            "A JSON object of file system properties, where they differ from the catalog's.",
        ),
        "kafka": _field(
            "Kafka",
            secret,
            "A JSON object of Kafka's properties (bootstrap.servers, security.protocol, sasl.mechanism, sasl.username, "
            "sasl.password, ssl.ca.location) for a look at a job's topics, where they differ from its script's.",
        ),
    }


def _field(label: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": schema}
