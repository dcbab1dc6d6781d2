"""Tokens that are shown to the OAuth face: whose they are, and whether they still stand.

A guard asks more, as it decides about a call: who calls, in which session, at which enforcement point.
Here somebody asks about a token, or gives one back, and that depends on none of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from remit.checks import check_times
from remit.encoding import EncodingError, parse_object
from remit.errors import Denied, TokenRejected
from remit.intake import tokens_of
from remit.names import DEFAULT_MAX_TTL, read_clock, seconds
from remit.proof import MAX_PROOF_SIZE
from remit.service.errors import ServiceError
from remit.standing import check_standing
from remit.token import PROOF, Envelope
from remit.verify import ChainVerifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from remit.encoding import JsonValue
    from remit.service.instance import Instance
    from remit.verify import VerifiedChain

__all__ = ["AGENT", "Chains", "asked_of_ledger", "check_agents", "nonce_in", "tokens_in"]

P = ParamSpec("P")
T = TypeVar("T")

AGENT: Final = "agent:"
"""How a subject of a revocation begins that names an agent."""
_FRESH: Final = 1
"""Seconds that what is known of revocations may be old; the ledger has just been asked."""


class Chains:
    """Verifies chains for one instance."""

    def __init__(self, instance: Instance) -> None:
        max_ttl = instance.config.tables.guard.max_ttl
        self._verifier = ChainVerifier(instance.keys, max_ttl or seconds("max_ttl", DEFAULT_MAX_TTL))
        self._instance = instance

    def genuine(self, source: object) -> VerifiedChain:
        """Return the chain in a presentation or of tokens, whether or not it is still good.

        Raises:
            TokenRejected: when they are not a sound chain of an issuer that is trusted here.
        """
        return self._verifier.verify(tokens_of(source))

    def check_good(self, chain: VerifiedChain, now: float) -> None:
        """Refuse a chain that is outside its window, or of which anything was revoked, as of now.

        Raises:
            Denied: when it is no good, or the ledger does not answer.
        """
        check_times(chain, now)
        view = self._instance.view
        asked_of_ledger(view.catch_up)
        check_standing(view, chain, read_clock(self._instance.clock), _FRESH)


def check_agents(instance: Instance, agents: Iterable[str]) -> None:
    """Refuse to issue a token that is revoked already, with all that its agents were issued up to now.

    Args:
        instance: where it is to be issued.
        agents: whose revocation would revoke it.

    Raises:
        ServiceError: 503 `agent_revoked`; its `Retry-After` says when tokens are good again.
        Denied: when the ledger does not answer.
    """
    asked_of_ledger(instance.view.catch_up)
    now = read_clock(instance.clock)
    known = instance.view.revoked(frozenset(f"{AGENT}{agent}" for agent in agents))
    until = max([until for _, until in known], default=-math.inf)
    if int(now) <= until:
        # Of an agent that is revoked for ever, nobody can say when.
        pause = {"Retry-After": str(math.ceil(int(until) + 1 - now))} if math.isfinite(until) else {}
        raise ServiceError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "agent_revoked",
            "The agent's tokens were revoked, also those that would be issued now; ask again later.",
            headers=pause,
        )


def tokens_in(text: str) -> list[JsonValue]:
    """Return what is in a parameter: one token, or the JSON of a chain (a list) or of a presentation.

    Raises:
        TokenRejected: when there are none in it.
    """
    if text[:1] not in {"[", "{"}:
        return [text]
    try:
        members = parse_object((text if text[0] == "{" else f'{{"aat_chain":{text}}}').encode())
    except (EncodingError, UnicodeEncodeError):
        raise TokenRejected(
            "token_malformed", "The token is neither a JWS nor the JSON of a chain."
        ) from None
    chain = members.get("aat_chain")
    if not isinstance(chain, list):
        raise TokenRejected("token_malformed", "The presentation has no chain.")
    return chain


def nonce_in(proof: str | None) -> object:
    """Return the nonce that a proof carries, which nobody has verified; None where it carries none."""
    if proof is None:
        return None
    try:
        return Envelope.read(proof, PROOF, max_size=MAX_PROOF_SIZE).unverified_payload().get("nonce")
    except EncodingError:
        return None  # what is wrong with it is said when it is verified


def asked_of_ledger(question: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a ledger answers to a question, which is one of its methods.

    Raises:
        Denied: the ledger's own refusal, or `ledger_unavailable` when it fails otherwise.
    """
    try:
        return question(*args, **kwargs)
    except Denied:
        raise
    except Exception as error:  # whatever a ledger raises, it did not say that all is well
        raise TokenRejected("ledger_unavailable", "The ledger does not answer.") from error
