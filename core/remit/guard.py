"""The guard: the one funnel that every check goes through.

Invariants:

- a check returns a `Permit` or raises `Denied`; there is no boolean to forget;
- every link of the chain is looked at on every call; only signatures are remembered;
- nothing is charged, recorded as allowed, or resolved before everything before it has passed.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from remit.binding import Admission, Binding, BoundScope, Call
from remit.case import Case
from remit.checks import Bearer
from remit.credential import Credential
from remit.decision import Decision, Token
from remit.enforce import ANYBODY, Enforcement
from remit.errors import ConfigError, Denied, shown
from remit.grant import check_audience
from remit.ledger import MemoryLedger, view_of
from remit.names import DEFAULT_MAX_TTL, LONGEST_TTL, check_clock, check_name, exact, read_clock, seconds
from remit.proof import MAX_WINDOW, ProofPolicy
from remit.revoke import Revoker
from remit.secrets import Secrets
from remit.standing import Bounds
from remit.trail import Trail
from remit.trust import trusted
from remit.verify import ChainVerifier

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Generator, Iterable, Mapping, Sequence

    from remit.capability import Limit
    from remit.grant import Capabilities
    from remit.grant import Secrets as GrantedSecrets
    from remit.ledger import Ledger
    from remit.names import Clock, Duration
    from remit.permit import Permit
    from remit.proof import Presentation
    from remit.record import AuditSink
    from remit.secrets import Secret
    from remit.standing import Fresh
    from remit.trust import Trust

__all__ = ["Guard"]

_PROOF_WINDOW = 30


class Guard(Revoker):
    """Decides about calls, and leads guarded functions to that decision. Safe for threads.

    Args:
        trust: the trust anchors of the issuers whose tokens count, never empty; or where they come
            from, such as `RemoteAnchors`.
        ledger: revocations, use counts and proofs that were seen; in memory by default.
        secrets: where secrets are kept; the environment by default.
        audit: where decisions and outcomes are recorded; nowhere by default. With one, a call that
            cannot be recorded is denied.
        audience: the names of this enforcement point. A token or proof made for another is denied.
        clock: seconds since the epoch; `time.time` by default.
        require_proof_audience: whether a proof must name this enforcement point.
        require_chain_audience: whether some token of a chain must.
        fresh: the staleness bound: how old what is known of revocations may be, 60 seconds by
            default. A mapping gives capabilities bounds of their own, and `*` that of all others:
            `{"payments:transfer": "5s", "*": "5m"}`. A ledger on this machine is never behind.
        max_ttl: the longest lifetime of a root token that counts; seven days by default, 90 at most.
        proof_window: seconds that a proof's time may lie away from now; 30 by default, 300 at most.
        record_arguments: capability to the names of the arguments that are recorded in clear; of all
            others, a digest is.

    Raises:
        ConfigError: when an argument makes no sense.
    """

    def __init__(
        self,
        trust: Trust,
        *,
        ledger: Ledger | None = None,
        secrets: Secrets | Mapping[str, str] | None = None,
        audit: AuditSink | None = None,
        audience: str | Iterable[str] | None = None,
        clock: Clock | None = None,
        require_proof_audience: bool = False,
        require_chain_audience: bool = False,
        fresh: Fresh | None = None,
        max_ttl: Duration = DEFAULT_MAX_TTL,
        proof_window: Duration = _PROOF_WINDOW,
        record_arguments: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        audiences = frozenset(check_audience(audience) or ())
        if (require_proof_audience or require_chain_audience) and not audiences:
            raise ConfigError(
                "an audience that is required needs audience=..., the name of this enforcement point"
            )
        if audit is not None and not callable(getattr(audit, "record", None)):
            raise ConfigError("audit must be an audit sink such as MemoryAudit()")
        if ledger is not None and not callable(getattr(ledger, "commit", None)):
            raise ConfigError("ledger must be a ledger such as MemoryLedger()")
        window = seconds("proof_window", proof_window, maximum=MAX_WINDOW)
        held = MemoryLedger() if ledger is None else ledger
        ticks = time.time if clock is None else check_clock(clock)
        super().__init__(
            Enforcement(
                verifier=ChainVerifier(trusted(trust), seconds("max_ttl", max_ttl, maximum=LONGEST_TTL)),
                ledger=held,
                view=view_of(held, ticks),
                secrets=secrets if isinstance(secrets, Secrets) else Secrets(secrets),
                trail=Trail(audit, record_arguments),
                clock=ticks,
                proofs=ProofPolicy(audiences, bool(require_proof_audience), window),
                require_chain_audience=bool(require_chain_audience),
                bounds=Bounds.read(fresh),
            )
        )

    @classmethod
    def from_config(cls, path: str | os.PathLike[str] | None = None, *, clock: Clock | None = None) -> Guard:
        """Return the guard that a policy file describes: anchors, ledger, secrets, audit and bounds.

        Args:
            path: the file; by default what `REMIT_CONFIG` names, else `remit.toml`.
            clock: seconds since the epoch; `time.time` by default.

        Raises:
            ConfigError, KeyFileError: when the file makes no sense, or an anchor cannot be used.
        """
        from remit.config import load  # the one door that leads up: the policy file knows everything

        return load(path).guard(clock=clock)

    def check(
        self,
        credential: Credential,
        capability: str,
        arguments: Mapping[str, object],
        *,
        agent: str | None = None,
        session: str | None = None,
        task: str | None = None,
    ) -> Permit:
        """Allow one call of an agent in this process, charge it and record it.

        Args:
            credential: what the agent holds, private key included.
            capability: what is to be used.
            arguments: all arguments of the call, by parameter name.
            agent: who is calling, where the caller knows; another agent's token is denied.
            session: the session of the call; needed when the token is bound to one.
            task: the task of the call; needed when the token is bound to one.

        Returns:
            A permit, with a private copy of the arguments to run on.

        Raises:
            Denied: when the call is not allowed; `.code` and `.reason` say why.
        """
        return self._enforcement.permit(
            self._case(credential, Call(capability, arguments), _bearer(agent, session, task))
        )

    def verify(
        self,
        presentation: Presentation | Mapping[str, object],
        capability: str,
        arguments: Mapping[str, object],
        *,
        nonce: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        task: str | None = None,
    ) -> Permit:
        """Allow one call that came over a boundary, with its proof (AAT draft, Section 8).

        Use the permit as a context manager to run a guarded tool under it, once.

        Args:
            presentation: a `Presentation`, or the draft's object `{"aat_chain": [...], "aat_pop": "..."}`.
            capability: what is to be used, as the server knows it.
            arguments: the arguments that will be executed, by parameter name.
            nonce: what the server asked the caller to put into the proof, if it did.
            agent: as for `check`.
            session: as for `check`.
            task: as for `check`.

        Raises:
            Denied: when the call is not allowed, or the proof is not one for this call, or was used before.
        """
        case = self._case(presentation, Call(capability, arguments), _bearer(agent, session, task))
        case.nonce = exact(nonce)
        case.needs_proof = True
        return self._enforcement.permit(case)

    def validate(
        self,
        token: str | Sequence[str] | Credential,
        capability: str | None = None,
        *,
        agent: str | None = None,
        session: str | None = None,
        task: str | None = None,
    ) -> Token:
        """Say what a token is good for: signatures, times, bearer and revocation, and no more.

        This is all that can be said of a token that somebody merely has. It allows no call.

        Args:
            token: a token, a whole chain, root first, or a credential.
            capability: a capability that the token must grant, whatever the arguments.
            agent: as for `check`.
            session: as for `check`.
            task: as for `check`.

        Raises:
            Denied: when the token is not good.
        """
        case = self._case(
            token, Call("" if capability is None else capability, {}), _bearer(agent, session, task)
        )
        return Token.of(self._enforcement.validate(case, exact(capability)))

    def explain(
        self,
        credential: Credential | str | Sequence[str],
        capability: str,
        arguments: Mapping[str, object],
        *,
        agent: str | None = None,
        session: str | None = None,
        task: str | None = None,
        for_holder: bool = False,
    ) -> Decision:
        """Say what `check` would say, without charging, recording or allowing anything.

        Whether there is room in the limits is what the ledger says at this moment.

        Args:
            credential: what the agent holds; with `for_holder`, a token or a chain will do.
            capability: as for `check`.
            arguments: as for `check`.
            agent: as for `check`.
            session: as for `check`.
            task: as for `check`.
            for_holder: whether to say what the token's holder would be told, without its private key.
        """
        case = self._case(credential, Call(capability, arguments), _bearer(agent, session, task))
        case.for_holder = bool(for_holder)
        try:
            self._enforcement.evaluate(case)
            self._enforcement.probe(case)
        except Denied as denial:
            return Decision.of(capability, getattr(case, "chain", None), denial)
        return Decision.of(capability, case.chain, None)

    def resolve_secret(
        self,
        credential: Credential,
        name: str,
        *,
        tool: str,
        agent: str | None = None,
        session: str | None = None,
        task: str | None = None,
    ) -> Secret:
        """Return a secret for use in a tool.

        The token is checked first, then the name; only then is the backend asked.

        Args:
            credential: what the agent holds.
            name: the secret's name.
            tool: the capability from which it is used, which the token must grant as well.
            agent: as for `check`.
            session: as for `check`.
            task: as for `check`.

        Raises:
            SecretDenied: when the token does not grant it for this tool, or the backend cannot give it.
            Denied: when the token is not good.
        """
        case = self._case(credential, Call(tool, {}), _bearer(agent, session, task))
        return self._enforcement.secret(case, exact(name))

    def acting_as(
        self,
        credential: Credential,
        *,
        capability: str | None = None,
        agent: str | None = None,
        session: str | None = None,
        task: str | None = None,
    ) -> BoundScope:
        """Return a context in which guarded functions run under `credential`.

        Args:
            credential: what the agent holds.
            capability: makes the binding *call-scoped*, as adapters need it: only a function guarded
                for this capability may use it, and the function's body runs with nothing bound.
            agent: as for `check`.
            session: as for `check`.
            task: as for `check`.

        Raises:
            ConfigError: when `credential` is none.
        """
        if not isinstance(credential, Credential):
            raise ConfigError(f"acting_as needs a Credential, not {shown(credential)}")
        bearer = _bearer(agent, session, task)

        def admit(call: Call) -> Admission:
            return self._enforcement.admit(self._case(credential, call, bearer))

        name = None if capability is None else check_name("capability", capability)
        return BoundScope(Binding(admit, name, self._enforcement.waits), ends=True)

    @contextmanager
    def task(
        self,
        credential: Credential,
        *,
        task: str,
        capabilities: Capabilities,
        agent: str | None = None,
        session: str | None = None,
        secrets: GrantedSecrets | None = None,
        ttl: Duration | None = None,
        limits: Mapping[str, Limit] | None = None,
        max_depth: int = 0,
    ) -> Generator[Credential]:
        """Delegate a credential for one task, bind it for the block, and revoke it at its end.

        It is revoked however the block ends. The parent must have depth left to delegate.

        Args:
            credential: the parent.
            task: the task's name, to which the child is bound.
            capabilities: as for `Credential.delegate`.
            agent: the child's agent; the parent's by default.
            session: the session of the block; needed when the parent is bound to one.
            secrets: as for `Credential.delegate`.
            ttl: as for `Credential.delegate`.
            limits: as for `Credential.delegate`.
            max_depth: as for `Credential.delegate`.

        Raises:
            AttenuationError: when the child would be wider than its parent.
            ConfigError: when an argument makes no sense.
        """
        if not isinstance(credential, Credential):
            raise ConfigError(f"task needs a Credential, not {shown(credential)}")
        child = credential.delegate(
            credential.agent if agent is None else agent,
            capabilities,
            secrets=secrets,
            ttl=ttl,
            task=check_name("task", task),
            limits=limits,
            max_depth=max_depth,
        )
        try:
            with self.acting_as(child, session=session, task=task):
                yield child
        finally:
            child.close()
            self.revoke_credential(child, reason="the task ended")

    def _case(self, source: object, call: Call, bearer: Bearer) -> Case:
        call.capability = exact(call.capability)
        return Case(source, call, bearer, read_clock(self._enforcement.clock))


def _bearer(agent: str | None, session: str | None, task: str | None) -> Bearer:
    return ANYBODY if agent is session is task is None else Bearer(exact(agent), exact(session), exact(task))
