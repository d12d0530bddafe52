"""The bytes of savepoints: from this worker's disk, or from an object store through PyIceberg's FileIO."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from airflow_flink_iceberg.flink.metadata import LocalFiles, StateFiles
from airflow_flink_iceberg.flink.metadata_files import METADATA_FILE, local_path, shown
from airflow_flink_iceberg.flink.paths import is_below, normalise_path
from airflow_flink_iceberg.model.errors import SavepointUnreadable

if TYPE_CHECKING:
    from pyiceberg.io import FileIO, InputFile

_FSSPEC = (
    "and set py-io-impl to pyiceberg.io.fsspec.FsspecFileIO in the extra 'storage' of the Flink connection"
)
_NEEDED = {
    "abfs": "Install pyiceberg[adlfs]",
    "abfss": "Install pyiceberg[adlfs]",
    "wasb": "Install pyiceberg[adlfs], and let Flink write to abfs://",
    "wasbs": "Install pyiceberg[adlfs], and let Flink write to abfss://",
    "gs": f"Install pyiceberg[gcsfs] {_FSSPEC}",
    "gcs": f"Install pyiceberg[gcsfs] {_FSSPEC}",
    "hdfs": "Install Java and Hadoop's client, and set JAVA_HOME, HADOOP_HOME and CLASSPATH for the worker",
    "viewfs": "Install Java and Hadoop's client, and set JAVA_HOME, HADOOP_HOME and CLASSPATH for the worker",
    "s3": f"Install pyiceberg[pyarrow], or pyiceberg[s3fs] {_FSSPEC}",
    "s3a": f"Install pyiceberg[pyarrow], or pyiceberg[s3fs] {_FSSPEC}",
    "s3p": "s3p:// is a name that only Flink's Presto plugin knows: let Flink write to s3://",
}
_ANY = (
    "Let Flink write to a storage that PyIceberg can read, or name a FileIO as py-io-impl in the extra 'storage' of "
    "the Flink connection"
)


ANSWER_TIMEOUT = 30.0
"""Seconds for one question to a storage; drivers go on for minutes where a host or a metadata server is silent."""
READ_TIMEOUT = 300.0
"""Seconds for the bytes of one file, which may be many."""

_Answer = TypeVar("_Answer")


def open_state_files(roots: tuple[str, ...], storage: Mapping[str, str]) -> StateFiles | None:
    """Access to everything below ``roots``; ``None`` without any: then nothing may be opened."""
    if not roots:
        return None
    return _RoutedFiles(tuple(normalise_path(root) for root in roots), storage)


def saved_below(files: StateFiles | None, directory: str) -> tuple[str, ...]:
    """The savepoints directly below a directory, by path.

    Empty where there are none, and where this worker sees no storage or cannot list it.

    :raises SavepointUnreadable: the directory lies outside the roots. :raises OSError: the storage failed.
    """
    if not isinstance(files, _RoutedFiles):
        return ()
    paths = (f"{directory.rstrip('/')}/{name}" for name in files.children(directory))
    return tuple(path for path in paths if files.size(f"{path}/{METADATA_FILE}") is not None)


def names_in(files: StateFiles | None, directory: str) -> list[str]:
    """The names directly below a directory; none and errors as for :func:`saved_below`."""
    return files.children(directory) if isinstance(files, _RoutedFiles) else []


class _RoutedFiles:
    """Local paths go to :class:`LocalFiles`, URLs to a FileIO that is opened on first use.

    Every question to a storage is bounded in time, and after one without an answer none is asked any more: a state
    has many files, and each would wait as long. What a driver raises that is no error of the storage means that it
    cannot read there.
    """

    def __init__(self, roots: tuple[str, ...], storage: Mapping[str, str]) -> None:
        self._roots = roots
        self._storage = storage
        self._local = LocalFiles(tuple(local_path(root) for root in roots if _is_local(root)))
        self._io: FileIO | None = None
        self._silent: TimeoutError | None = None

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file below the roots."""
        if _is_local(path):
            return self._local.read(path, offset, length)

        def read() -> bytes:
            with self._remote(path).open() as stream:
                stream.seek(offset)
                return stream.read() if length is None else stream.read(length)

        return self._ask(path, READ_TIMEOUT, read)

    def size(self, path: str) -> int | None:
        """The file's size, ``None`` when it is not there."""
        if _is_local(path):
            return self._local.size(path)

        def size() -> int | None:
            found = self._remote(path)
            return len(found) if found.exists() else None

        return self._ask(path, ANSWER_TIMEOUT, size)

    def children(self, directory: str) -> list[str]:
        """The names directly below a directory below the roots; none where it is not there or cannot be listed.

        :raises SavepointUnreadable: it lies outside, or no driver can list there.
        :raises OSError: the storage failed, or did not answer in time.
        """
        from airflow_flink_iceberg.iceberg.listing import names_below

        self._refuse_outside(directory)
        return self._ask(directory, ANSWER_TIMEOUT, lambda: names_below(self._opened(directory), directory))

    def _ask(self, path: str, seconds: float, question: Callable[[], _Answer]) -> _Answer:
        from airflow_flink_iceberg.iceberg.in_time import in_time

        if self._silent is not None:
            raise self._silent
        try:
            return in_time(seconds, f"The storage of {shown(path)!r}", question)
        except TimeoutError as error:
            self._silent = error
            raise
        except (OSError, SavepointUnreadable):
            raise
        except Exception as error:
            raise _no_driver(path, error) from error

    def _remote(self, path: str) -> InputFile:
        """The file behind a URL; the driver of its scheme is loaded here, so here it shows that there is none."""
        self._refuse_outside(path)
        try:
            return self._opened(path).new_input(path)
        except (FileNotFoundError, TimeoutError):
            raise
        except (ValueError, ImportError, OSError) as error:
            raise _no_driver(path, error) from error

    def _refuse_outside(self, path: str) -> None:
        if not any(is_below(path, root) for root in self._roots):
            raise SavepointUnreadable(f"{path!r} lies outside the directories that savepoints may come from.")

    def _opened(self, path: str) -> FileIO:
        from pyiceberg.io import load_file_io

        if _is_local(path):
            return load_file_io({}, location=f"file://{local_path(path)}")
        if self._io is None:
            self._io = load_file_io(dict(self._storage), location=path)
        return self._io


def _no_driver(path: str, error: Exception) -> SavepointUnreadable:
    scheme = path.partition("://")[0].lower()
    # The text of other errors may hold URLs with their secrets.
    why = (
        f"module {error.name!r} is missing"
        if isinstance(error, ImportError) and error.name
        else type(error).__name__
    )
    return SavepointUnreadable(
        f"This worker cannot open {shown(path)!r}: it has no file access for {scheme}:// ({why}). "
        f"{_NEEDED.get(scheme, _ANY)}."
    )


def _is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file:")
