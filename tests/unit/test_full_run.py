"""R19: one run with everything switched on, and every byte it left anywhere searched for canaries."""
# ruff: noqa: TRY301 - what is raised here is the case

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sqlite3
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import remit

SECRETS: Final = {"API_KEY": "canary-env-91d2c8f4", "PASSWORD": "canary-file-5b7e/+=\u00e9"}
ARGUMENT: Final = "canary-argument-77aa"


class SdkError(Exception):
    """What a client library raises, with all it knows."""


@remit.requires_capability("mail:send")
def send(to: str, body: str, key: remit.Secret = remit.secret("API_KEY")) -> dict[str, str]:
    """A tool that tells its secret."""
    return {"to": to, "size": str(len(body)), "echo": f"with {key.reveal()}"}


@remit.requires_capability("mail:fail")
def fail(to: str, password: remit.Secret = remit.secret("PASSWORD")) -> None:
    """A tool that fails with its secret."""
    try:
        raise SdkError(f"login as {to} with {password.reveal()}")
    except SdkError as error:
        raise RuntimeError(f"cannot send: {error}") from error


@remit.requires_capability("mail:list")
async def mails(key: remit.Secret = remit.secret("API_KEY")) -> AsyncIterator[str]:
    """A tool that yields its secret."""
    yield base64.b64encode(key.reveal().encode()).decode()
    yield key.reveal()


