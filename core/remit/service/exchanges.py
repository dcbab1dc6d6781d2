"""Token exchange (RFC 8693): a narrower token, for another key, to whoever proves to hold a chain.

The subject token is a presentation: the chain, and a proof for the tool `remit:exchange` over the request
itself. Whoever has but the tokens gets nothing, and a request that was seen is of no use to anybody: it is
for one key, and is answered once, whichever instance it comes to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from remit.capability import SECRET_PREFIX, Capability
from remit.encoding import EncodingError, parse_object
from remit.errors import AttenuationError, CapabilityDenied, ConfigError, Denied, TokenRejected, shown
from remit.exchange import Exchange, common_audience, secrets_within
from remit.keys import public_key
from remit.names import read_clock
from remit.proof import EXCHANGE, ProofPolicy, read_presentation, verify_proof
from remit.service.asked import check_honoured, invalid
from remit.service.chains import AGENT, asked_of_ledger, check_agents, nonce_in
from remit.service.details import (
    BAD_DETAILS,
    BAD_SCOPE,
    DETAILS,
    SCOPE,
    check_secrets,
    details_in,
    holder_in,
    scope_in,
)
from remit.service.errors import ServiceError
from remit.service.nonces import Nonces
from remit.service.tokens import NONCE
from remit.trail import Entry, Trail

if TYPE_CHECKING:
    from remit.credential import Credential
    from remit.encoding import JsonObject
    from remit.issue import Issuer
    from remit.proof import Presentation
    from remit.service.chains import Chains
    from remit.service.instance import Instance
    from remit.token import Claims
    from remit.verify import VerifiedChain

__all__ = ["ISSUED_TYPE", "PRESENTATION_TYPE", "Exchanges"]

PRESENTATION_TYPE: Final = "urn:remit:params:oauth:token-type:presentation"
"""What is exchanged: the JSON text of a presentation."""
ISSUED_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"
"""What comes out (RFC 8693, Section 3)."""

_WINDOW: Final = 30
"""Seconds that a proof's time may lie away from now, where the policy file says nothing."""
_UNPROVED: Final = frozenset({"subject_token", "client_id", "client_secret"})
"""Parameters that a proof does not repeat: what it is part of, and who sends it."""
_HONOURED: Final = ("agent", "audience", "session", "task", "expires_in_seconds", "max_depth")
"""The restrictions that can be asked for."""
_DEPTH: Final = re.compile(r"[0-8]", re.ASCII)
_LENGTH: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


