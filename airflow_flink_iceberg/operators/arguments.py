"""Arguments that several operators share, each in one place: its default, and what of it is refused."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_flink_iceberg.model.errors import WaitTimeout
from airflow_flink_iceberg.operators.base import (
    MIN_HOLD,
    FlinkJobOperator,
    reason_text,
    require_flag,
    verdicts,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_flink_iceberg.restart.start import StartOptions

_INLINE_SECONDS = 8.0
"""How long the worker itself looks before it defers: most stops and savepoints end within it."""


class SavepointArguments(FlinkJobOperator):
    """Base of the operators that take a savepoint.

    :param target_directory: Base directory; each attempt writes into an own directory below it. Defaults to the
        cluster's savepoint directory.
    :param format_type: ``CANONICAL`` or ``NATIVE``.
    """

    def __init__(
        self, *, target_directory: str | None = None, format_type: str = "CANONICAL", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.target_directory = target_directory
        self.format_type = format_type
        self.note_given(target_directory=target_directory)


class DeferrableSavepoint(SavepointArguments):
    """Base of those that may wait for it in the triggerer; a resume looks again and keeps the first deadline.

    :param deferrable: Wait in the triggerer when it takes longer than a few seconds.
    """

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(poll_interval=poll_interval, **kwargs)
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask for it, or attach to what an earlier try has asked for."""
        return self.take_until(context, time.time() + self.timeout)

    def execute_complete(
        self, context: Context, event: Any = None, deadline: float | None = None
    ) -> dict[str, Any]:
        """Look again; what the event says is not trusted, the record and Flink are.

        :param deadline: when this try's wait ends, in seconds since the epoch; a resume does not begin it anew.
        """
        return self.take_until(context, deadline or time.time() + self.timeout)

    @abstractmethod
    def take_until(self, context: Context, deadline: float) -> dict[str, Any]:
        """Take it, wait until the deadline, and return what the operator returns."""

    def seconds_here(self, deadline: float) -> float:
        """How long the worker itself waits."""
        left = max(self.poll_interval, deadline - time.time())
        return min(left, _INLINE_SECONDS) if self.deferrable else left

    def fail_unless_deferred(self, what: str, error: WaitTimeout, deadline: float) -> None:
        """Give up, unless the triggerer can go on waiting for as long as a deferral has to last.

        :raises WaitTimeout: it goes on in Flink, and a retry goes on waiting.
        """
        if self.deferrable and time.time() + MIN_HOLD < deadline:
            self.log.info(
                "%s goes on; waiting for it in the triggerer for up to %.0f s", what, deadline - time.time()
            )
            return
        raise WaitTimeout(
            f"{what} took longer than {self.timeout:g} s; it goes on in Flink. Retry the task to go on waiting."
        ) from error


class StartArguments(FlinkJobOperator):
    """Base of the operators that start a job.

    :param allow_non_restored_state: Let Flink drop state that no operator of the job claims.
    :param accept_verdicts: Start in spite of exactly these verdicts; needs ``reason``, and is recorded.
    :param ledger: An Iceberg table that gets one row per act; see :class:`FlinkRestartJobOperator`.
    """

    def __init__(
        self,
        *,
        allow_non_restored_state: bool = False,
        accept_verdicts: Sequence[str] = (),
        reason: str | None = None,
        ledger: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.allow_non_restored_state = allow_non_restored_state
        self.accept_verdicts = accept_verdicts
        self.reason = reason
        self.ledger = ledger
        self.note_given(reason=reason, ledger=ledger)

    def start_options(self) -> StartOptions:
        """The arguments as the use cases take them.

        :raises InvalidValue: one of them is no verdict, or was left behind by a template.
        """
        from airflow_flink_iceberg.restart.start import StartOptions

        return StartOptions(
            require_flag("allow_non_restored_state", self.allow_non_restored_state),
            verdicts(self.accept_verdicts),
            reason_text(self.accept_verdicts, self.reason),
            self.poll_interval,
            self.timeout,
        )
