"""Measuring two things in turn, so that a slow second of the machine hits both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

Timed = Callable[[], object]


def seconds(work: Timed) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compared(
    name: str,
    runs: int,
    baseline: Timed,
    ours: Timed,
    *,
    target: float,
    against: str,
    prepare: Timed | None = None,
) -> dict[str, Any]:
    """How many times cheaper ``ours`` is than ``baseline``: the ratio of the medians of ``runs`` alternating calls.

    :param prepare: done, unmeasured, before each call of ``ours``.
    :return: one entry of ``bench.json``; ``median_ms`` and ``spread_ms`` (smallest and largest) hold both sides.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        times[0].append(seconds(baseline))
        if prepare is not None:
            prepare()
        times[1].append(seconds(ours))
    ratios = [slow / fast for slow, fast in zip(*times, strict=True)]
    return {
        "name": name,
        "value": round(statistics.median(times[0]) / statistics.median(times[1]), 1),
        "target": target,
        "better": "higher",
        "unit": "x",
        "against": against,
        "runs": runs,
        "median_ms": {"baseline": _ms(statistics.median(times[0])), "ours": _ms(statistics.median(times[1]))},
        "spread_ms": {
            "baseline": [_ms(min(times[0])), _ms(max(times[0]))],
            "ours": [_ms(min(times[1])), _ms(max(times[1]))],
        },
        "spread": [round(min(ratios), 1), round(max(ratios), 1)],
    }


def _ms(duration: float) -> float:
    return round(duration * 1000, 3)
