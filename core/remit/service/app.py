"""The application: its routes, put together, and how it answers where none of them does."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Match

from remit._version import __version__
from remit.errors import Denied
from remit.service import console, feed, health, metadata, oauth, openapi, tokens
from remit.service.bounds import Bounds
from remit.service.errors import ServiceError, status_of
from remit.service.gate import Gate
from remit.service.telemetry import Metrics, Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.service.bounds import App, Message, Receive, Scope, Send
    from remit.service.instance import Instance

__all__ = ["create_app"]

_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every answer says, unless its route says something else."""
_TLS_ONLY: Final = (b"strict-transport-security", b"max-age=63072000")
_CHANGING: Final = frozenset({"POST", "DELETE"})
_CODES: Final[Mapping[int, str]] = {404: "not_found", 405: "method_not_allowed"}


def create_app(instance: Instance) -> FastAPI:
    """Return the application for an instance that is open.

    Args:
        instance: what its routes work with; whoever opened it closes it.
    """
    metrics = Metrics()
    gate = Gate(instance, noted=metrics.sign_in_failed)
    app = FastAPI(
        title="Remit",
        version=__version__,
        description="Issues, verifies and revokes capability tokens for agents.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would be to whatever the Host header says
        middleware=[
            Middleware(_Headers),
            Middleware(Telemetry, metrics=metrics),
            Middleware(Bounds),
        ],
        exception_handlers={
            ServiceError: _service_error,
            Denied: _denied,
            RequestValidationError: _misfit,
            HTTPException: _http_error,
        },
    )
    app.state.metrics = metrics
    faces = [part.router(instance, gate) for part in (tokens, oauth, metadata, feed, health)]
    pages = console.router(instance, gate)  # which sees for itself where its forms come from
    app.state.routes = [route for routes in [*faces, pages] for route in routes.routes]
    for routes in faces:
        app.include_router(routes, dependencies=[Depends(_same_site)])
    app.include_router(pages)
    made: list[dict[str, Any]] = []

    def document() -> dict[str, Any]:
        if not made:
            made.append(openapi.document(app))
        return made[0]

    app.openapi = document  # type: ignore[method-assign]
    return app


async def _same_site(request: Request) -> None:
    """Refuse what another site's page has a browser do, by a header that no page can set (Fetch Metadata)."""
    sites = request.headers.getlist("sec-fetch-site")
    if request.method in _CHANGING and "cross-site" in sites:
        raise ServiceError(403, "cross_site", "A page of another site may not ask for this.")


class _Headers:
    """Adds to every answer the headers that it does not have."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lines = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        lines = [*self._lines, _TLS_ONLY] if scope.get("scheme") == "https" else self._lines

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = list(message.get("headers", ()))
                names = {name.lower() for name, _ in said}
                message = {**message, "headers": said + [line for line in lines if line[0] not in names]}
            await send(message)

        await self._app(scope, receive, with_headers)


def _answer(
    request: Request, status: int, document: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> JSONResponse:
    request.state.code = document["code"]
    return JSONResponse(document, status, headers=dict(headers or {}))


async def _service_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ServiceError):
        raise error
    document = {"code": error.code, "reason": error.reason}
    return _answer(request, error.status, document, error.headers)


async def _denied(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, Denied):
        raise error
    return _answer(request, status_of(error), error.to_dict())


async def _misfit(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - it shows what was sent
    return _answer(request, 400, {"code": "invalid_request", "reason": "A parameter makes no sense."})


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, "invalid_request")
    reason = f"{HTTPStatus(error.status_code).phrase}."
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)
    return _answer(request, error.status_code, {"code": code, "reason": reason}, headers)


def _allowed(request: Request) -> str:
    """Return the methods of all routes that have this path; Starlette names those of the first."""
    routes = [one for one in request.app.state.routes if one.matches(request.scope)[0] is not Match.NONE]
    routes = [one for one in routes if one.path == request.url.path] or routes  # its own before a template
    return ", ".join(sorted({method for route in routes for method in getattr(route, "methods", None) or ()}))
