"""Whether an instance lives, whether it can work, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from remit.errors import RemitError
from remit.service.errors import ServiceError
from remit.service.openapi import described

if TYPE_CHECKING:
    from remit.service.gate import Gate
    from remit.service.instance import Instance
    from remit.service.telemetry import Metrics

__all__ = ["router"]

_STATUS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string", "enum": ["ok", "unavailable"]}},
}
_READY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["status", "ledger", "key", "audit"],
    "properties": {
        **_STATUS["properties"],
        "ledger": {"type": "boolean", "description": "Whether the ledger answers."},
        "key": {"type": "boolean", "description": "Whether there is a key to sign with."},
        "audit": {"type": "boolean", "description": "Whether the audit log takes records, if there is one."},
    },
}
_READY_EXAMPLE: Final = {"status": "ok", "ledger": True, "key": True, "audit": True}
_THREADS: Final = 4
_TEXT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Numbers, as Prometheus reads them.", "content": {"text/plain": {}}}
}


def router(instance: Instance, gate: Gate) -> APIRouter:  # noqa: ARG001 - every router takes both
    """Return the routes, which are open to all: they name no agent and no token."""
    health = _Health(instance)
    routes = APIRouter(tags=["health"])
    routes.add_api_route(
        "/healthz",
        health.alive,
        summary="Whether the process lives",
        responses=described(_STATUS, example={"status": "ok"}),
    )
    ready = described(_READY, example=_READY_EXAMPLE)
    unready = described(_READY, status=503, description="It cannot issue or verify anything.")
    routes.add_api_route(
        "/readyz",
        health.ready,
        summary="Whether the instance can work",
        responses={**ready, **unready},
    )
    routes.add_api_route(
        "/metrics",
        health.metrics,
        summary="Numbers for Prometheus",
        response_class=PlainTextResponse,
        responses=_TEXT,
    )
    return routes


class _Health:
    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._threads = CapacityLimiter(_THREADS)  # of its own: all others may be waiting for something

    async def alive(self) -> JSONResponse:
        """Answer as long as the event loop runs."""
        return JSONResponse({"status": "ok"})

    async def ready(self) -> JSONResponse:
        """Answer whether the ledger answers, there is a key that was not revoked, and records are taken."""
        found = await to_thread.run_sync(self._looked, limiter=self._threads)
        is_ready = all(found.values())
        document = {"status": "ok" if is_ready else "unavailable", **found}
        return JSONResponse(document, 200 if is_ready else 503)

    def _looked(self) -> dict[str, bool]:
        audit = self._instance.audit
        return {
            "ledger": self._ledger_answers(),
            "key": self._key_signs(),
            "audit": audit is None or audit.takes_records(),
        }

    def metrics(self, request: Request) -> Response:
        """Answer with the numbers of all workers."""
        numbers: Metrics = request.app.state.metrics
        body, kind = numbers.shown()
        return Response(body, media_type=kind)

    def _ledger_answers(self) -> bool:
        try:
            self._instance.ledger.position()
        except Exception:  # noqa: BLE001 - whatever a ledger raises, it does not answer
            return False
        return True

    def _key_signs(self) -> bool:
        try:
            self._instance.keys.signing()
        except (RemitError, ServiceError):
            return False
        return True
