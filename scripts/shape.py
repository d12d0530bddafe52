"""Holds the code to its shape: nine functions in ten have at most 35 lines, none over 60, files about 300.

Usage: python scripts/shape.py PATH... Exit code 1 names each function and file that is too long. A file may
be a sixth longer than 300 lines: cutting a subject in two to save a line helps nobody, and a file of tests, which is
a list of worlds to be read one by one, may be longer. Test data is not
code: files under a directory ``data`` are left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

USUAL_FUNCTION = 35
LONGEST_FUNCTION = 60
LONGEST_FILE = 350
LONGEST_TEST_FILE = 520


def main(paths: list[str]) -> int:
    """Check all Python files below ``paths``; return the process's exit code."""
    complaints: list[str] = []
    lengths: list[int] = []
    for file in sorted(python_files(paths)):
        text = file.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > (LONGEST_TEST_FILE if file.parts[0] == "tests" else LONGEST_FILE):
            complaints.append(f"{file}: {lines} lines; one subject a file, about 300 lines")
        for function in functions(ast.parse(text, str(file))):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            lengths.append(length)
            if length > LONGEST_FUNCTION:
                complaints.append(
                    f"{file}:{function.lineno}: {function.name}: {length} lines, at most {LONGEST_FUNCTION}"
                )
    usual = sum(length <= USUAL_FUNCTION for length in lengths)
    if usual < 0.9 * len(lengths):
        complaints.append(
            f"{usual} of {len(lengths)} functions have at most {USUAL_FUNCTION} lines; nine in ten should"
        )
    print("\n".join(complaints), end="\n" if complaints else "")
    return 1 if complaints else 0


def python_files(paths: list[str]) -> Iterator[Path]:
    """Yield the files themselves, and the ``*.py`` files below the directories."""
    for path in map(Path, paths):
        found = path.rglob("*.py") if path.is_dir() else [path]
        yield from (file for file in found if file.suffix == ".py" and "data" not in file.parts)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield all functions and methods of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
