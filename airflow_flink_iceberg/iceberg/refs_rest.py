"""The compare-and-swap of a REST catalog: the server makes it, told what must not have changed."""

from __future__ import annotations

from typing import Any

import msgspec
import requests

from airflow_flink_iceberg.iceberg.catalog import TableAccess
from airflow_flink_iceberg.iceberg.connect import reported
from airflow_flink_iceberg.iceberg.metadata_document import Ref
from airflow_flink_iceberg.iceberg.pointers import RestPointer, raise_for_rest, rest_call, server_message
from airflow_flink_iceberg.iceberg.refs_plan import Attempt, Plan
from airflow_flink_iceberg.model.errors import InvalidValue

_UNKNOWN_OUTCOME = frozenset({500, 502, 503, 504})


class _Committed(msgspec.Struct, rename="kebab"):
    metadata_location: str = ""


def commit(access: TableAccess, pointer: RestPointer, plan: Plan) -> tuple[Attempt, str]:
    """Send one commit request, once.

    :raises InvalidValue: the server finds the request itself wrong: a snapshot that the table does not have.
    :raises CatalogUnreachable: credentials refused.
    :raises TableNotFound: it was dropped.
    """
    old = plan.base.metadata_location
    body = msgspec.json.encode(commit_request(access.parts, plan))
    try:
        response = rest_call(pointer.catalog, "POST", pointer.url, data=body)
    except requests.RequestException:  # also an answer that breaks in the middle
        return Attempt.UNKNOWN, old
    if response.status_code in _UNKNOWN_OUTCOME:
        return Attempt.UNKNOWN, old
    if response.status_code == 409:
        return Attempt.CONFLICT, old
    if response.status_code in (400, 422):
        refs = ", ".join(
            f"{name!r} to {ref.snapshot_id if ref else 'nothing'}" for name, ref in plan.refs.items()
        )
        raise InvalidValue(
            f"The catalog refused to set {refs} in {access.identifier}: {server_message(response)}."
        )
    with reported(access.config, f"table {access.identifier}"):
        raise_for_rest(response)
    return Attempt.COMMITTED, _committed_location(response) or old


def commit_request(parts: tuple[str, ...], plan: Plan) -> dict[str, Any]:
    """The request's body: each ref that changes, and each that is required, must still be where it was seen."""
    asserted = {name: ref.snapshot_id if (ref := plan.base.refs.get(name)) else None for name in plan.refs}
    asserted.update(plan.require)
    return {
        "identifier": {"namespace": list(parts[:-1]), "name": parts[-1]},
        "requirements": [
            {"type": "assert-table-uuid", "uuid": plan.base.uuid},
            *(
                {"type": "assert-ref-snapshot-id", "ref": name, "snapshot-id": at}
                for name, at in asserted.items()
            ),
        ],
        "updates": [*map(_ref_update, plan.refs.items()), *_property_updates(plan)],
    }


def _ref_update(change: tuple[str, Ref | None]) -> dict[str, Any]:
    name, ref = change
    if ref is None:
        return {"action": "remove-snapshot-ref", "ref-name": name}
    return {"action": "set-snapshot-ref", "ref-name": name, **msgspec.to_builtins(ref)}


def _property_updates(plan: Plan) -> list[dict[str, Any]]:
    to_set = {key: text for key, text in plan.properties.items() if text is not None}
    to_remove = [key for key, text in plan.properties.items() if text is None]
    updates: list[dict[str, Any]] = [{"action": "set-properties", "updates": to_set}] if to_set else []
    return [*updates, {"action": "remove-properties", "removals": to_remove}] if to_remove else updates


def _committed_location(response: requests.Response) -> str:
    try:
        return msgspec.json.decode(response.content, type=_Committed).metadata_location
    except msgspec.MsgspecError:
        return ""  # committed all the same: the status said so
