"""The funnel: every decision about a call is made here, step by numbered step.

::

    1-2  verify    the chain's shape, size, signatures and links       (cached by the exact tokens)
    3    times     of every link, by the guard's clock
    4    bearer    agent, session, task and audience, of every link
    5    allow     capability, arguments and secrets, on every link
    6    revoked   no link, agent or key of the chain
    7    prove     possession: the private key at hand, or a proof where a boundary was crossed
    8    charge    the limits of every link, all or nothing
    9    record    the decision; what cannot be recorded is denied
    10   resolve   the secrets that the tool wants
    11   run       the tool, on the private copy of the arguments that was checked
    12   record    the outcome
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from remit.binding import Admission
from remit.case import Case
from remit.checks import (
    Bearer,
    argument_denied,
    charges_of,
    check_arguments,
    check_audience,
    check_bearer,
    check_secret,
    check_times,
    grant_of,
)
from remit.credential import Credential
from remit.encoding import ArgumentError, canonicalize, snapshot
from remit.errors import CapabilityDenied, ConfigError, Denied, SecretDenied, TokenRejected, shown
from remit.names import MAX_NAME, mapping, read_clock
from remit.permit import Permit
from remit.proof import Presentation, read_presentation, verify_proof
from remit.secrets import Secret, ask_backend
from remit.trail import Entry

if TYPE_CHECKING:
    from remit.binding import Call
    from remit.checks import ChainGrant
    from remit.encoding import JsonObject
    from remit.ledger import Charge, Ledger
    from remit.names import Clock
    from remit.proof import ProofPolicy
    from remit.secrets import Secrets
    from remit.trail import Trail
    from remit.verify import ChainVerifier, VerifiedChain

__all__ = ["ANYBODY", "Enforcement"]

P = ParamSpec("P")
T = TypeVar("T")

_class_of: Final = cast("Callable[[object], type[object]]", type)
_TEXT: Final[frozenset[type]] = frozenset({str})
ANYBODY: Final = Bearer()
"""What a caller says who says nothing."""


@dataclass(frozen=True, slots=True)
class Enforcement:
    """Makes the decisions of one guard."""

    verifier: ChainVerifier
    ledger: Ledger
    secrets: Secrets
    trail: Trail
    clock: Clock
    proofs: ProofPolicy
    require_chain_audience: bool
    fresh: int | None
    """How old, in seconds, what the ledger knows of revocations may be."""

    def permit(self, case: Case) -> Permit:
        """Return the permit for one call, having charged and recorded it: steps 1 to 9.

        Raises:
            Denied: with the code of the first step that failed.
        """
        case.call_id = self.trail.new_call()
        try:
            self.evaluate(case)
            self._charge(case)
        except Denied as denial:
            self._record_decision(case, denial)
            raise
        self._record_decision(case, None)
        return Permit.make(self, case)

    def admit(self, case: Case) -> Admission:
        """Return what it takes to run one call: steps 1 to 10."""
        self.permit(case)
        return self._admission(case, case)

    def validate(self, case: Case, capability: str | None) -> VerifiedChain:
        """Return the chain of a token that is good, steps 1 to 4 and 6; recorded as a decision."""
        case.call_id = self.trail.new_call()
        try:
            self.identify(case)
            if capability is not None:
                grant_of(case.chain, _name(capability))
            self.check_revoked(case.chain, case.now)
        except Denied as denial:
            self._record_decision(case, denial)
            raise
        self._record_decision(case, None)
        return case.chain

    def secret(self, case: Case, name: str) -> Secret:
        """Return a secret outside a call: steps 1 to 7 for the capability it is used from, and 10."""
        case.call_id, tool = self.trail.new_call(), case.call.capability
        try:
            self.identify(case)
            grant_of(case.chain, _name(tool))
            if not isinstance(name, str) or len(name) > MAX_NAME:
                raise SecretDenied("secret_denied", f"A secret's name is needed, not {shown(name)}.")
            check_secret(case.chain, name, tool)
            self.check_revoked(case.chain, case.now)
            check_possession(case.source, case.chain)
        except Denied as denial:
            self.trail.secret(_entry(case), name, denial)
            raise
        return self._resolved(case, name)

    def evaluate(self, case: Case) -> None:
        """Steps 1 to 7: everything that neither charges nor records."""
        self.identify(case)
        self._allow(case)
        self.check_revoked(case.chain, case.now)
        self._prove(case)

    def identify(self, case: Case) -> None:
        """Steps 1 to 4: whose chain it is, and that it may be used now, here, by them."""
        if case.needs_proof:
            case.source = read_presentation(case.source)
        chain = case.chain = self.verifier.verify(_tokens(case.source))
        check_times(chain, case.now)
        if chain.restricted or case.bearer is not ANYBODY or self.require_chain_audience:
            check_bearer(chain, case.bearer)
            check_audience(chain, self.proofs.audiences, required=self.require_chain_audience)

    def _allow(self, case: Case) -> None:
        """Step 5: the call is granted by every link."""
        call = case.call
        grant = case.grant = grant_of(case.chain, _name(call.capability))
        if call.problem is not None:
            raise argument_denied(grant.name, call.problem, None)
        for name in call.injected:
            if name in grant.named:  # a restriction that cannot be checked is not skipped
                raise argument_denied(
                    grant.name, f"is bound to {shown(name)}, which a framework fills in", name
                )
        case.arguments, case.forms = _private(grant, call.arguments)
        case.defaults, case.default_forms = _named_defaults(grant, call)
        check_arguments(grant, case.forms, case.default_forms)
        for secret in call.secrets:
            check_secret(case.chain, secret, grant.name)

    def check_revoked(self, chain: VerifiedChain, now: float) -> None:
        """Step 6: nothing of the chain was revoked, and the ledger is recent enough to say so."""
        if self.fresh is not None and not self.ask_ledger(self._age, now) <= self.fresh:
            raise TokenRejected(
                "revocations_stale", f"What is known of revocations is older than {self.fresh} seconds."
            )
        link = self.ask_ledger(self._revoked_link, chain)
        if link is not None:
            raise TokenRejected("token_revoked", "The token was revoked.", link=link)

    def _age(self, now: float) -> float:
        return now - self.ledger.as_of(now)

    def _revoked_link(self, chain: VerifiedChain) -> int | None:
        for revocation in self.ledger.revoked(chain.subjects):
            for position, link in enumerate(chain.links):
                if revocation.concerns(link.id, link.agent_name, link.issued_at):
                    return position
        return None

    def _prove(self, case: Case) -> None:
        """Step 7: whoever calls has the private key that the leaf names."""
        if isinstance(case.source, Presentation):
            case.proof = verify_proof(
                case.source.proof,
                case.chain,
                tool=case.grant.name,
                arguments=case.forms,
                now=int(case.now),
                nonce=case.nonce,
                policy=self.proofs,
            )
        else:
            check_possession(case.source, case.chain)

    def _charge(self, case: Case) -> None:
        """Step 8: every limit of every link has room for the call, and the proof is new."""
        if case.proof is None and not case.grant.limits:
            return
        self.ask_ledger(self.ledger.commit, _charges(case), case.proof, case.now)

    def probe(self, case: Case) -> None:
        """Step 8, without charging: whether there would be room for the call."""
        if case.grant.limits:
            self.ask_ledger(self.ledger.probe, _charges(case), case.now)

    def ask_ledger(self, question: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the ledger answers to a question, which is one of its methods.

        Raises:
            Denied: the ledger's own refusal, or `ledger_unavailable` when it fails otherwise.
        """
        try:
            return question(*args, **kwargs)
        except Denied:
            raise
        except Exception as error:  # whatever a ledger raises, it did not say that all is well
            raise TokenRejected(
                "ledger_unavailable", "The ledger does not answer, so the call is denied."
            ) from error

    def _record_decision(self, case: Case, denial: Denied | None) -> None:
        """Step 9."""
        if case.call_id is not None:
            self.trail.decided(_entry(case), getattr(case, "forms", None), denial)

    def _admission(self, permitted: Case, case: Case) -> Admission:
        """Step 10: the secrets that the tool wants, for a call that was permitted."""
        try:
            secrets = {name: self._resolved(case, name) for name in case.call.secrets}
        except Denied as denial:
            self.settle(permitted, denial)
            raise
        return Admission(
            arguments=case.arguments,
            defaults=case.defaults,
            secrets=secrets,
            recheck=partial(self._recheck, case.chain, case.source),
            settle=partial(self.settle, permitted),
        )

    def _resolved(self, case: Case, name: str) -> Secret:
        """Return a secret that was found to be granted; whether it could be had is recorded."""
        try:
            backend = self.secrets.backend_of(name)
            value = ask_backend(name, backend, partial(self.secrets.fetch, name))
        except Denied as denial:
            self.trail.secret(_entry(case), name, denial)
            raise
        self.trail.secret(_entry(case), name, None)
        leaf = case.chain.leaf
        return Secret(value, name=name, backend=backend, token_id=leaf.id, agent=leaf.agent_name)

    def _recheck(self, chain: VerifiedChain, source: object) -> None:
        """Deny what was allowed before, if its chain has since expired, been revoked or been closed."""
        now = read_clock(self.clock)
        check_times(chain, now)
        self.check_revoked(chain, now)
        if isinstance(source, Credential):
            check_possession(source, chain)

    def readmit(self, case: Case, call: Call) -> Admission:
        """Admit the one call of a permit: it was checked, charged and recorded already."""
        again = Case(None, call, ANYBODY, read_clock(self.clock), call_id=case.call_id)
        again.chain = case.chain
        try:
            self._recheck(case.chain, case.source)
            self._allow(again)
            if again.grant.name != case.grant.name or not _same_arguments(again, case):
                raise CapabilityDenied(
                    "not_bound", "The permit is for another call than this one.", capability=again.grant.name
                )
            case.use()
        except Denied as denial:
            again.call_id = self.trail.new_call()  # another call than the one that was permitted
            self._record_decision(again, denial)
            raise
        return self._admission(case, again)

    def settle(self, case: Case, error: BaseException | None) -> None:
        """Step 12: record the outcome of a permitted call, once."""
        if case.call_id is None or not case.settle():
            return
        try:
            now = read_clock(self.clock)
        except ConfigError:  # the tool has run; a clock that broke since does not take its result away
            now = case.now
        self.trail.settled(replace(_entry(case), now=now), error)


