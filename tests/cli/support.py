"""What the tests of the command line share: a deployment in a folder, and two ways to run `remit` in it."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

import remit
from remit.cli.app import app

URI: Final = "https://auth.acme.example"
PROGRAM: Final = Path(sys.executable).with_name("remit")
POLICY: Final = """
[secrets]
BROKER_API_KEY = "env://BROKER_API_KEY"
ORDERS_DB = "env://ORDERS_DB"

[scopes]
READ = ["prices:read", "orders:read"]
USER = ["users:read"]

[agents.pricing-agent]
scope = ["READ"]
capabilities = [
  { capability = "trades:propose", arguments = { symbol = { one_of = ["ACME", "INIT"] }, amount = { min = 1, max = 1000 } } },
  { capability = "payments:refund", arguments = { order_id = { max_length = 10 } } },
]
secrets = { BROKER_API_KEY = ["trades:propose"], ORDERS_DB = ["orders:read"] }
limits."trades:propose" = { max_uses = 3, rate = "10/m", budget = { amount = 2500 } }
delegate_only = ["payments:refund"]
ttl = "10m"
max_depth = 2

[agents.reader]
capabilities = ["prices:read"]
session = "s-1"
audience = ["desk"]
"""


_COMMAND: Final = typer.main.get_command(app)


class Result(NamedTuple):
    """What a command left."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """All that it printed."""
        return self.stdout + self.stderr


@dataclass(frozen=True)
class Deployment:
    """A folder that `remit init` was run in. The current directory is to be this folder."""

    folder: Path

    def run(self, *arguments: str, status: int | None = 0, stdin: str | bytes | None = None) -> Result:
        """Run a command in this process."""
        return run(*arguments, status=status, stdin=stdin)

    def json(self, *arguments: str, status: int = 0, stdin: str | bytes | None = None) -> Any:
        """Run a command with `--json`; its document."""
        return json.loads(self.run(*arguments, "--json", status=status, stdin=stdin).stdout)

    def verdict(self, given: str) -> str:
        """What `remit check` says of a token: `allowed`, or the code of the refusal."""
        document = json.loads(self.run("check", given, "--json", status=None).stdout)
        return str(document.get("code", "allowed"))

    def issued(self, agent: str = "pricing-agent", *options: str) -> remit.Credential:
        """A credential that was issued, saved in a file of the agent's name."""
        path = self.folder / f"{agent}.json"
        path.unlink(missing_ok=True)
        self.run("issue", agent, "--out", str(path), *options)
        return remit.Credential.load(path)

    def program(
        self, *arguments: str, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed program."""
        return subprocess.run(
            [PROGRAM, *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def run(*arguments: str, status: int | None = 0, stdin: str | bytes | None = None) -> Result:
    """Run a command in this process; its exit status must be `status`, unless that is None.

    As `typer.testing.CliRunner` does, but the commands are put together once and not each time.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin or b""
    streams = [io.TextIOWrapper(io.BytesIO(given), encoding="utf-8") for given in (data, b"", b"")]
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        _COMMAND.main(args=list(arguments), prog_name="remit")
        code = 0
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
    printed = []
    for stream in streams[1:]:
        stream.flush()
        printed.append(stream.buffer.getvalue().decode())
    result = Result(code, *printed)
    if status is not None:
        assert result.exit_code == status, (arguments, result)
    return result


def payload_of(token: str) -> dict[str, Any]:
    """What a token says."""
    segment = token.split(".")[1]
    payload: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return payload


def forged(token: str, **claims: Any) -> str:
    """A token that says something else, under the same signature; None takes a claim away."""
    members = {name: value for name, value in {**payload_of(token), **claims}.items() if value is not None}
    body = base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()
    head, _, signature = token.split(".")
    return f"{head}.{body}.{signature}"
