"""What goes wrong at the OAuth endpoints, in the words of RFC 6749, Section 5.2, and its successors."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from remit.errors import ConfigError, Denied
from remit.service.errors import ServiceError, status_of

__all__ = ["NO_STORE", "OAuthRoute"]

NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_ERRORS: Final = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_authorization_details",  # RFC 9396, Section 5
        "invalid_target",  # RFC 8693, Section 2.2.2
        "unsupported_token_type",  # RFC 7009, Section 2.2.1
    }
)
_UNAUTHORIZED: Final = 401
_TOO_MANY: Final = 429
_SERVER: Final = 500
_NOT_IN_DESCRIPTION: Final = re.compile(r"[^ !#-\[\]-~]", re.ASCII)
"""What an `error_description` must not hold: all that is not printable ASCII, quotes and backslashes."""


class OAuthRoute(APIRoute):
    """A route whose errors are OAuth's: `error` and `error_description`, beside `code` and `reason`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that answers what it refuses."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except ServiceError as error:
                return _answer(request, error)
            except Denied as denial:
                return _answer(request, ServiceError(_status(denial), denial.code, denial.reason))
            except ConfigError as error:
                return _answer(request, ServiceError(400, "invalid_request", f"{error}."))

        return handled


def _status(denial: Denied) -> int:
    """Return the status: what was shown is no good, which is a bad request here, or nobody knows."""
    status = status_of(denial)
    return status if status >= _SERVER else 400


def _answer(request: Request, error: ServiceError) -> JSONResponse:
    request.state.code = error.code  # for the log
    body = {
        "error": _oauth_error(error),
        "error_description": _NOT_IN_DESCRIPTION.sub("'", error.reason),
        "code": error.code,
        "reason": error.reason,
    }
    return JSONResponse(body, error.status, headers={**NO_STORE, **error.headers})


def _oauth_error(error: ServiceError) -> str:
    if error.code in _ERRORS:
        return error.code
    if error.status >= _SERVER or error.status == _TOO_MANY:
        return "temporarily_unavailable"
    return "invalid_token" if error.status == _UNAUTHORIZED else "invalid_request"
