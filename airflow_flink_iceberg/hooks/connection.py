"""What the fields of a ``flink`` connection mean, and which of them are secret."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_flink_iceberg.hooks.secrets import mask_all, mask_properties
from airflow_flink_iceberg.model.errors import InvalidValue

if TYPE_CHECKING:
    from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint

_DEFAULT_PORT = 8081


def endpoint_of(conn_id: str, connection: Any) -> FlinkEndpoint:
    """Where the cluster is and how to speak to it.

    :raises InvalidValue: a field of the connection is not of its form; names the field, never its value.
    """
    from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint

    extra = connection.extra_dejson or {}
    return FlinkEndpoint(
        base_url(conn_id, connection),
        auth=(connection.login, connection.password or "") if connection.login else None,
        token=extra.get("token") or None,
        headers=json_object(extra, "headers"),
        verify=_verify(extra.get("verify")),
        client_cert=extra.get("client_cert") or None,
        client_key=extra.get("client_key") or None,
        timeout=_number(extra, "timeout", 10.0),
        gateway_url=extra.get("sql_gateway_url") or None,
        ui_url=extra.get("ui_url") or None,
    )


def ui_url_of(conn_id: str, connection: Any) -> str:
    """What people's browsers can reach.

    :raises InvalidValue: no http(s) address, or one with a login, which would end up in a link.
    """
    from airflow_flink_iceberg.flink.endpoint import FlinkEndpoint

    given = (connection.extra_dejson or {}).get("ui_url")
    if not given:
        return FlinkEndpoint(base_url(conn_id, connection)).url
    try:
        return FlinkEndpoint(str(given)).url
    except InvalidValue:
        raise InvalidValue(
            f"The field 'ui_url' of connection {conn_id!r} has to be http(s)://host:port/prefix, "
            "without a login or query."
        ) from None


def base_url(conn_id: str, connection: Any) -> str:
    """Scheme, host, port and path prefix, wherever in the connection they stand.

    :raises InvalidValue: no host, or one that cannot be read.
    """
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        raise InvalidValue(f"Connection {conn_id!r} has no host.")
    if "://" not in host:
        host = f"{connection.schema or 'http'}://{host}"
    try:
        parts = urlsplit(host)
        has_port = parts.port is not None
    except ValueError:
        raise InvalidValue(
            f"The field 'host' of connection {conn_id!r} has a host or port that cannot be read; it "
            "has to be a name, or http(s)://host:port/prefix."
        ) from None
    port = connection.port or (None if has_port or parts.scheme == "https" else _DEFAULT_PORT)
    netloc = parts.netloc if has_port or port is None else f"{parts.netloc}:{port}"
    return f"{parts.scheme}://{netloc}{parts.path}"


def mask_connection(connection: Any) -> None:
    """Tell Airflow's masker every secret of it."""
    extra = connection.extra_dejson or {}
    # First what needs no parsing: a field that is not of its form must not leave the others unmasked.
    mask_all([connection.password, extra.get("token")])
    mask_all(
        item
        for item in (extra.get("headers"), extra.get("storage"), extra.get("kafka"))
        if isinstance(item, str)
    )
    mask_all(json_object(extra, "headers").values())
    mask_properties(json_object(extra, "storage"))
    mask_properties(json_object(extra, "kafka"))


def json_object(extra: Mapping[str, Any], field: str) -> dict[str, str]:
    """An object that the connection form keeps as text."""
    found = extra.get(field) or {}
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except json.JSONDecodeError:
            # Its text may hold secrets, so it is not kept as the cause either.
            raise InvalidValue(f"The field {field!r} of the flink connection is not a JSON object.") from None
    if not isinstance(found, Mapping):
        raise InvalidValue(f"The field {field!r} of the flink connection is not a JSON object.")
    return {str(key): str(item) for key, item in found.items()}


def _verify(value: Any) -> bool | str:
    """True, false, or the path of a CA bundle; the form and URIs give text."""
    if value is None or value == "":
        return True
    if isinstance(value, bool):
        return value
    text = str(value).strip()
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)


def _number(extra: Mapping[str, Any], field: str, default: float) -> float:
    value = extra.get(field)
    if value in (None, ""):
        return default
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise InvalidValue(f"The field {field!r} of the flink connection is not a number above 0.")
    return number
