"""What a capability does to the world, as far as its declaration or its name tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from remit.constraints import AllOf, AnyOf, Anything, Constraint, Each, NotOneOf, Path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from remit.config.model import DeclaredCapability
    from remit.config.settings import Effect

__all__ = ["effect_of", "is_open"]

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_VERBS: Final[dict[Effect, frozenset[str]]] = {
    "pay": frozenset({
        "pay", "transfer", "refund", "charge", "purchase", "buy", "sell", "withdraw", "wire", "payout",
    }),
    "send": frozenset({
        "send", "post", "publish", "notify", "message", "sms", "share", "upload", "reply", "forward", "tweet",
    }),
    "execute": frozenset({
        "exec", "execute", "run", "shell", "eval", "spawn", "sudo", "bash", "command", "invoke", "deploy",
    }),
    "delete": frozenset({"delete", "remove", "drop", "purge", "erase", "destroy", "wipe", "truncate", "rm"}),
    "write": frozenset({
        "write", "update", "create", "insert", "edit", "modify", "put", "patch", "set", "append", "save",
    }),
}  # fmt: skip
"""The gravest first: `refund_and_notify` pays."""
_NOUNS: Final[dict[Effect, frozenset[str]]] = {
    "pay": frozenset({"payment", "payments", "payouts", "refunds", "transfers", "purchases"}),
    "send": frozenset({"email", "emails", "mail"}),
}
"""They tell less: `payments:list` is a list."""
_READS: Final = frozenset({
    "read", "get", "list", "search", "find", "view", "fetch", "query", "count", "show", "lookup", "describe",
})  # fmt: skip


def effect_of(name: str, declared: Mapping[str, DeclaredCapability]) -> Effect | None:
    """Return what a capability does: as it is declared, or as the words of its name say.

    Returns:
        None for one that only reads, and where nothing tells.
    """
    one = declared.get(name)
    if one is not None and one.effect is not None:
        return None if one.effect == "read" else one.effect
    words = {word.lower() for word in _WORD.findall(name)}
    for told in (_VERBS, {} if words & _READS else _NOUNS):
        for effect, telling in told.items():
            if words & telling:
                return effect
    return None


def is_open(constraint: Constraint) -> bool:
    """Tell whether a constraint leaves its argument as good as unrestricted."""
    if isinstance(constraint, AnyOf):
        return any(map(is_open, constraint.clauses))
    if isinstance(constraint, AllOf):
        return all(map(is_open, constraint.clauses))
    if isinstance(constraint, Each):
        return is_open(constraint.constraint)
    if isinstance(constraint, Path):
        return constraint.root == "/"
    return isinstance(constraint, Anything | NotOneOf)
