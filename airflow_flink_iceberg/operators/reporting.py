"""Where reports go: to any store that Airflow's ObjectStoragePath knows, with a link that people can open."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_flink_iceberg.links import job_url, push_report_link
from airflow_flink_iceberg.model.errors import InvalidValue
from airflow_flink_iceberg.model.values import require_text

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.model.restart import Restart
    from airflow_flink_iceberg.model.result import CheckReport

log = logging.getLogger(__name__)

_KEPT = "/:%~!$&'()*+,;="


def check_report_arguments(report_path: Any, report_url: Any) -> None:
    """Refuse what could not be written to or linked to, before anything is touched.

    :raises InvalidValue: ``''``, ``'None'`` or a repr; a ``report_url`` without a ``report_path``, that is no http(s)
        address, or that has a login or a query, where secrets are.
    """
    if report_path is not None:
        require_text("report_path", report_path)
    if report_url is None:
        return
    require_text("report_url", report_url)
    if report_path is None:
        raise InvalidValue("report_url is the address of what report_path writes: give both.")
    try:
        parts = urlsplit(report_url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_plain = False
    if not is_plain or "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidValue(
            "report_url has to be http(s)://host/path, without a login, query or fragment: a link holds no secret."
        )


def report_link(report_url: str, page: str) -> str:
    """The address of a written page: its file name below the base, or the base itself if that names a page."""
    base = quote(report_url, safe=_KEPT)
    if base.endswith((".html", ".htm")):
        return base
    return f"{base.rstrip('/')}/{quote(page.rpartition('/')[2])}"


def publish_report(
    context: Context,
    checks: CheckReport | None,
    restart: Restart | None,
    *,
    report_path: str,
    report_url: str | None = None,
    ui_url: str | None = None,
    failed_tasks: tuple[str, ...] = (),
) -> list[str]:
    """Write the report, show its link, and return the paths, the page first. A retry writes the same files again.

    :param ui_url: Flink's UI; the page then links to the restarted job.
    :raises OSError: the store refused; other errors are its library's own.
    """
    from airflow_flink_iceberg.integrity.report.content import Report
    from airflow_flink_iceberg.integrity.report.write import write_report

    links = {"Flink job": job_url(ui_url, restart.running_job.job_id)} if ui_url and restart else {}
    report = Report(checks, restart, failed_tasks, origin_of(context), {**links, **_task_link(context)})
    written = list(write_report(report, report_path, write=write_object))
    log.info("Report: %s (also as Markdown and JSON): %s", written[0], report.sentence)
    if report_url is not None:
        push_report_link(context, report_link(report_url, written[0]))
    return written


def try_to_publish(context: Context, *report: Any, **where: Any) -> list[str]:
    """As :func:`publish_report`, but never in the way of what the task has found or done: a failure is a warning."""
    try:
        return publish_report(context, *report, **where)
    except Exception as error:  # noqa: BLE001 - a store's library may raise anything, and the verdict counts more
        from airflow_flink_iceberg.integrity.results import clean, first_line

        path = clean(str(where["report_path"]))
        log.warning("No report at %s (%s: %s)", path, type(error).__name__, first_line(error))
        return []


def origin_of(context: Context) -> dict[str, str]:
    """Which task of which run made a report, and by which version."""
    from airflow_flink_iceberg import __version__

    ti: Any = context["ti"]
    found = {
        "dag": getattr(ti, "dag_id", None),
        "run": getattr(ti, "run_id", None),
        "task": getattr(ti, "task_id", None),
        "try": getattr(ti, "try_number", None),
    }
    index = getattr(ti, "map_index", -1)
    mapped = {"map index": index} if isinstance(index, int) and index >= 0 else {}
    known: Mapping[str, Any] = {**found, **mapped, "by": f"airflow-flink-iceberg {__version__}"}
    return {name: str(value) for name, value in known.items() if value is not None}


def write_object(path: str, text: str) -> None:
    """Store a text at any URL that Airflow's ObjectStoragePath knows, replacing what is there."""
    from airflow.sdk import ObjectStoragePath

    target = ObjectStoragePath(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def _task_link(context: Context) -> dict[str, str]:
    url = getattr(context["ti"], "log_url", None)
    return {"Airflow task": str(url)} if url else {}
