"""What the tests of secrets share: a guard that records, and a look at everything that was said."""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest

import remit
from remit.secrets.reference import Reference

NOW: Final = 1_704_067_500
PATIENT: Final[dict[str, Any]] = {"timeout": "2m"}  # the machine may be busy; a client is imported first
HERE: Final = Path(__file__).parent


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counting:
    """A backend of the test's own: it counts, answers what it is told to, and waits if it is told to."""

    def __init__(self, answer: object = "canary-value") -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.entered = threading.Semaphore(0)
        self.gate: threading.Event | None = None

    def check(self, reference: Reference) -> None:
        """Accept everything."""

    def read(self, reference: Reference) -> Any:
        """Count and answer."""
        self.asked.append(reference.text)
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(30)
        answer = self.answer
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Local(Counting):
    """The same, asked in the caller's thread."""

    remote = False


def why(secrets: remit.Secrets, name: str = "KEY") -> tuple[str, str]:
    """The code and the reason of the refusal that fetching a secret meets."""
    with pytest.raises(remit.SecretDenied) as caught:
        secrets.fetch(name)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    return error.code, error.reason


def shown(error: BaseException) -> str:
    """An exception as it is shown at worst: with the variables of every frame, and of what it is linked to.

    The frames of the tests are left out: they know the values.
    """
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    waiting: list[traceback.TracebackException | None] = [told]
    while waiting:
        current = waiting.pop()
        if current is not None:
            tests = [frame for frame in current.stack if Path(frame.filename).parent == HERE]
            current.stack[:] = [frame for frame in current.stack if frame not in tests]
            waiting += [current.__cause__, current.__context__]
    return "".join(told.format()) + repr(error)


@dataclass
class World:
    """One issuer, one recorder of everything, and guards over whatever secrets a test has."""

    audit: remit.MemoryAudit = field(default_factory=remit.MemoryAudit)
    issuer: remit.Issuer = field(
        default_factory=lambda: remit.Issuer.generate("https://auth.acme.example", clock=lambda: NOW)
    )

    def guard(self, secrets: remit.Secrets) -> remit.Guard:
        """A guard over `secrets`."""
        return remit.Guard(trust=[self.issuer.anchor], secrets=secrets, audit=self.audit, clock=lambda: NOW)

    def credential(self, *names: str) -> remit.Credential:
        """A credential that may resolve `names` in the tool."""
        return self.issuer.issue("agent-a", ["tool:use"], secrets=list(names))

    def secret_records(self) -> list[tuple[str | None, bool, str | None]]:
        """The records of secrets: name, whether it was resolved, and why not."""
        records = [record for record in self.audit.records if record.event == "secret"]
        return [(record.subject, record.allowed, record.code) for record in records]


def tool_that_tells(name: str, seen: list[str]) -> Callable[..., str]:
    """A guarded tool that tells its secret in every way it can."""

    @remit.requires_capability("tool:use")
    def tool(way: str, *, key: remit.Secret = remit.secret(name)) -> str:
        seen.append(key.reveal())
        if way == "raise":
            raise ValueError(f"the server refused {key.reveal()}")
        return f"the key is {key.reveal()} {key} {key!r}"

    return tool


def check_guarded(secrets: remit.Secrets, values: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """Go through a guard with one good, one missing and one failing name: all is recorded, no value is told.

    `values` are those of the names `GOOD`, and perhaps `MISSING` and `FAILING`, whose values are codes.
    """
    world, seen = World(), list[str]()
    told: list[str] = []
    guard = world.guard(secrets)
    value = values["GOOD"]
    with caplog.at_level(logging.DEBUG):
        credential = world.credential("GOOD", "MISSING", "FAILING")
        secret = guard.resolve_secret(credential, "GOOD", tool="tool:use")
        assert secret.reveal() == value
        assert (secret.backend, secret.name, secret.agent, secret.token_id) == (
            secrets.backend_of("GOOD"), "GOOD", "agent-a", credential.token_id,
        )  # fmt: skip
        tool = tool_that_tells("GOOD", seen)
        with guard.acting_as(credential):
            told.append(tool("return"))
            with pytest.raises(ValueError, match="refused") as raised:
                tool("raise")
        told.append("".join(traceback.format_exception(raised.value)))
        expected: list[tuple[str | None, bool, str | None]] = [("GOOD", True, None)] * 3
        for name in sorted({"MISSING", "FAILING"} & values.keys()):
            _refuse(guard, credential, name, values[name], told)
            expected += [(name, False, values[name])] * 2
        with pytest.raises(remit.SecretDenied) as denied:
            guard.resolve_secret(world.credential("MISSING"), "GOOD", tool="tool:use")
        told.append(shown(denied.value))
        expected.append(("GOOD", False, "secret_denied"))
    assert seen == [value, value]
    assert world.secret_records() == expected
    told += [
        repr(world.audit.records),
        repr(secret),
        str(secret),
        f"{secret:>30}",
        repr(secrets),
        repr(guard),
    ]
    told += [caplog.text, repr(vars(secrets).keys())]
    told += [json.dumps([vars(record) for record in caplog.records], default=repr)]
    for text in told:
        assert value not in text


def _refuse(guard: remit.Guard, credential: remit.Credential, name: str, code: str, told: list[str]) -> None:
    """Ask for a secret that cannot be had, directly and for a tool."""
    with pytest.raises(remit.SecretDenied) as direct:
        guard.resolve_secret(credential, name, tool="tool:use")
    with guard.acting_as(credential), pytest.raises(remit.SecretDenied) as called:
        tool_that_tells(name, [])("return")
    assert (direct.value.code, called.value.code) == (code, code)
    told += [shown(direct.value), shown(called.value), json.dumps(direct.value.to_dict())]


Answer = tuple[int, dict[str, Any]]


class Web:
    """An HTTP server of the test's own: it answers each path as told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def answer(self, path: str) -> Answer:
        """The status and the JSON for a path."""
        return self.answers.get(
            path, (404, {"error": {"code": "SecretNotFound", "message": "canary-message"}})
        )


@contextmanager
def running_web() -> Generator[Web]:
    """A web server on a free port of this machine."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path.partition("?")[0])
            web.asked.append((self.path, dict(self.headers)))
            status, members = web.answer(path)
            body = json.dumps(members).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", members.get("challenge", "Bearer"))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
