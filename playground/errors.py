"""What can go wrong in the playground, named by situation.

    PlaygroundError
    ├── MissingToolError      a program that has to be installed is not there, or has the wrong version
    ├── DiskFullError         not enough room for what has to be fetched
    ├── FetchError            a package registry did not deliver
    ├── BusyPortError         somebody else listens on a port that was asked for
    ├── DirectoryInUseError   a living process already runs a stack in this directory
    ├── NotRunningError       nothing runs in this directory
    ├── ProcessDiedError      a process of the stack ended by itself
    ├── NotReadyError         a process lives but did not become ready in time
    └── SubmitError           Flink or its SQL Gateway refused what was submitted

Each message is one sentence that names the thing and the next step; where a log explains more, its last
lines follow.
"""

from __future__ import annotations


class PlaygroundError(Exception):
    """Base of all errors of the playground."""


class MissingToolError(PlaygroundError):
    """A needed program is missing or has the wrong version."""


class DiskFullError(PlaygroundError):
    """There is not enough free disk space for a download."""


class FetchError(PlaygroundError):
    """pip or Maven could not deliver a package, or delivered something broken."""


class BusyPortError(PlaygroundError):
    """A port that was asked for is taken by another process."""


class DirectoryInUseError(PlaygroundError):
    """Another living process runs a stack in the same directory."""


class NotRunningError(PlaygroundError):
    """There is no running stack to attach to."""


class ProcessDiedError(PlaygroundError):
    """A process of the stack ended although it should run."""


class NotReadyError(PlaygroundError):
    """A process of the stack did not answer in time."""


class SubmitError(PlaygroundError):
    """A statement or a jar was refused."""
