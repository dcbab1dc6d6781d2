"""What a caller hands in, read once: tokens, a capability's name, arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, cast

from remit.checks import argument_denied
from remit.credential import Credential
from remit.encoding import ArgumentError, snapshot
from remit.errors import CapabilityDenied, TokenRejected, shown
from remit.names import MAX_NAME, mapping
from remit.proof import Presentation

if TYPE_CHECKING:
    from remit.binding import Call
    from remit.checks import ChainGrant
    from remit.encoding import JsonObject
    from remit.verify import VerifiedChain

__all__ = ["capability_name", "check_possession", "named_defaults", "private_copy", "tokens_of"]

_class_of: Final = cast("Callable[[object], type[object]]", type)
_TEXT: Final[frozenset[type]] = frozenset({str})


def check_possession(source: object, chain: VerifiedChain) -> None:
    """Step 7 where no boundary was crossed: the credential is open and holds its private key."""
    if not isinstance(source, Credential):
        raise TokenRejected("proof_missing", "A bare token proves nothing; a credential is needed.")
    if source.closed:
        raise TokenRejected("credential_closed", "The credential was closed.")
    if not source.is_held_for(chain.leaf.holder):
        raise TokenRejected(
            "proof_missing",
            "The credential does not hold the token's private key; its holder must present a proof.",
        )


def tokens_of(source: object) -> tuple[str, ...]:
    """Return the tokens, root first, of a credential, a presentation, a chain or a single token."""
    if isinstance(source, Credential):
        if source.closed:
            raise TokenRejected("credential_closed", "The credential was closed.")
        return source.chain
    if isinstance(source, Presentation):
        return _texts(source.chain)
    if isinstance(source, list | tuple):
        return _texts(cast("list[object]", source))
    if isinstance(source, str):
        return _texts((source,))
    raise TokenRejected("token_malformed", f"A token is needed, not {shown(source)}.")


def _texts(chain: Collection[object]) -> tuple[str, ...]:
    texts = tuple(token for token in chain if type(token) is str)
    if len(texts) != len(chain):
        raise TokenRejected("token_malformed", "The chain holds something that is not text.")
    return texts


def capability_name(capability: object) -> str:
    """Return the name of what is asked for, which a caller may have given as anything."""
    if not isinstance(capability, str) or len(capability) > MAX_NAME * 8:
        raise CapabilityDenied(
            "capability_missing", f"A capability's name is needed, not {shown(capability)}."
        )
    return capability


def private_copy(grant: ChainGrant, arguments: object) -> tuple[dict[str, Any], JsonObject]:
    """Return a copy of the arguments that nobody else can change, and its JSON form."""
    given = _by_name(arguments)
    if given is None:
        raise argument_denied(grant.name, "needs arguments by parameter name", None)
    try:
        return snapshot(given, max_size=grant.max_size)
    except ArgumentError as error:
        problem = f"has an argument {shown(error.argument)} that {error}"
        raise argument_denied(grant.name, problem, error.argument) from None


def _by_name(arguments: Any) -> dict[str, Any] | None:
    kind = _class_of(arguments)
    try:
        given: dict[str, Any] = arguments.copy() if kind is dict else dict(mapping("arguments", arguments))
    except Exception:  # noqa: BLE001 - a mapping of somebody's own may raise anything when it is read
        return None
    return given if _TEXT.issuperset(map(type, given)) else None


def named_defaults(grant: ChainGrant, call: Call) -> tuple[dict[str, Any], JsonObject]:
    """Return the defaults that some link constrains or charges; the others do not count as passed."""
    if not call.defaults:
        return {}, {}
    named = {name: value for name, value in call.defaults.items() if name in grant.named}
    return private_copy(grant, named) if named else ({}, {})
