"""How every JVM of the stack is started: small, quick to boot, and leaving nothing outside the directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_OPENS = (
    *(
        "java.lang",
        "java.net",
        "java.io",
        "java.nio",
        "sun.nio.ch",
        "java.lang.reflect",
        "java.text",
        "java.time",
    ),
    *("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"),
)
_EXPORTS = (
    "java.rmi/sun.rmi.registry",
    "jdk.compiler/com.sun.tools.javac.api",
    "java.security.jgss/sun.security.krb5",
)


@dataclass(frozen=True)
class Jvm:
    """Builds command lines for one stack directory."""

    java: Path
    directory: Path

    def command(self, *, heap: str, class_path: str, main: str, options: tuple[str, ...] = ()) -> list[str]:
        """The start of a command line; the program's own arguments follow it."""
        return [
            str(self.java),
            *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENS),
            *(f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTS),
            # Quick to start on few cores: the simple compiler and the collector without threads of its own.
            *("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Xmx{heap}"),
            f"-Djava.io.tmpdir={self.directory / 'tmp'}",
            f"-XX:ErrorFile={self.directory / 'logs'}/hs_err_%p.log",
            "-XX:-UsePerfData",  # it would write into the machine's temporary directory
            *options,
            *("-cp", class_path, main),
        ]