def _same_arguments(again: Case, case: Case) -> bool:
    """Tell whether a call passes what its permit is for; what equals a default may be left out."""
    left_out = case.forms.keys() - again.forms.keys()
    defaults = {name: value for name, value in (again.call.defaults or {}).items() if name in left_out}
    forms = {**_private(again.grant, defaults)[1], **again.forms}
    return canonicalize(forms) == canonicalize(case.forms)


def _entry(case: Case) -> Entry:
    return Entry(case.now, case.call_id, getattr(case, "chain", None), case.call.capability)


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


def _tokens(source: object) -> tuple[str, ...]:
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


def _charges(case: Case) -> tuple[Charge, ...]:
    return charges_of(case.chain, case.grant, {**case.default_forms, **case.forms})


def _texts(chain: Collection[object]) -> tuple[str, ...]:
    texts = tuple(token for token in chain if type(token) is str)
    if len(texts) != len(chain):
        raise TokenRejected("token_malformed", "The chain holds something that is not text.")
    return texts


def _name(capability: object) -> str:
    if not isinstance(capability, str) or len(capability) > MAX_NAME * 8:
        raise CapabilityDenied(
            "capability_missing", f"A capability's name is needed, not {shown(capability)}."
        )
    return capability


def _private(grant: ChainGrant, arguments: object) -> tuple[dict[str, Any], JsonObject]:
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


def _named_defaults(grant: ChainGrant, call: Call) -> tuple[dict[str, Any], JsonObject]:
    """Return the defaults that some link constrains or charges; the others do not count as passed."""
    if not call.defaults:
        return {}, {}
    named = {name: value for name, value in call.defaults.items() if name in grant.named}
    return _private(grant, named) if named else ({}, {})
