"""Audit records on OpenTelemetry traces.

Attributes follow the semantic conventions for generative AI where these have a name (status: development,
as of 2026: `gen_ai.operation.name`, `gen_ai.tool.name`, `gen_ai.agent.name`, `error.type`); what is
Remit's own is under `remit.`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from remit.errors import ConfigError, TokenRejected

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from remit.record import AuditRecord

__all__ = ["OpenTelemetryAudit"]

_OPERATION: Final = "execute_tool"
_ATTRIBUTES: Final = {
    "agent": "gen_ai.agent.name",
    "capability": "gen_ai.tool.name",
    "code": "error.type",
}


class OpenTelemetryAudit:
    """Adds each record to the current span as an event, or to a short span of its own where there is none.

    Traces are sampled and sent later, and may be lost on the way: use it beside a log, in a `TeeAudit`.
    Where no OpenTelemetry SDK is set up, nothing would be kept at all; that is a failure, and the guard
    denies the call.

    Args:
        tracer_provider: makes the spans of its own; the global one by default.

    Raises:
        ConfigError: when opentelemetry-api is not there, or the argument is no tracer provider.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace
        except ImportError:
            raise ConfigError(
                "OpenTelemetryAudit needs opentelemetry-api: pip install 'remit[otel]'"
            ) from None
        if tracer_provider is not None and not isinstance(tracer_provider, trace.TracerProvider):
            raise ConfigError("tracer_provider must be a TracerProvider of OpenTelemetry")
        self._tracer: Tracer = trace.get_tracer("remit", tracer_provider=tracer_provider)

    def record(self, record: AuditRecord) -> None:
        """Add the record to a span.

        Raises:
            Denied: with `audit_unavailable`, when there is no OpenTelemetry SDK.
        """
        from opentelemetry import trace

        name, attributes = f"remit.{record.event}", _attributes(record)
        at = int(record.at * 1_000_000_000)
        current = trace.get_current_span()
        if current.is_recording():
            current.add_event(name, attributes, timestamp=at)
            return
        title = f"{_OPERATION} {record.capability}" if record.capability else name
        span = self._tracer.start_span(title, attributes=attributes)
        if not span.get_span_context().is_valid:
            raise TokenRejected("audit_unavailable", "No OpenTelemetry SDK is set up to take the record.")
        span.add_event(name, attributes, timestamp=at)
        if not record.allowed:
            span.set_status(trace.Status(trace.StatusCode.ERROR, record.code))
        span.end()

    def __repr__(self) -> str:
        return "OpenTelemetryAudit()"


def _attributes(record: AuditRecord) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {"remit.event": record.event}
    if record.capability is not None:
        attributes["gen_ai.operation.name"] = _OPERATION
    for name, value in record.items():
        if name in {"event", "at"}:
            continue
        shown = json.dumps(value, sort_keys=True) if name == "arguments" else value
        attributes[_ATTRIBUTES.get(name, f"remit.{name}")] = cast("AttributeValue", shown)
    return attributes
