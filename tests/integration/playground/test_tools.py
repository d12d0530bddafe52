from __future__ import annotations

from pathlib import Path

import pytest

from playground.errors import MissingToolError, PlaygroundError
from playground.tools import check_python, find_java, find_maven
from playground.versions import DEFAULT, FLINK_1_20, select


def fake_java(home: Path, version: str) -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    java.chmod(0o755)
    return java


def test_java_17_of_java_home_is_taken(tmp_path: Path) -> None:
    java = fake_java(tmp_path / "17", "17.0.15")
    assert find_java({"JAVA_HOME": str(tmp_path / "17"), "PATH": ""}).java == java


def test_java_17_of_path_is_taken_when_java_home_is_another(tmp_path: Path) -> None:
    fake_java(tmp_path / "25", "25.0.1")
    java = fake_java(tmp_path / "17", "17.0.15")
    environ = {"JAVA_HOME": str(tmp_path / "25"), "PATH": str(java.parent)}
    assert find_java(environ).java == java


@pytest.mark.parametrize(("version", "major"), [("25.0.1", 25), ("11.0.2", 11), ("1.8.0_292", 1)])
def test_another_java_is_named(version: str, major: int, tmp_path: Path) -> None:
    java = fake_java(tmp_path, version)
    with pytest.raises(MissingToolError) as caught:
        find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})
    assert str(caught.value) == (
        f"Java 17 is needed, but {java} is version {major}: install it (Debian: openjdk-17-jdk-headless, macOS: "
        "brew install openjdk@17) and let JAVA_HOME point to it."
    )


def test_no_java_at_all() -> None:
    with pytest.raises(MissingToolError, match="there is none in JAVA_HOME or PATH: install it"):
        find_java({"PATH": "/nonexistent"})


def test_a_runtime_without_a_compiler_is_said_to_be_one(tmp_path: Path) -> None:
    fake_java(tmp_path, "17.0.15")
    java = find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})
    with pytest.raises(MissingToolError, match="without a compiler: install a full JDK 17"):
        java.javac()


def test_no_maven() -> None:
    with pytest.raises(MissingToolError, match=r"^Maven \(mvn\) is not in PATH.*install it \(Debian: maven"):
        find_maven({"PATH": "/nonexistent"})


def test_an_old_python() -> None:
    check_python((3, 11))
    with pytest.raises(MissingToolError, match=r"This is Python 3\.10, but 3\.11 or newer is needed"):
        check_python((3, 10))


def test_flink_version_is_selected_and_an_unknown_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLINK_VERSION", raising=False)
    assert select() == DEFAULT
    monkeypatch.setenv("FLINK_VERSION", "1.20.5")
    assert select() == FLINK_1_20
    with pytest.raises(
        PlaygroundError, match=r"Flink 9\.9 is not one of the tested versions: use 2\.1\.3 or"
    ):
        select("9.9")
