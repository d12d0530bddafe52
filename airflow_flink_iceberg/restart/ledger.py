"""The ledger: an append-only record of what was done to jobs and tables. Opt-in, and never in anybody's way.

It is written after the act, and only then. Whatever goes wrong with it is one warning: a restart that is done must not
look failed because its record could not be written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_flink_iceberg.flink.traces import one_line
from airflow_flink_iceberg.model.ledger import LedgerActor, LedgerEntry, LedgerFinding, LedgerTable
from airflow_flink_iceberg.model.restart import TimelineEvent
from airflow_flink_iceberg.restart.systems import log

if TYPE_CHECKING:
    from airflow_flink_iceberg.iceberg.catalog import TableAccess

LEDGER_SECONDS = 20.0
_TEXT = 2_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def record(
    name: str,
    open_table: Callable[[], TableAccess],
    make_entries: Callable[[], Iterable[LedgerEntry]],
    timeout: float = LEDGER_SECONDS,
) -> bool:
    """Append entries that the ledger does not have yet; false, after one warning, when that failed.

    Never raises, and returns after ``timeout`` seconds at the latest. An append that was under way then may still
    arrive; a retry does not repeat it, because an entry's id is derived from the act.

    :param name: the ledger as the caller named it, for the warning.
    :param open_table: names the table; called in the caller's thread, because connections may be bound to it.
    :param make_entries: called in the writer's thread, because reading the tables' heads may hang, too.
    """
    try:
        why = _write_within(open_table(), make_entries, timeout)
    except Exception as error:  # noqa: BLE001 - said below; the act is done, whatever this is
        why = _sentence(error)
    if why:
        log.warning("The ledger %s was not written, and nothing else was affected: %s", name, why)
    return not why


def _write_within(
    access: TableAccess, make_entries: Callable[[], Iterable[LedgerEntry]], timeout: float
) -> str:
    """Why it was not written; empty when it was. PyIceberg cannot be interrupted, so it is left behind instead."""
    failures: list[str] = []

    def write() -> None:
        try:
            from airflow_flink_iceberg.iceberg.ledger_table import append_once

            for entry in make_entries():
                append_once(access, row_of(entry))
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who says it
            failures.append(_sentence(error))

    writer = threading.Thread(target=write, name="ledger", daemon=True)
    writer.start()
    writer.join(timeout)
    if writer.is_alive():
        return f"no answer within {timeout:g} s"
    return failures[0] if failures else ""


def read_ledger(
    access: TableAccess, job: str | None = None, limit: int | None = 100
) -> tuple[LedgerEntry, ...]:
    """Entries newest first, each id once.

    :param job: only this job's.
    :raises TableNotFound: nothing has been written yet. :raises CatalogUnreachable: no answer.
    """
    from airflow_flink_iceberg.iceberg.ledger_table import read_rows

    entries: dict[str, LedgerEntry] = {}
    for entry in sorted(map(entry_of, read_rows(access, job)), key=lambda each: each.recorded_at):
        entries.setdefault(entry.entry_id, entry)
    return tuple(reversed(entries.values()))[:limit]


def row_of(entry: LedgerEntry) -> dict[str, Any]:
    """The entry as a row of the table, without user info, signed queries and secrets in any of its texts."""
    document = _plain(entry.to_dict())
    actor = document.pop("actor")
    row = {**document, **actor, "recorded_at": _moment(entry.recorded_at)}
    row["timeline"] = [
        {"name": event["name"], "happened_at": _moment(event["at"]), "clock": event["clock"]}
        for event in document["timeline"]
    ]
    return row


def entry_of(row: Mapping[str, Any]) -> LedgerEntry:
    """The entry of a row; columns that an older version did not write are as if nothing was known."""
    given = {key: item for key, item in row.items() if item is not None}
    values = {
        **_known(LedgerEntry, given),
        "recorded_at": _milliseconds(given["recorded_at"]),
        "actor": LedgerActor(**_known(LedgerActor, given)),
        "accepted": tuple(given.get("accepted", ())),
        "tables": tuple(LedgerTable(**_known(LedgerTable, each)) for each in given.get("tables", ())),
        "findings": tuple(LedgerFinding(**_known(LedgerFinding, each)) for each in given.get("findings", ())),
        "timeline": tuple(
            TimelineEvent(each["name"], _milliseconds(each["happened_at"]), each["clock"])
            for each in given.get("timeline", ())
        ),
    }
    return LedgerEntry(**values)


def _known(kind: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: given[field.name] for field in fields(kind) if given.get(field.name) is not None}


def _plain(value: Any) -> Any:
    """A copy without the marks of dict forms, with every text redacted: no entry can bypass this."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if key not in ("kind", "version")}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return one_line(value, _TEXT) if isinstance(value, str) else value


def _moment(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _sentence(error: BaseException) -> str:
    return one_line(str(error)) or type(error).__name__
