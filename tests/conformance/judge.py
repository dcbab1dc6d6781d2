"""Puts a forged presentation before a fresh guard and says what must come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import pytest

import remit

from .forge import AUDIENCE, ISSUER, NOW, ROOT, Key, Story, story

MAX_TTL: Final = 7_776_000
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
"""Every code of the contract."""

MALFORMED: Final = ("token_malformed",)
STRUCTURE: Final = ("token_malformed", "token_chain_invalid")
"""A claim that is missing or of the wrong kind: either word is true of it."""
SIGNATURE: Final = ("token_signature_invalid",)
HEADER: Final = ("token_malformed", "token_signature_invalid")
CHAIN: Final = ("token_chain_invalid",)
PROOF: Final = ("proof_invalid",)
ARGUMENT: Final = ("argument_denied",)

Change = Callable[[Story], None]


def anchor(key: Key = ROOT, issuer: str = ISSUER) -> remit.TrustAnchor:
    """The public half of `key`, trusted as `issuer`."""
    return remit.TrustAnchor(issuer, key.jwk)


def guard(now: float = NOW, **options: Any) -> remit.Guard:
    """A guard that trusts the forge's root and whose clock stands still."""
    options.setdefault("trust", [anchor()])
    options.setdefault("audience", AUDIENCE)
    options.setdefault("max_ttl", MAX_TTL)
    return remit.Guard(clock=lambda: now, **options)


def verify(made: Story | Mapping[str, Any], like: Story | None = None, **options: Any) -> remit.Permit:
    """Verify with a fresh guard, or with `by=` one that remembers."""
    about = made if isinstance(made, Story) else like
    assert about is not None
    presentation = made.seal() if isinstance(made, Story) else dict(made)
    judge: remit.Guard = options.pop("by", None) or guard()
    return judge.verify(presentation, about.tool, about.args, **options)


def permits(made: Story | Mapping[str, Any], like: Story | None = None, **options: Any) -> remit.Permit:
    """The presentation is accepted, for this tool and these arguments."""
    permit = verify(made, like, **options)
    assert isinstance(permit, remit.Permit)
    return permit


def denies(
    made: Story | Mapping[str, Any], codes: Iterable[str] = CODES, like: Story | None = None, **options: Any
) -> remit.Denied:
    """The presentation is refused with one of `codes`, and the reason is fit to be read."""
    with pytest.raises(remit.Denied) as refusal:
        verify(made, like, **options)
    denied = refusal.value
    assert denied.code in CODES
    assert denied.code in set(codes), f"{denied.code}: {denied.reason}"
    assert isinstance(denied.reason, str)
    assert denied.reason.strip()
    return denied


def change_is_fatal(
    change: Change, codes: Iterable[str] = CODES, base: Callable[[], Story] = story, **options: Any
) -> None:
    """The story is accepted as it is and refused once changed, both by guards of their own."""
    permits(base())
    changed = base()
    change(changed)
    denies(changed, codes, **options)


def change_is_harmless(change: Change, base: Callable[[], Story] = story, **options: Any) -> None:
    """The story is accepted both as it is and changed."""
    permits(base())
    changed = base()
    change(changed)
    permits(changed, **options)
