"""The programs that have to be installed: Python 3.11+, Java 17 and Maven."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from playground.errors import MissingToolError

_JAVA = 17
_VERSION = re.compile(r'version "(\d+)')


@dataclass(frozen=True)
class Java:
    """A Java 17 installation."""

    java: Path

    def javac(self) -> Path:
        """The compiler beside it; an installation without one is only a runtime."""
        compiler = self.java.resolve().with_name("javac")
        if not compiler.exists():
            raise MissingToolError(
                f"{self.java} is a Java runtime without a compiler: install a full JDK {_JAVA} "
                "(Debian: openjdk-17-jdk-headless) to build the example job."
            )
        return compiler


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raise unless this Python is new enough."""
    if version < (3, 11):
        raise MissingToolError(
            f"This is Python {version[0]}.{version[1]}, but 3.11 or newer is needed: install it and run again."
        )


def find_java(environ: Mapping[str, str] | None = None) -> Java:
    """The Java 17 of `JAVA_HOME`, else of `PATH`.

    Exactly 17: Iceberg's runtime needs at least that, and Hadoop inside it fails on Java 24 and newer
    ("getSubject is not supported"), which would show only as a JobManager that exits.
    """
    environ = os.environ if environ is None else environ
    found = []
    for java in _java_candidates(environ):
        major = _java_major(java)
        if major == _JAVA:
            return Java(java)
        found.append(f"{java} is version {major or 'unknown'}")
    seen = "; ".join(found) or "there is none in JAVA_HOME or PATH"
    raise MissingToolError(
        f"Java {_JAVA} is needed, but {seen}: install it (Debian: openjdk-17-jdk-headless, macOS: brew install "
        "openjdk@17) and let JAVA_HOME point to it."
    )


def find_maven(environ: Mapping[str, str] | None = None) -> Path:
    """The `mvn` of `PATH`."""
    environ = os.environ if environ is None else environ
    maven = shutil.which("mvn", path=environ.get("PATH", ""))
    if maven is None:
        raise MissingToolError(
            "Maven (mvn) is not in PATH, but it fetches Kafka and the connectors: install it "
            "(Debian: maven, macOS: brew install maven)."
        )
    return Path(maven)


def _java_candidates(environ: Mapping[str, str]) -> list[Path]:
    candidates = []
    if home := environ.get("JAVA_HOME"):
        candidates.append(Path(home, "bin", "java"))
    if on_path := shutil.which("java", path=environ.get("PATH", "")):
        candidates.append(Path(on_path))
    return [java for java in candidates if java.exists()]


def _java_major(java: Path) -> int | None:
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    match = _VERSION.search(answer.stderr)
    return int(match.group(1)) if match else None
