"""Adds up the JUnit files of a test run and prints one closing line: ``N passed, N failed, N skipped``.

Usage: python scripts/summary.py DIRECTORY. An error in a fixture counts as a failure. Exit code 1 when a test
failed or when none was executed: a run without tests proves nothing.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main(directory: str) -> int:
    """Print the line for all ``*.xml`` files of ``directory``; return the process's exit code."""
    passed, failed, skipped = (
        sum(counts) for counts in zip((0, 0, 0), *map(count, files(directory)), strict=True)
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if passed and not failed else 1


def files(directory: str) -> list[Path]:
    """Return the result files in a fixed order."""
    return sorted(Path(directory).glob("*.xml"))


def count(file: Path) -> tuple[int, int, int]:
    """Return how many test cases of a result file passed, failed and were skipped."""
    passed = failed = skipped = 0
    for case in ET.parse(file).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
