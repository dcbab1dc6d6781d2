"""Values nobody should pass, and one look at what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NoReturn

import remit

MEGABYTES_50: Final = "x" * 50_000_000


class Hostile:
    """Raises whenever it is looked at."""

    def _no(self, *_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("nobody may look at me")

    __repr__ = __str__ = __eq__ = __hash__ = __len__ = __iter__ = __bool__ = __int__ = __float__ = _no
    __getitem__ = __contains__ = __index__ = __format__ = __bytes__ = __fspath__ = __lt__ = __gt__ = _no
    __enter__ = __exit__ = __call__ = __complex__ = __round__ = __add__ = __mul__ = __dir__ = __reversed__ = (
        _no
    )


def deep(levels: int, kind: type[list[Any] | dict[str, Any]] = list) -> Any:
    """A list in a list in a list."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


def _endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _endless_object() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = value
    return value


def _generator() -> Iterator[int]:
    yield 1


JUNK: Final[dict[str, Any]] = {
    "None": None,
    "True": True,
    "0": 0,
    "-1": -1,
    "1.5": 1.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "complex": 1j,
    "10**5000": 10**5000,
    "bytes": b"token",
    "bytearray": bytearray(b"token"),
    "empty text": "",
    "blank": " \t",
    "text": "token",
    "dots": "a.b.c",
    "NUL": "a\x00b",
    "lone surrogate": "a\ud800",
    "right-to-left": "\u202etrades",
    "50 MB": MEGABYTES_50,
    "empty list": [],
    "list": [1, "a"],
    "list of None": [None],
    "tuple": (),
    "empty dict": {},
    "dict": {"a": 1},
    "dict with number keys": {1: 2, None: 3},
    "set": {1},
    "object": object(),
    "class": int,
    "function": deep,
    "exception": ValueError("x"),
    "path": Path("/nonexistent/\x00"),
    "namespace": SimpleNamespace(token="x", chain=["x"]),  # no secret
    "10,000 deep": deep(10_000),
    "10,000 deep object": deep(10_000, dict),
    "recursive list": _endless(),
    "recursive dict": _endless_object(),
    "generator": _generator(),
    "hostile": Hostile(),
    "list of hostile": [Hostile()],
    "dict of hostile": {"a": Hostile()},
}

CODES: Final = frozenset(
    [
        "token_malformed",
        "token_signature_invalid",
        "token_issuer_untrusted",
        "token_expired",
        "token_not_yet_valid",
        "token_revoked",
        "token_chain_invalid",
        "proof_missing",
        "proof_invalid",
        "proof_replayed",
        "audience_mismatch",
        "agent_mismatch",
        "session_mismatch",
        "task_mismatch",
        "capability_missing",
        "argument_denied",
        "limit_exceeded",
        "delegate_only",
        "not_bound",
        "credential_closed",
        "secret_denied",
        "secret_not_found",
        "secret_backend_error",
        "revocations_stale",
        "ledger_unavailable",
        "audit_unavailable",
    ]
)


def outcome(call: Callable[[], object]) -> str:
    """What came of a call: "returned", or the kind of `RemitError` raised. Anything else goes through."""
    try:
        call()
    except remit.RemitError as error:
        return _kind(error)
    return "returned"


def _kind(error: remit.RemitError) -> str:
    """Look at an error as its reader would."""
    assert str(error)
    assert len(str(error)) < 5_000
    if not isinstance(error, remit.Denied):
        return "refused"
    assert error.code in CODES
    assert isinstance(error.reason, str)
    assert error.reason
    assert isinstance(error.to_dict(), dict)
    return "denied"
