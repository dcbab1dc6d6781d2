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

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

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
from remit.encoding import canonicalize
from remit.errors import CapabilityDenied, ConfigError, Denied, SecretDenied, TokenRejected, shown
from remit.intake import capability_name, check_possession, named_defaults, private_copy, tokens_of
from remit.ledger import RemoteLedger
from remit.names import MAX_NAME, read_clock
from remit.permit import Permit
from remit.proof import Presentation, read_presentation, verify_proof
from remit.secrets import Secret, ask_backend
from remit.standing import check_standing
from remit.trail import Entry

if TYPE_CHECKING:
    from remit.binding import Call
    from remit.ledger import Charge, Ledger, RevocationView
    from remit.names import Clock
    from remit.proof import ProofPolicy
    from remit.secrets import Secrets
    from remit.standing import Bounds
    from remit.trail import Trail
    from remit.verify import ChainVerifier, VerifiedChain

__all__ = ["ANYBODY", "Enforcement"]

P = ParamSpec("P")
T = TypeVar("T")

ANYBODY: Final = Bearer()
"""What a caller says who says nothing."""


@dataclass(frozen=True, slots=True)
class Enforcement:
    """Makes the decisions of one guard."""

    verifier: ChainVerifier
    ledger: Ledger
    view: RevocationView
    secrets: Secrets
    trail: Trail
    clock: Clock
    proofs: ProofPolicy
    require_chain_audience: bool
    bounds: Bounds

    @property
    def waits(self) -> bool:
        """Whether a decision may wait for a network, and so must not be made on an event loop."""
        return isinstance(self.ledger, RemoteLedger) or self.secrets.remote or self.verifier.waits

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
                grant_of(case.chain, capability_name(capability))
            self._check_revoked(case, case.now)
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
            grant_of(case.chain, capability_name(tool))
            if not isinstance(name, str) or len(name) > MAX_NAME:
                raise SecretDenied("secret_denied", f"A secret's name is needed, not {shown(name)}.")
            check_secret(case.chain, name, tool)
            self._check_revoked(case, case.now)
            check_possession(case.source, case.chain)
        except Denied as denial:
            self.trail.secret(_entry(case), name, denial)
            raise
        return self._resolved(case, name)

    def evaluate(self, case: Case) -> None:
        """Steps 1 to 7: everything that neither charges nor records."""
        self.identify(case)
        self._allow(case)
        self._check_revoked(case, case.now)
        self._prove(case)

    def identify(self, case: Case) -> None:
        """Steps 1 to 4: whose chain it is, and that it may be used now, here, by them."""
        if case.needs_proof:
            case.source = read_presentation(case.source)
        chain = case.chain = self.verifier.verify(tokens_of(case.source))
        check_times(chain, case.now)
        if chain.restricted or case.bearer is not ANYBODY or self.require_chain_audience:
            check_bearer(chain, case.bearer)
            check_audience(chain, self.proofs.audiences, required=self.require_chain_audience)

    def _allow(self, case: Case) -> None:
        """Step 5: the call is granted by every link."""
        call = case.call
        grant = case.grant = grant_of(case.chain, capability_name(call.capability))
        if call.problem is not None:
            raise argument_denied(grant.name, call.problem, None)
        for name in call.injected:
            if name in grant.named:  # a restriction that cannot be checked is not skipped
                raise argument_denied(
                    grant.name, f"is bound to {shown(name)}, which a framework fills in", name
                )
        case.arguments, case.forms = private_copy(grant, call.arguments)
        case.defaults, case.default_forms = named_defaults(grant, call)
        check_arguments(grant, case.forms, case.default_forms)
        for secret in call.secrets:
            check_secret(case.chain, secret, grant.name)

    def _check_revoked(self, case: Case, now: float) -> None:
        """Step 6: nothing of the chain was revoked, and what is known of that is recent enough."""
        bound = self.bounds.of(case.call.capability, case.call.fresh)
        check_standing(self.view, case.chain, now, bound)

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
        elif not case.for_holder:
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
            recheck=partial(self._recheck, case, permitted.source),
            settle=partial(self.settle, permitted),
        )

    def _resolved(self, case: Case, name: str) -> Secret:
        """Return a secret that was found to be granted; whether it could be had is recorded."""
        leaf = case.chain.leaf
        try:
            backend = self.secrets.backend_of(name)
            # No variable holds the bare value: a trace of what fails from here on may show them.
            secret = Secret(
                ask_backend(name, backend, partial(self.secrets.fetch, name)),
                name=name,
                backend=backend,
                token_id=leaf.id,
                agent=leaf.agent_name,
            )
        except Denied as denial:
            self.trail.secret(_entry(case), name, denial)
            raise
        self.trail.secret(_entry(case), name, None)
        return secret

    def _recheck(self, case: Case, source: object) -> None:
        """Deny what was allowed before, if its chain has since expired, been revoked or been closed."""
        now = read_clock(self.clock)
        check_times(case.chain, now)
        self._check_revoked(case, now)
        if isinstance(source, Credential):
            check_possession(source, case.chain)

    def readmit(self, case: Case, call: Call) -> Admission:
        """Admit the one call of a permit: it was checked, charged and recorded already."""
        again = Case(None, call, ANYBODY, read_clock(self.clock), call_id=case.call_id)
        again.chain = case.chain
        try:
            self._recheck(again, case.source)
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
    forms = {**private_copy(again.grant, defaults)[1], **again.forms}
    return canonicalize(forms) == canonicalize(case.forms)


def _entry(case: Case) -> Entry:
    return Entry(case.now, case.call_id, getattr(case, "chain", None), case.call.capability)


def _charges(case: Case) -> tuple[Charge, ...]:
    return charges_of(case.chain, case.grant, {**case.default_forms, **case.forms})
