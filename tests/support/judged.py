"""How an answer of the guard compares with what was counted; the same classes for drills and for the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from airflow_flink_iceberg.model.decision import Verdict


class Judged(StrEnum):
    """The classes; the wrong ones are spelt in capitals where there must be none."""

    SAFE_RIGHT = "SAFE, right"
    SAFE_WRONG = "SAFE, WRONG"
    RIGHT_WITH_NUMBER = "right refusal, number right"
    RIGHT_WITHOUT_NUMBER = "right refusal, no number"
    NUMBER_WRONG = "right refusal, NUMBER WRONG"
    WRONG_REFUSAL = "wrong refusal"
    UNKNOWN = "UNKNOWN"


def judge(verdict: Verdict, *, is_harmed: bool, number: bool | None) -> Judged:
    """The class of one answer.

    :param is_harmed: rows were lost or doubled, or the start could not succeed.
    :param number: whether the number that was said is the one counted; ``None``: none was said.
    """
    if verdict is Verdict.SAFE:
        return Judged.SAFE_WRONG if is_harmed else Judged.SAFE_RIGHT
    if verdict is Verdict.UNKNOWN:
        return Judged.UNKNOWN
    if not is_harmed:
        return Judged.WRONG_REFUSAL
    if number is None:
        return Judged.RIGHT_WITHOUT_NUMBER
    return Judged.RIGHT_WITH_NUMBER if number else Judged.NUMBER_WRONG


def shares(judged: Iterable[Judged]) -> str:
    """The classes with their counts and shares, a line each."""
    found = Counter(judged)
    total = max(1, found.total())
    return "\n".join(f"{found[kind]:7d}  {found[kind] / total:6.1%}  {kind}" for kind in Judged)
