"""Every call with which a use case changes something outside, as data: for the documentation, and for the crash tests.

What is recorded of a step, and what a repeat of it does, is said at :class:`Step`; here is what leaves, under which id
it can be told again, and what the same call does a second time. The tests run each use case, hold what it really sent
against this table, and kill it before and after every record and every request.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_flink_iceberg.restart.steps import Step


@dataclass(frozen=True)
class Call:
    """One kind of outside call of a use case.

    :param step: the record behind which it is sent.
    :param sends: method and path with ``<placeholders>``; ``commit <table>``: a compare-and-swap in the catalog.
    :param id: what makes a repeat recognisable.
    :param again: what the same call does once more.
    """

    use_case: str
    step: Step
    sends: tuple[str, ...]
    id: str
    again: str


_TRIGGER = "trigger id: hash of the record's nonce, job id, purpose, epoch and attempt; its own directory"
_SAME_OPERATION = "Flink takes it for the same operation"
_START_ID = (
    "job id: hash of the state's job id, checkpoint id and attempt (without state: of the record's nonce)"
)
_LAUNCH = ("POST /jars/<jar>/run", "POST <gateway session>/statements")
_COLLIDES = "collides with the job of this id, which is adopted if it runs from our state"
_TAG = "the tag's name and its snapshot; the property's key"
_SET_ALREADY = "finds everything as wanted and commits nothing"
_COMMIT = ("commit <table>",)

CALLS = (
    Call("stop", Step.STOP, ("POST /jobs/<job>/stop",), _TRIGGER, _SAME_OPERATION),
    Call("start", Step.START, _LAUNCH, _START_ID, _COLLIDES),
    Call("start", Step.START, _COMMIT, "the property's key", _SET_ALREADY),
    Call("restart", Step.PIN, _COMMIT, _TAG, _SET_ALREADY),
    Call("restart", Step.STOP, ("POST /jobs/<job>/stop",), _TRIGGER, _SAME_OPERATION),
    Call("restart", Step.START, _LAUNCH, _START_ID, _COLLIDES),
    Call("savepoint", Step.SAVEPOINT, ("POST /jobs/<job>/savepoints",), _TRIGGER, _SAME_OPERATION),
    Call("cancel", Step.CANCEL, ("PATCH /jobs/<job>",), "job id", "changes nothing once the run has ended"),
    Call("restore point", Step.PIN, _COMMIT, _TAG, _SET_ALREADY),
    Call(
        "rollback",
        Step.ROLLBACK,
        _COMMIT,
        "the branch's head as planned, which the commit requires, and the abandoned head's tag",
        "finds the branch at its target; a branch that is elsewhere refuses it, and what was moved is put back",
    ),
    Call(
        "recover",
        Step.RECOVER,
        _COMMIT,
        "the branch's head as judged, which the commit requires, and the manifest's name in the summary",
        "finds the manifest's files in the table and appends nothing",
    ),
)
"""In the order in which a use case makes them."""

USE_CASES = tuple(dict.fromkeys(call.use_case for call in CALLS))


def calls_of(use_case: str) -> tuple[Call, ...]:
    """The calls of one use case, in their order."""
    return tuple(call for call in CALLS if call.use_case == use_case)
