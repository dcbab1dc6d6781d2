"""The other sinks: logging, OpenTelemetry, and several at once."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import remit
from remit.audit import JsonlAudit, LoggingAudit, MemoryAudit, OpenTelemetryAudit, SqliteAudit, TeeAudit

from .support import NOW, calls_of, record, sound, unavailable

# ── logging ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def logger() -> logging.Logger:
    """A logger of its own, to which nobody listens yet."""
    return logging.Logger("test.audit", logging.INFO)  # noqa: LOG001 - one that pytest does not know


class Keeper(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelno, self.format(record)))


def test_a_record_is_one_line_of_json_on_a_logger(logger: logging.Logger) -> None:
    keeper = Keeper()
    logger.addHandler(keeper)
    LoggingAudit(logger).record(record(reason="a\r\n\x1b[31m%s {}", code="x"))
    LoggingAudit(logger, level=logging.WARNING).record(record(1))
    [(level, line), (other, _)] = keeper.lines
    assert (level, other) == (logging.INFO, logging.WARNING)
    assert line.isprintable()
    assert json.loads(line) == dict(record(reason="a\r\n\x1b[31m%s {}", code="x"))


def test_the_usual_logger_is_that_of_remit(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "remit.audit"):
        LoggingAudit().record(record())
    assert [logged.name for logged in caplog.records] == ["remit.audit"]
    assert repr(LoggingAudit()) == "LoggingAudit('remit.audit')"


def test_a_logger_that_would_drop_a_record_is_a_sink_that_fails(logger: logging.Logger) -> None:
    audit, keeper = LoggingAudit(logger), Keeper()
    unavailable(audit)  # nobody listens
    deaf = logging.Logger("test.audit", logging.WARNING)  # noqa: LOG001 - as above
    for each in (logger, deaf):
        each.addHandler(keeper)
    unavailable(LoggingAudit(deaf))
    assert keeper.lines == []
    audit.record(record())
    assert len(keeper.lines) == 1


@pytest.mark.parametrize("options", [{"logger": "x"}, {"logger": 5}, {"level": 0}, {"level": "INFO"}, {"level": True}, {"level": -1}], ids=repr)  # fmt: skip
def test_loggers_and_levels_that_are_none_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(remit.ConfigError):
        LoggingAudit(**options)


# ── OpenTelemetry ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Where spans end up."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    """A provider that keeps everything, and is nobody else's."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


def test_a_decision_is_an_event_of_the_current_span(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    audit = OpenTelemetryAudit(provider)
    with provider.get_tracer("app").start_as_current_span("the agent's step"):
        audit.record(record(code="argument_denied", allowed=False, reason="No.", arguments={"n": 1}))
    [span] = exporter.get_finished_spans()
    [event] = span.events
    assert (span.name, event.name, event.timestamp) == ("the agent's step", "remit.decision", int(NOW * 1e9))
    assert dict(event.attributes or {}) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "tool:use",
        "gen_ai.agent.name": "agent-a",
        "error.type": "argument_denied",
        "remit.event": "decision",
        "remit.allowed": False,
        "remit.call_id": "call-0",
        "remit.chain": ("t-1", "t-2"),
        "remit.reason": "No.",
        "remit.arguments": '{"n": 1}',
    }


@pytest.mark.parametrize("allowed", [True, False])
def test_without_a_current_span_a_decision_has_one_of_its_own(
    provider: TracerProvider, exporter: InMemorySpanExporter, allowed: bool
) -> None:
    OpenTelemetryAudit(provider).record(record(allowed=allowed, code=None if allowed else "token_expired"))
    [span] = exporter.get_finished_spans()
    assert span.name == "execute_tool tool:use"
    assert [event.name for event in span.events] == ["remit.decision"]
    assert span.status.is_ok is allowed or (allowed and span.status.is_unset)
    assert (span.attributes or {})["gen_ai.tool.name"] == "tool:use"


