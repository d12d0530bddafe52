"""What a cancellation found and did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_flink_iceberg.model.values import Value, require_job_id


@dataclass(frozen=True)
class Cancellation(Value):
    """A job that runs no more.

    :param state: how it ended, as Flink spells it: ``CANCELED``, or ``FINISHED``/``FAILED`` if it was faster.
    :param cancelled: whether it ended by this request; false: it had ended before, and nothing was sent or changed.
    """

    KIND: ClassVar[str] = "cancellation"

    job_id: str
    state: str
    cancelled: bool

    def __post_init__(self) -> None:
        require_job_id("Cancellation job_id", self.job_id)
