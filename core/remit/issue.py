"""Issuing root tokens (AAT draft, Section 6.1.3)."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, NoReturn

from remit.anchor import TrustAnchor
from remit.credential import Credential
from remit.encoding import EncodingError, snapshot
from remit.errors import ConfigError, Denied, KeyFileError, TokenRejected, shown
from remit.exchange import ancestors
from remit.files import PRIVATE_MODE, PRIVATE_READERS, as_path, read_object, write_new
from remit.grant import build_grant, build_terms, holder_of
from remit.ids import new_id
from remit.keys import HolderKey
from remit.metadata import LiveToken
from remit.names import (
    DEFAULT_MAX_TTL,
    DEFAULT_TTL,
    check_clock,
    check_uri,
    mapping,
    read_clock,
    seconds,
)
from remit.record import AuditRecord
from remit.token import CHECKPOINT, FEED, MAX_DEPTH, MAX_TOKEN_SIZE, Claims, sign_statement

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from remit.capability import Limit
    from remit.encoding import JsonObject
    from remit.exchange import Exchange
    from remit.grant import Capabilities, Grant, Secrets, Terms
    from remit.keys import PublicKey
    from remit.metadata import Register
    from remit.names import Clock, Duration
    from remit.record import AuditSink

__all__ = ["Issuer"]

_MAX_PASSPHRASE = 200  # characters, of which PKCS#8 as OpenSSL writes it takes up to 1,023 bytes


class Issuer:
    """Holds an Ed25519 private key and signs root tokens.

    Made by `generate` and `load`. Guards know it by its `anchor`, which holds nothing secret.
    """

    __slots__ = ("_audit", "_clock", "_key", "_ledger", "_max_ttl", "_uri")

    _uri: str
    _key: HolderKey
    _max_ttl: int
    _audit: AuditSink | None
    _ledger: Register | None
    _clock: Clock

    def __init__(self) -> None:
        raise ConfigError("an Issuer comes from Issuer.generate or Issuer.load")

    @classmethod
    def generate(
        cls,
        uri: str,
        *,
        max_ttl: Duration = DEFAULT_MAX_TTL,
        audit: AuditSink | None = None,
        ledger: Register | None = None,
        clock: Clock | None = None,
    ) -> Issuer:
        """Return an issuer with a fresh key.

        Args:
            uri: the issuer's URI, such as `https://auth.acme.example`.
            max_ttl: the longest ttl it will issue; seven days by default.
            audit: where it records what it issues; nowhere by default.
            ledger: where it notes who has which token and until when; nowhere by default. The token
                itself is kept nowhere.
            clock: seconds since the epoch; `time.time` by default. Credentials it issues keep it.

        Raises:
            ConfigError: when an argument makes no sense.
        """
        return cls._make(
            check_uri("the issuer", uri),
            HolderKey.generate(),
            max_ttl=max_ttl,
            audit=audit,
            ledger=ledger,
            clock=clock,
        )

    @classmethod
    def _make(
        cls,
        uri: str,
        key: HolderKey,
        *,
        max_ttl: Duration,
        audit: AuditSink | None,
        ledger: Register | None,
        clock: Clock | None,
    ) -> Issuer:
        if audit is not None and not callable(getattr(audit, "record", None)):
            raise ConfigError("audit must be an audit sink such as MemoryAudit()")
        if ledger is not None and not callable(getattr(ledger, "enroll", None)):
            raise ConfigError("ledger must be a ledger such as SqliteLedger(path)")
        self = object.__new__(cls)
        self._uri, self._key, self._audit, self._ledger = uri, key, audit, ledger
        self._max_ttl = seconds("max_ttl", max_ttl)
        self._clock = time.time if clock is None else check_clock(clock)
        return self

    @property
    def uri(self) -> str:
        """The issuer's URI."""
        return self._uri

    @property
    def anchor(self) -> TrustAnchor:
        """What a guard needs to trust this issuer: its URI and public key."""
        return TrustAnchor(self._uri, dict[str, object](self._key.public.jwk))

    def save(self, path: str | os.PathLike[str], *, passphrase: str | None = None) -> None:
        """Write the private key to a new file that only its owner can read.

        Args:
            path: the file; an existing one is never overwritten.
            passphrase: encrypts the key (PKCS#8, RFC 5958); None leaves it in clear.

        Raises:
            KeyFileError: when the file exists or cannot be written.
            ConfigError: when the passphrase is blank.
        """
        pem = self._key.to_pem(_passphrase(passphrase))
        write_new(path, {"issuer": self._uri, "private_key": pem}, mode=PRIVATE_MODE)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        passphrase: str | None = None,
        max_ttl: Duration = DEFAULT_MAX_TTL,
        audit: AuditSink | None = None,
        ledger: Register | None = None,
        clock: Clock | None = None,
    ) -> Issuer:
        """Return the issuer in a file that `save` wrote.

        Args:
            path: the file, which nobody but its owner, and a group for reading, may have access to.
            passphrase: what the key was encrypted with.
            max_ttl: as for `generate`.
            audit: as for `generate`.
            ledger: as for `generate`.
            clock: as for `generate`.

        Raises:
            KeyFileError: when the file cannot be read, is too open, or the passphrase is missing or wrong.
            ConfigError: when another argument makes no sense.
        """
        members = read_object(path, forbidden_mode=PRIVATE_READERS)
        where = shown(str(as_path(path)))
        uri, pem = members.get("issuer"), members.get("private_key")
        if not isinstance(uri, str) or not isinstance(pem, str):
            raise KeyFileError(f"{where} holds no issuer")
        try:
            key = HolderKey.from_pem(pem, _passphrase(passphrase))
            check_uri("the issuer", uri)
        except (EncodingError, ConfigError) as error:
            raise KeyFileError(f"{where} {error}") from None
        return cls._make(uri, key, max_ttl=max_ttl, audit=audit, ledger=ledger, clock=clock)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str] | None = None, *, clock: Clock | None = None) -> Issuer:
        """Return the issuer that a policy file describes, with its audit trail and its ledger.

        Args:
            path: the file; by default what `REMIT_CONFIG` names, else `remit.toml`.
            clock: as for `generate`.

        Raises:
            ConfigError, KeyFileError: when the file makes no sense, or its key cannot be used.
        """
        from remit.config import load  # the one door that leads up: the policy file knows everything

        return load(path).issuer(clock=clock)

    def issue(
        self,
        agent: str,
        capabilities: Capabilities,
        *,
        secrets: Secrets | None = None,
        ttl: Duration = DEFAULT_TTL,
        session: str | None = None,
        task: str | None = None,
        audience: str | Iterable[str] | None = None,
        not_before: datetime | None = None,
        holder: Mapping[str, object] | None = None,
        max_depth: int = 0,
        limits: Mapping[str, Limit] | None = None,
        delegate_only: Capabilities | None = None,
    ) -> Credential:
        """Issue a root token and return it with its holder key.

        Args:
            agent: the agent's name.
            capabilities: what it may do, at least one; a bare name allows any arguments.
            secrets: names of secrets, resolvable from all capabilities granted here, or names mapped
                to the capabilities they may be resolved from.
            ttl: how long it lives from the start of its window: `30s`, `15m`, `2h`, `7d`, whole
                seconds or a `timedelta`; ten minutes by default, never more than the maximum.
            session: binds the token to a session.
            task: binds the token to a task.
            audience: the enforcement points where it may be used; anywhere by default.
            not_before: when its window opens, an aware datetime; at once by default.
            holder: the public JWK of the agent's own key, which the credential then does not hold; by
                default the agent gets a fresh key.
            max_depth: how many times it may be delegated, 0 (the default) to 8.
            limits: capability name to `Limit`, for this token and all that descend from it.
            delegate_only: capabilities the agent may pass on but not use itself.

        Raises:
            ConfigError: when an argument makes no sense: a blank name, a ttl above the maximum, a
                limit or a secret for a capability that is not granted.
            Denied: with `audit_unavailable` or `ledger_unavailable`, when the issue cannot be recorded
                or noted; nothing is issued then.
        """
        grant = build_grant(capabilities, secrets, delegate_only, limits)
        terms = build_terms(
            agent, session=session, task=task, audience=audience, not_before=not_before, max_depth=max_depth
        )
        public, private = holder_of(holder)
        now = read_clock(self._clock)
        claims = self._claims(grant, terms, public, seconds("ttl", ttl, maximum=self._max_ttl), now)
        return self._signed(claims, private, now)

    def exchange(self, exchange: Exchange) -> Credential:
        """Issue a root token for a chain of this issuer's, no wider than it (RFC 8693).

        Args:
            exchange: the chain, whose holder has proved to be that, and what is asked for.

        Raises:
            AttenuationError: when it would be wider than the chain.
            ConfigError, Denied: as `issue`.
        """
        now = read_clock(self._clock)
        return self._signed(exchange.claims(self._uri, now), None, now)

    def attest(self, statement: Mapping[str, object]) -> str:
        """Sign a statement about an audit log: a compact JWS of a type that nothing takes for a token.

        Args:
            statement: JSON values by name; `iss` is added, and is always this issuer's URI.

        Raises:
            ConfigError: when the statement has no JSON form.
        """
        try:
            members = snapshot(dict(mapping("statement", statement)))[1]
        except EncodingError as error:
            raise ConfigError(f"a statement must be JSON; something in it {error}") from None
        return sign_statement(CHECKPOINT, {**members, "iss": self._uri}, self._key)

    def publish(self, revocations: JsonObject) -> str:
        """Sign a page of the revocation feed, as `attest` signs a statement about an audit log.

        Args:
            revocations: JSON values by name, of any size; `iss` is added.
        """
        return sign_statement(FEED, {**revocations, "iss": self._uri}, self._key)

    def derive_key(self, purpose: str) -> bytes:
        """Return 32 bytes that only whoever has the private key can know, others for each purpose.

        Ed25519 signatures (RFC 8032) are the same each time; what is signed here is no JWS.

        Args:
            purpose: what the bytes are for.
        """
        return hashlib.sha256(self._key.sign(f"remit key for {purpose}".encode())).digest()

    def _claims(self, grant: Grant, terms: Terms, holder: PublicKey, ttl: int, now: float) -> Claims:
        if terms.max_depth > MAX_DEPTH:
            raise ConfigError(f"max_depth can be {MAX_DEPTH} at most")
        issued_at = int(now)
        expires_at = max(issued_at, terms.not_before or 0) + ttl
        if expires_at - issued_at > self._max_ttl:
            raise ConfigError(
                f"not_before and ttl reach beyond the maximum of {self._max_ttl} seconds from now"
            )
        return Claims(
            id=new_id(now),
            issuer=self._uri,
            holder=holder,
            issued_at=issued_at,
            expires_at=expires_at,
            depth=0,
            max_depth=terms.max_depth,
            audience=terms.audience,
            tools=grant.tools,
            agent=terms.agent,
            not_before=terms.not_before,
            session=terms.session,
            task=terms.task,
            delegate_only=grant.delegate_only,
            limits=grant.limits,
        )

    def _signed(self, claims: Claims, private: HolderKey | None, now: float) -> Credential:
        token, digest = claims.signed(self._key, kid=self._key.public.thumbprint)
        if len(token) > MAX_TOKEN_SIZE:
            raise ConfigError(
                f"the token would be larger than {MAX_TOKEN_SIZE} bytes; grant less in one token"
            )
        self._enroll(claims)
        self._record(claims, now)
        return Credential.made((token,), (claims,), digest, private, self._clock)

    def _enroll(self, claims: Claims) -> None:
        if self._ledger is None:
            return
        tools = claims.tools or {}
        token = LiveToken(
            token_id=claims.id,
            agent=claims.agent_name,
            issuer=claims.issuer,
            holder=claims.holder.thumbprint,
            issued_at=claims.issued_at,
            expires_at=claims.expires_at,
            capabilities=tuple(tools),
            session=claims.session,
            task=claims.task,
            revoked_with=(f"key:{self._key.public.thumbprint}", *claims.exchanged),
        )
        try:
            self._ledger.enroll(token)
        except Denied:
            raise
        except Exception as error:  # whatever a ledger raises, nothing is issued that nobody can see
            raise TokenRejected("ledger_unavailable", "The ledger does not answer.") from error

    def _record(self, claims: Claims, now: float) -> None:
        if self._audit is None:
            return
        try:
            self._audit.record(
                AuditRecord(
                    event="issue",
                    at=now,
                    allowed=True,
                    agent=claims.agent,
                    token_id=claims.id,
                    chain=(*ancestors(claims), claims.id),
                    issuer=claims.issuer,
                )
            )
        except Denied:
            raise
        except Exception as error:  # whatever a sink raises, nothing is issued unrecorded
            raise TokenRejected("audit_unavailable", "The issue could not be recorded.") from error

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("issuers are not pickled; use save and load")

    def __repr__(self) -> str:
        return f"<Issuer {self._uri}, key {self._key.public.thumbprint}>"


def _passphrase(passphrase: object) -> bytes | None:
    if passphrase is None:
        return None
    if not isinstance(passphrase, str) or not passphrase.strip() or len(passphrase) > _MAX_PASSPHRASE:
        raise ConfigError(f"passphrase must be text of 1 to {_MAX_PASSPHRASE} characters that is not blank")
    return passphrase.encode("utf-8", "surrogatepass")
