"""What a request gets that is not let through: a status and JSON, `{"code", "reason"}`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import remit

__all__ = ["App", "Message", "Receive", "Refusal", "Scope", "Send", "refuse"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_UNKNOWN: Final = ("ledger_unavailable", "audit_unavailable", "revocations_stale", "secret_backend_error")


class Refusal(Exception):
    """A request that is not let through.

    Args:
        reason: one sentence, which shows no value of the request.
        status: the HTTP status.
        code: what went wrong, for a program.
    """

    def __init__(self, reason: str, status: int = 400, code: str = "invalid_request") -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason


async def refuse(send: Send, refused: Refusal | remit.Denied) -> None:
    """Answer a request: nobody knows (503), the token is no good (401) or not for this call (403)."""
    if isinstance(refused, Refusal):
        status = refused.status
    else:
        status = 503 if refused.code in _UNKNOWN else 401 if isinstance(refused, remit.TokenRejected) else 403
    body = json.dumps({"code": refused.code, "reason": refused.reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(b"cache-control", b"no-store")]
    if status in {401, 403}:
        headers += [(b"www-authenticate", f'Remit error="{refused.code}"'.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