def test_a_record_without_a_capability_is_no_execution_of_a_tool(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    OpenTelemetryAudit(provider).record(record(event="revoke", capability=None, subject="t-1"))
    [span] = exporter.get_finished_spans()
    assert span.name == "remit.revoke"
    assert "gen_ai.operation.name" not in (span.attributes or {})
    assert (span.attributes or {})["remit.subject"] == "t-1"


def test_a_whole_call_is_a_decision_and_an_outcome_in_the_span_it_was_made_in(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    issuer = remit.Issuer.generate("https://auth.acme.example")
    guard = remit.Guard([issuer.anchor], audit=OpenTelemetryAudit(provider))

    @remit.requires_capability("tool:use")
    def tool() -> None:
        pass

    with (
        provider.get_tracer("app").start_as_current_span("step"),
        guard.acting_as(issuer.issue("agent-a", ["tool:use"])),
    ):
        tool()
    [span] = exporter.get_finished_spans()
    assert [event.name for event in span.events] == ["remit.decision", "remit.outcome"]
    decided, ended = (dict(event.attributes or {})["remit.call_id"] for event in span.events)
    assert decided == ended


def test_without_an_sdk_nothing_would_be_kept_and_that_is_a_failure() -> None:
    unavailable(OpenTelemetryAudit(trace.NoOpTracerProvider()))


def test_a_span_that_is_not_sampled_is_the_operators_wish() -> None:
    OpenTelemetryAudit(TracerProvider(sampler=ALWAYS_OFF)).record(record())


def test_what_is_no_provider_is_refused() -> None:
    with pytest.raises(remit.ConfigError):
        OpenTelemetryAudit("x")  # type: ignore[arg-type]  # the mistake itself


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(remit.ConfigError, match=r"pip install 'remit\[otel\]'"):
        OpenTelemetryAudit()


# ── several ─────────────────────────────────────────────────────────────────────────────────────────────────


class Failing:
    """A sink that fails, also when it is closed."""

    closed = 0

    def record(self, record: remit.AuditRecord) -> None:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self.closed += 1
        raise OSError(5, "Input/output error")


def test_every_sink_gets_every_record(tmp_path: Path) -> None:
    memory = MemoryAudit()
    with TeeAudit(memory, JsonlAudit(tmp_path / "a"), SqliteAudit(tmp_path / "b")) as audit:
        audit.record(record(0))
        audit.record(record(1))
    assert memory.records == [record(0), record(1)]
    assert calls_of(tmp_path / "a") == ["call-0", "call-1"]
    assert sound(tmp_path / "a").last == sound(tmp_path / "b").last == 4  # both were closed


def test_when_one_sink_fails_the_call_is_denied_and_later_ones_are_not_asked() -> None:
    issuer = remit.Issuer.generate("https://auth.acme.example")
    before, after = MemoryAudit(), MemoryAudit()
    guard = remit.Guard([issuer.anchor], audit=TeeAudit(before, Failing(), after))
    with pytest.raises(remit.Denied) as caught:
        guard.check(issuer.issue("agent-a", ["tool:use"]), "tool:use", {})
    assert caught.value.code == "audit_unavailable"
    assert (len(before.records), len(after.records)) == (1, 0)


def test_all_sinks_are_closed_though_one_fails(tmp_path: Path) -> None:
    failing, log = Failing(), JsonlAudit(tmp_path / "a")
    with pytest.raises(OSError, match="Input/output"):
        TeeAudit(failing, MemoryAudit(), log).close()
    assert failing.closed == 1
    unavailable(log)
    assert repr(TeeAudit(log)) == f"TeeAudit({log!r})"


@pytest.mark.parametrize(
    "sinks", [(), (None,), (MemoryAudit(), "x"), ([MemoryAudit()],)], ids=["none", "None", "text", "list"]
)
def test_what_are_no_sinks_is_refused(sinks: tuple[Any, ...]) -> None:
    with pytest.raises(remit.ConfigError):
        TeeAudit(*sinks)


@pytest.mark.parametrize("make", [JsonlAudit, SqliteAudit, lambda path: TeeAudit(JsonlAudit(path))], ids=["jsonl", "sqlite", "tee"])  # fmt: skip
def test_an_issuer_records_what_it_issues(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    with make(tmp_path / "audit") as audit:
        credential = remit.Issuer.generate("https://auth.acme.example", audit=audit).issue("agent-a", ["t"])
    from remit.audit import read_log

    [made] = [entry.record for entry in read_log(tmp_path / "audit") if entry.members["event"] == "issue"]
    assert made is not None
    assert (made.agent, made.token_id) == ("agent-a", credential.token_id)
