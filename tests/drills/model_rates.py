"""How often the guard is right over random lives of simulated sinks: ``python -m tests.drills.model_rates [N]``.

``N`` lives (5,000) of each sink, with commits of others, compactions, deletes, expiry by either library, rollbacks,
stops whose commit failed, and restores of older states among them; of each, some states and the start without state
are asked about and really made. Prints the shares and leaves them as ``build/model.json``; 1 if a SAFE was
wrong or a number differed from the damage.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tests.support.judged import Judged, shares
from tests.support.sink_histories import Outcome, outcomes

RESULT = Path(__file__).resolve().parents[2] / "build" / "model.json"
HISTORIES = 5_000


def main(arguments: list[str] | None = None) -> int:
    """Play and print."""
    given = sys.argv[1:] if arguments is None else arguments
    histories = int(given[0]) if given else HISTORIES
    found = {
        sink: [outcome for seed in range(histories) for outcome in outcomes(seed, v1=sink == "v1")]
        for sink in ("v2", "v1")
    }
    for sink, played in found.items():
        print(
            f"{sink}: {len(played)} starts after {histories} lives\n{shares(each.judged for each in played)}"
        )
        print(f"{_harmless_unknowns(played):7d}  of the UNKNOWN would have done no harm\n")
    RESULT.parent.mkdir(exist_ok=True)
    counts = {sink: Counter(each.judged.value for each in played) for sink, played in found.items()}
    document = {
        "on": datetime.now(UTC).date().isoformat(),
        "histories": histories,
        "harmless_unknowns": sum(map(_harmless_unknowns, found.values())),
        "starts": counts,
    }
    RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    wrong = [each for played in found.values() for each in played if each.judged in _WRONG]
    for outcome in wrong[:20]:
        print(outcome)
    return 1 if wrong else 0


_WRONG = (Judged.SAFE_WRONG, Judged.NUMBER_WRONG)


def _harmless_unknowns(played: list[Outcome]) -> int:
    return sum(each.judged is Judged.UNKNOWN and each.rows == 0 for each in played)


if __name__ == "__main__":
    sys.exit(main())