class Exchanges:
    """Exchanges chains at one instance.

    Args:
        instance: what it works with.
        chains: verifies what is presented.
    """

    def __init__(self, instance: Instance, chains: Chains) -> None:
        self._instance, self._chains = instance, chains
        self._trail = Trail(instance.audit)
        self._nonces = Nonces(instance)
        self._proofs = ProofPolicy(
            audiences=frozenset({instance.url, instance.keys.issuer().uri}),
            require_audience=True,
            window=instance.config.tables.guard.proof_window or _WINDOW,
        )

    def credential(self, issuer: Issuer, form: Mapping[str, str]) -> Credential:
        """Return what a presentation is exchanged for; recorded as the call of a tool is.

        Args:
            issuer: signs it.
            form: the parameters of the request.

        Raises:
            ServiceError: when what is asked for makes no sense, or is more than the chain grants.
            Denied: when the presentation is no good, or the exchange cannot be noted.
        """
        _check_supported(form)
        holder = holder_in(form.get("req_cnf"))
        proved: JsonObject = {name: value for name, value in form.items() if name not in _UNPROVED}
        proved["req_cnf"] = public_key(holder).thumbprint
        now = read_clock(self._instance.clock)
        entry = Entry(now, self._trail.new_call(), None, EXCHANGE)
        try:
            presentation = _presentation(form["subject_token"])
            chain = self._chains.genuine(presentation)
            entry = replace(entry, chain=chain)
            self._chains.check_good(chain, now)
            proof = verify_proof(
                presentation.proof,
                chain,
                tool=EXCHANGE,
                arguments=proved,
                now=int(now),
                nonce=self._nonce(presentation.proof),
                policy=self._proofs,
            )
            exchange = self._exchange(chain, holder, form)
            # What is refused anyway does not use up a proof.
            check_agents(self._instance, _agents(exchange.claims(issuer.uri, now)))
            asked_of_ledger(self._instance.ledger.commit, (), proof, now)
        except Denied as denial:
            self._trail.decided(entry, proved, denial)
            raise
        except (AttenuationError, ConfigError, ServiceError) as error:
            self._trail.decided(entry, proved, CapabilityDenied("capability_missing", f"{error}"))
            raise _refusal(form, error) from None
        self._trail.decided(entry, proved, None)
        return self._issued(issuer, exchange, entry)

    def _issued(self, issuer: Issuer, exchange: Exchange, entry: Entry) -> Credential:
        try:
            credential = issuer.exchange(exchange)
        except (Denied, AttenuationError, ConfigError) as error:
            self._trail.settled(entry, error)
            raise
        self._trail.settled(entry, None)
        return credential

    def _nonce(self, proof: str) -> str | None:
        """Return the nonce that a proof must carry: one that this service has made, where there is any."""
        carried = nonce_in(proof)
        if carried is None and not self._instance.config.service.require_nonce:
            return None
        if not isinstance(carried, str) or not self._nonces.accepts(carried):
            raise ServiceError(
                400,
                "invalid_request",
                "The proof must carry a fresh nonce of this service.",
                headers={NONCE: self._nonces.make()[0]},
            )
        return carried

    def _exchange(self, chain: VerifiedChain, holder: JsonObject, form: Mapping[str, str]) -> Exchange:
        agent = form.get("agent", chain.leaf.agent_name)
        # Nobody has the issuer sign the name of somebody who gets tokens of their own. A holder names its
        # children as it likes, so the name is only its own where nobody else had a part in the chain.
        if agent in self._instance.config.agents and _agents(*chain.links) != {agent}:
            raise invalid(f"The agent {shown(agent)} asks for its tokens itself; name another in agent.")
        audience = form.get("audience")
        try:
            common_audience([*(link.audience for link in chain.links), audience and (audience,)])
        except AttenuationError as error:
            raise invalid(f"{error}.", code="invalid_target") from None
        length = form.get("expires_in_seconds")
        return Exchange.asked(
            chain,
            self._asked(chain, form),
            holder=holder,
            agent=agent,
            ttl=None if length is None else int(length),
            session=form.get("session"),
            task=form.get("task"),
            audience=audience,
            max_depth=int(form.get("max_depth", 0)),
        )

    def _asked(self, chain: VerifiedChain, form: Mapping[str, str]) -> list[Capability]:
        tools = chain.leaf.tools or {}
        if DETAILS in form:
            asked, secrets = details_in(form[DETAILS])
            coming = {
                f"{SECRET_PREFIX}{name}": Capability.secret(name, sources)
                for name, sources in secrets_within(chain, [tool.name for tool in asked]).items()
            }
            check_secrets(tools, coming, secrets)
            return asked
        held = {name: tool for name, tool in tools.items() if not name.startswith(SECRET_PREFIX)}
        return scope_in(form[SCOPE], self._instance.config.scopes, held)


def _check_supported(form: Mapping[str, str]) -> None:
    """Refuse what is missing, and what would be left out of account where the token gets no narrower."""
    problem = None
    if "subject_token" not in form:
        problem = "subject_token is missing: the presentation that is exchanged."
    elif form.get("subject_token_type") != PRESENTATION_TYPE:
        problem = f"subject_token_type must be {PRESENTATION_TYPE}."
    elif form.get("requested_token_type", ISSUED_TYPE) != ISSUED_TYPE:
        problem = f"requested_token_type can be {ISSUED_TYPE} only."
    elif "actor_token" in form or "actor_token_type" in form:
        problem = "There is no actor_token here: the holder of the new token is the key in req_cnf."
    elif (DETAILS in form) == (SCOPE in form):
        problem = f"Either {DETAILS} or {SCOPE} must say what the new token is to grant."
    elif not _LENGTH.fullmatch(form.get("expires_in_seconds", "1")):
        problem = "expires_in_seconds must be a whole number of seconds, one or more."
    elif not _DEPTH.fullmatch(form.get("max_depth", "0")):
        problem = "max_depth must be a whole number from 0 to 8."
    if problem is not None:
        raise invalid(problem)
    check_honoured(form, _HONOURED)


def _agents(*links: Claims) -> set[str]:
    """Return the agents of tokens, and of those that they were exchanged for."""
    before = [subject for link in links for subject in link.exchanged if subject.startswith(AGENT)]
    return {link.agent_name for link in links} | {subject.removeprefix(AGENT) for subject in before}


def _presentation(text: str) -> Presentation:
    try:
        members = parse_object(text.encode("utf-8", "surrogatepass"))
    except EncodingError as error:
        raise TokenRejected("token_malformed", f"The presentation {error}.") from None
    return read_presentation(members)


def _refusal(form: Mapping[str, str], error: AttenuationError | ConfigError | ServiceError) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, AttenuationError) and error.capability is not None:
        return invalid(f"{error}.", code=BAD_SCOPE if SCOPE in form else BAD_DETAILS)
    return invalid(f"{error}.")