@dataclass(repr=False)
class Run:
    """One deployment, and what it let out."""

    folder: Path
    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    memory: remit.MemoryAudit = field(default_factory=remit.MemoryAudit)
    shown: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    """Tracebacks with local variables: those hold arguments and tokens, as callers have them, and no secret."""
    canaries: list[str] = field(default_factory=lambda: [*SECRETS.values(), ARGUMENT])

    def __post_init__(self) -> None:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        logger = logging.getLogger("full-run")
        logger.setLevel(logging.DEBUG)
        self.sinks: list[Any] = [
            remit.JsonlAudit(
                self.folder / "audit.jsonl", signer=remit.Issuer.generate("urn:example:audit"), every=3
            ),
            remit.SqliteAudit(self.folder / "audit.db"),
            remit.LoggingAudit(logger),
            remit.OpenTelemetryAudit(provider),
            self.memory,
        ]
        self.audit = remit.TeeAudit(*self.sinks)
        self.ledger = remit.SqliteLedger(self.folder / "ledger.db")
        self.issuer = remit.Issuer.generate("https://auth.acme.example", audit=self.audit, ledger=self.ledger)
        self.guard = remit.Guard(
            [self.issuer.anchor],
            ledger=self.ledger,
            audit=self.audit,
            secrets={"PASSWORD": f"file://{self.folder / 'mounted' / 'password'}"},
            record_arguments={"mail:send": ["to"]},
        )

    def try_out(self, call: Callable[[], Any]) -> None:
        """Make a call and keep all that anybody could see of it."""
        try:
            value = call()
        except Exception as error:
            logging.getLogger("app").exception("it failed")
            self.shown += [repr(error), str(error), *traceback.format_exception(error)]
            frames = traceback.TracebackException.from_exception(error, capture_locals=True)
            self.variables += frames.format(chain=True)
            if isinstance(error, remit.Denied):
                self.shown.append(json.dumps(error.to_dict()))
        else:
            logging.getLogger("app").info("%s %r", value, value)
            self.shown += [repr(value), str(value)]

    def know(self, credential: remit.Credential) -> None:
        """Its tokens and its key are seen nowhere either."""
        key = str(json.loads(credential.to_json())["holder_key"]["d"])
        self.canaries += [key, *credential.chain, *(token.rpartition(".")[2] for token in credential.chain)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("API_KEY", SECRETS["API_KEY"])
    (tmp_path / "mounted").mkdir()
    (tmp_path / "mounted" / "password").write_text(SECRETS["PASSWORD"], encoding="utf-8")
    return Run(tmp_path)


def use_everything(run: Run) -> None:
    """Allowed, denied, failed, streamed, delegated, presented, revoked, malformed."""
    guard, issuer = run.guard, run.issuer
    tools = ["mail:send", "mail:fail", "mail:list"]
    parent = issuer.issue(
        "lead", tools, secrets=[*SECRETS], max_depth=1, limits={"mail:send": remit.Limit(max_uses=3)}
    )
    child = parent.delegate("worker", tools, secrets=[*SECRETS])
    for credential in (parent, child):
        run.know(credential)
    with guard.acting_as(child):
        run.try_out(lambda: send("bob", ARGUMENT))
        run.try_out(lambda: send(to="bob", body=SECRETS["API_KEY"]))
        run.try_out(lambda: send(ARGUMENT))  # type: ignore[call-arg]  # on purpose
        run.try_out(lambda: fail("bob"))
        run.try_out(lambda: asyncio.run(_listed()))
    presentation = child.present("mail:send", {"to": "bob", "body": ARGUMENT})
    run.canaries += [presentation.proof, presentation.proof.rpartition(".")[2]]
    for _ in range(2):
        run.try_out(lambda: guard.verify(presentation, "mail:send", {"to": "bob", "body": ARGUMENT}))
    run.try_out(lambda: guard.check(child, "mail:send", {"to": "bob", "body": ARGUMENT}))
    run.try_out(lambda: guard.check(child, ARGUMENT[:3], {}))
    run.try_out(lambda: guard.explain(child, "mail:send", {"to": ARGUMENT, "body": ARGUMENT}))
    for bad in (
        child.token[:-3],
        child.token + "x",
        [child.token],
        {"aat_chain": child.chain, "aat_pop": child.token},
    ):
        run.try_out(lambda bad=bad: guard.validate(bad))  # type: ignore[misc]
        run.try_out(lambda bad=bad: guard.verify(bad, "mail:send", {}))  # type: ignore[misc]
    run.try_out(lambda: guard.resolve_secret(child, "API_KEY", tool="mail:send"))
    run.try_out(lambda: guard.resolve_secret(child, "OTHER", tool="mail:send"))
    run.try_out(lambda: guard.revoke(child.token_id, reason="over"))
    run.try_out(lambda: guard.revoke_key(guard.validate(parent).holder))
    run.try_out(lambda: guard.check(child, "mail:send", {"to": "bob", "body": ARGUMENT}))
    run.try_out(guard.revocations)
    run.try_out(lambda: run.ledger.tokens(0))
    for thing in (
        guard,
        issuer,
        parent,
        child,
        presentation,
        run.ledger,
        run.audit,
        *run.sinks,
        run.memory.records,
    ):
        run.shown += [repr(thing), str(thing)]


async def _listed() -> list[str]:
    return [item async for item in mails()]


def spellings(canary: str) -> set[str]:
    """How a value may stand in a file: as it is, and escaped as JSON."""
    return {canary, json.dumps(canary)[1:-1]}


def test_a_run_with_everything_leaves_no_canary_anywhere(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    use_everything(run)
    for sink in run.sinks[:2]:
        sink.close()
    run.ledger.close()
    places = {
        "shown": "\n".join(run.shown),
        "log": caplog.text,
        "records": repr([dict(record) for record in run.memory.records]),
        "spans": "\n".join(span.to_json() for span in run.spans.get_finished_spans()),
    }
    for path in sorted(
        path for path in run.folder.rglob("*") if path.is_file() and "mounted" not in path.parts
    ):
        places[path.name] = path.read_bytes().decode("utf-8", "replace")
    found = {
        (place, canary[:24])
        for place, text in places.items()
        for canary in run.canaries
        if any(spelling in text for spelling in spellings(canary))
    }
    assert found == set()
    variables = "\n".join(run.variables)
    assert [secret for secret in SECRETS.values() if secret in variables] == []
    assert "Secret('PASSWORD'" in variables
    for place in ("shown", "log", "records", "spans", "audit.jsonl", "audit.db", "ledger.db"):
        assert len(places[place]) > 1000, place  # there was something to search


def test_what_the_run_recorded_is_whole_and_in_every_sink(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    use_everything(run)
    for sink in run.sinks[:2]:
        sink.close()
    lines = [
        json.loads(line) for line in (run.folder / "audit.jsonl").read_text(encoding="ascii").splitlines()
    ]
    recorded = [line for line in lines if line["event"] != "checkpoint"]
    assert [line["event"] for line in recorded] == [record.event for record in run.memory.records]
    assert {line["event"] for line in recorded} == {"decision", "outcome", "secret", "issue", "revoke"}
    allowed = [line["call_id"] for line in recorded if line["event"] == "decision" and line["allowed"]]
    outcomes = [line["call_id"] for line in recorded if line["event"] == "outcome"]
    assert set(outcomes) <= set(allowed)
    assert len(outcomes) == len(set(outcomes))
    with sqlite3.connect(run.folder / "audit.db") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
    sent = next(line for line in recorded if line.get("capability") == "mail:send")
    assert sent["arguments"] == {"to": "bob"}
