"""What goes wrong, as it is answered: a status, a code and one sentence."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from remit.errors import Denied

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServiceError", "status_of"]

_UNAVAILABLE: Final = frozenset(
    {"ledger_unavailable", "audit_unavailable", "revocations_stale", "secret_backend_error"}
)
_FORBIDDEN: Final = frozenset(
    {
        "capability_missing",
        "argument_denied",
        "limit_exceeded",
        "delegate_only",
        "secret_denied",
        "secret_not_found",
        "not_bound",
    }
)


class ServiceError(Exception):
    """A request that is not answered as it was hoped.

    Args:
        status: the HTTP status.
        code: what went wrong, for a program; on the OAuth face it is the `error` of the RFC.
        reason: one sentence, which shows no value that a secret may stand in.
        headers: what else the response says.
    """

    status: int
    code: str
    reason: str
    headers: dict[str, str]

    def __init__(
        self, status: int, code: str, reason: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason
        self.headers = dict(headers or {})


def status_of(denial: Denied) -> int:
    """Return the status: the token is no good (401), does not allow the call (403), nobody knows (503)."""
    if denial.code in _UNAVAILABLE:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.FORBIDDEN if denial.code in _FORBIDDEN else HTTPStatus.UNAUTHORIZED
