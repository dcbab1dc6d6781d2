"""Credentials: what an agent holds."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn, cast

from remit.capability import SECRET_PREFIX, Capability, Limit
from remit.delegate import derive
from remit.encoding import ArgumentError, EncodingError, parse_object, snapshot
from remit.errors import AttenuationError, ConfigError, KeyFileError, TokenRejected, shown
from remit.files import PRIVATE_MODE, PRIVATE_READERS, as_path, read_object, write_new
from remit.grant import RESERVED, build_grant, build_terms, holder_of
from remit.keys import HolderKey, private_key
from remit.names import Clock, check_clock, check_name, check_text, mapping, moment, read_clock
from remit.proof import EXCHANGE, Presentation, make_proof
from remit.token import MAX_TOKEN_SIZE, Claims, unverified_claims
from remit.verify import MAX_CHAIN_SIZE, check_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from remit.grant import Capabilities, Secrets
    from remit.keys import PublicKey
    from remit.names import Duration
    from remit.token import Signed

__all__ = ["Credential"]

_ENV: Final = "REMIT_CREDENTIAL"


class Credential:
    """A chain of tokens and the private holder key that its leaf names.

    Made by `Issuer.issue`, `Credential.delegate`, `from_token`, `load` and `from_env`. What it says
    of itself has not been verified: a guard does that, on the tokens. A credential can be closed,
    after which it does nothing; it is never pickled, and copying it gives the same one.
    """

    __slots__ = ("__weakref__", "_chain", "_claims", "_clock", "_closed", "_digest", "_key")

    _chain: tuple[str, ...]
    _claims: tuple[Claims, ...]
    _digest: str
    _key: HolderKey | None
    _clock: Clock
    _closed: bool

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Credential is not made for subclasses: a guard believes what it says of its key")

    def __init__(self) -> None:
        raise ConfigError("a Credential comes from Issuer.issue, delegate, from_token, load or from_env")

    @classmethod
    def made(
        cls,
        chain: tuple[str, ...],
        claims: tuple[Claims, ...],
        digest: str,
        key: HolderKey | None,
        clock: Clock = time.time,
    ) -> Credential:
        """Return a credential of parts that fit together. For issuers and for delegation."""
        self = object.__new__(cls)
        self._chain, self._claims, self._digest = chain, claims, digest
        self._key, self._clock, self._closed = key, clock, False
        return self

    @classmethod
    def from_token(
        cls,
        chain: str | Sequence[str],
        holder_key: Mapping[str, object] | Ed25519PrivateKey | None = None,
        *,
        clock: Clock | None = None,
    ) -> Credential:
        """Return a credential for tokens that were delivered.

        Args:
            chain: one token, or several, root first.
            holder_key: the private key that the last token names, as a JWK or a key of
                `cryptography`. Without it the credential can be shown and validated, not used.
            clock: seconds since the epoch, for what it derives and proves; `time.time` by default.

        Raises:
            TokenRejected: when the tokens are malformed.
            ConfigError: when the key is not the one that the last token names.
        """
        tokens = (
            (chain,) if isinstance(chain, str) else tuple(chain) if isinstance(chain, list | tuple) else ()
        )
        check_size(tokens)
        try:
            parsed = [unverified_claims(token) for token in tokens]
        except EncodingError as error:
            raise TokenRejected("token_malformed", f"The token {error}.") from None
        claims = tuple(claims for _, claims in parsed)
        key = None if holder_key is None else private_key(holder_key)
        if key is not None and key.public != claims[-1].holder:
            raise ConfigError("holder_key is not the private key that the token names in cnf")
        return cls.made(
            tokens, claims, parsed[-1][0].digest, key, time.time if clock is None else check_clock(clock)
        )

    @property
    def agent(self) -> str:
        """The agent's name, as the signer of the last token gave it, else the thumbprint of its key."""
        return self._claims[-1].agent_name

    @property
    def token_id(self) -> str:
        """The identifier (`jti`) of the last token."""
        return self._claims[-1].id

    @property
    def issuer(self) -> str:
        """The URI of the issuer of the first token."""
        return self._claims[0].issuer

    @property
    def expires_at(self) -> datetime:
        """When the first of its tokens expires, in UTC."""
        return moment(min(claims.expires_at for claims in self._claims))

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """What the last token grants, without its secrets."""
        tools = self._claims[-1].tools or {}
        return tuple(tool for name, tool in tools.items() if not name.startswith(SECRET_PREFIX))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that the last token grants."""
        tools = self._claims[-1].tools or {}
        return tuple(name.removeprefix(SECRET_PREFIX) for name in tools if name.startswith(SECRET_PREFIX))

    @property
    def limits(self) -> dict[str, Limit]:
        """The limits that the last token states; its ancestors' apply as well."""
        return dict(self._claims[-1].limits)

    @property
    def session(self) -> str | None:
        """The session that some token of the chain is bound to, if one is."""
        return next((claims.session for claims in reversed(self._claims) if claims.session is not None), None)

    @property
    def task(self) -> str | None:
        """The task that some token of the chain is bound to, if one is."""
        return next((claims.task for claims in reversed(self._claims) if claims.task is not None), None)

    @property
    def chain(self) -> tuple[str, ...]:
        """The tokens, root first."""
        return self._chain

    @property
    def token(self) -> str:
        """The last token. It says what its holder may do; without the holder key it is of no use."""
        return self._chain[-1]

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def has_key(self) -> bool:
        """Whether it holds the private key that its last token names."""
        return self._key is not None

    def is_held_for(self, holder: PublicKey) -> bool:
        """Tell whether it holds the private key whose public half is `holder`."""
        return self._key is not None and self._key.public == holder

    def capability(self, name: str) -> Capability:
        """Return the capability of that name, as granted, for passing it on.

        Raises:
            AttenuationError: when the last token does not grant it.
        """
        for capability in self.capabilities:
            if capability.name == name:
                return capability
        raise AttenuationError(f"{shown(name)} is not among what this credential grants")

    def delegate(
        self,
        agent: str,
        capabilities: Capabilities,
        *,
        secrets: Secrets | None = None,
        ttl: Duration | None = None,
        session: str | None = None,
        task: str | None = None,
        audience: str | Iterable[str] | None = None,
        not_before: datetime | None = None,
        holder: Mapping[str, object] | None = None,
        max_depth: int = 0,
        limits: Mapping[str, Limit] | None = None,
        delegate_only: Capabilities | None = None,
    ) -> Credential:
        """Return a child credential, derived offline (AAT draft, Section 6.2).

        The child inherits nothing it does not name. Sessions, tasks, audiences, limits and times of
        its ancestors bind it all the same.

        Args:
            agent: the child's agent.
            capabilities: what it may do; a bare name allows any arguments, which only a parent
                without constraints can pass on. `credential.capability(name)` is the parent's own.
            secrets: as for `Issuer.issue`, no more than the parent's.
            ttl: how long it lives; by default as long as its parent.
            session: binds the child to a session; not another one than its ancestors'.
            task: binds the child to a task; not another one than its ancestors'.
            audience: the enforcement points where it may be used; all ancestors' apply as well.
            not_before: when its window opens.
            holder: the child's public JWK; by default it gets a fresh key.
            max_depth: how many times it may be passed on; 0 by default.
            limits: its own limits; it charges those of all its ancestors as well.
            delegate_only: capabilities it may pass on but not use.

        Raises:
            AttenuationError: when the child would be wider; the message says in what.
            ConfigError: when an argument makes no sense.
            TokenRejected: when this credential is closed, or holds no private key.
        """
        key = self._signing_key()
        parent = self._claims[-1].tools or {}
        grant = build_grant(capabilities, secrets, delegate_only, limits, parent=parent)
        terms = build_terms(
            agent, session=session, task=task, audience=audience, not_before=not_before, max_depth=max_depth
        )
        public, private = holder_of(holder)
        now = read_clock(self._clock)
        claims = derive(self._claims, self._digest, grant, terms, holder=public, ttl=ttl, now=now)
        return self._extended(claims, claims.signed(key), private)

    def _extended(self, claims: Claims, signed: Signed, key: HolderKey | None) -> Credential:
        chain = (*self._chain, signed.text)
        if sum(map(len, chain)) > MAX_CHAIN_SIZE:
            raise AttenuationError(f"the chain would be larger than {MAX_CHAIN_SIZE} bytes")
        if len(signed.text) > MAX_TOKEN_SIZE:
            raise ConfigError(
                f"the token would be larger than {MAX_TOKEN_SIZE} bytes; grant less in one token"
            )
        return self.made(chain, (*self._claims, claims), signed.digest, key, self._clock)

    def present(
        self,
        capability: str,
        arguments: Mapping[str, object],
        *,
        audience: str | None = None,
        nonce: str | None = None,
    ) -> Presentation:
        """Return the chain and a proof for one call, to be sent to whoever runs the tool.

        Args:
            capability: the capability to be used.
            arguments: all arguments of the call, by parameter name.
            audience: the enforcement point it is sent to; a proof without one can be replayed at another.
            nonce: what the enforcement point asked for, if it did.

        Raises:
            ConfigError: when an argument has no JSON form, or a name is blank or Remit's own.
            TokenRejected: when the credential is closed or holds no private key.
        """
        if check_name("capability", capability).startswith(RESERVED):  # a model may have written it
            raise ConfigError(f"there is no capability {shown(capability)}: {RESERVED!r} is Remit's own")
        return self._presented(capability, arguments, audience, nonce)

    def present_for_exchange(
        self, request: Mapping[str, object], *, audience: str, nonce: str | None = None
    ) -> Presentation:
        """Return what a service exchanges for another token as `request` says (`RemoteIssuer.exchange`)."""
        return self._presented(EXCHANGE, request, audience, nonce)

    def _presented(
        self, tool: str, arguments: Mapping[str, object], audience: str | None, nonce: str | None
    ) -> Presentation:
        key = self._signing_key()
        if not isinstance(arguments, Mapping) or not all(isinstance(name, str) for name in arguments):
            raise ConfigError("arguments must map parameter names to values")
        try:
            forms = snapshot(dict(arguments))[1]
        except ArgumentError as error:
            raise ConfigError(f"argument {shown(error.argument)} {error}") from None
        proof = make_proof(
            token_id=self.token_id,
            token_digest=self._digest,
            tool=tool,
            arguments=forms,
            key=key,
            now=read_clock(self._clock),
            audience=None if audience is None else check_name("audience", audience),
            nonce=None if nonce is None else check_text("nonce", nonce),
        )
        return Presentation(self._chain, proof)

    def _signing_key(self) -> HolderKey:
        if self._closed:
            raise TokenRejected("credential_closed", "The credential was closed.")
        if self._key is None:
            raise TokenRejected("proof_missing", "The credential holds no private key; it can prove nothing.")
        return self._key

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the credential, private key included, to a new file that only its owner can read.

        Raises:
            KeyFileError: when the file exists or cannot be written.
            TokenRejected: when the credential is closed.
        """
        write_new(path, self._to_members(), mode=PRIVATE_MODE)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, clock: Clock | None = None) -> Credential:
        """Return the credential in a file that `save` wrote.

        Raises:
            KeyFileError: when the file cannot be read, others can, or it holds no credential.
        """
        members = read_object(path, forbidden_mode=PRIVATE_READERS)
        return cls._from_members(members, f"file {shown(str(as_path(path)))}", clock)

    @classmethod
    def from_env(cls, variable: str = _ENV, *, clock: Clock | None = None) -> Credential:
        """Return the credential in an environment variable.

        Args:
            variable: its name. It holds what `save` writes, or a bare token.
            clock: as for `from_token`.

        Raises:
            ConfigError, KeyFileError: when it is not set, or holds neither.
        """
        name = check_name("an environment variable", variable)
        text = "" if "\0" in name or "=" in name else os.environ.get(name, "").strip()
        if not text:
            raise ConfigError(f"environment variable {shown(name)} is not set")
        where = f"environment variable {shown(name)}"
        if not text.startswith("{"):
            try:
                return cls.from_token(text, clock=clock)
            except TokenRejected as error:
                raise KeyFileError(f"{where} holds no credential and no token: {error.reason}") from None
        try:
            members = parse_object(text.encode("utf-8", "surrogateescape"))
        except EncodingError as error:
            raise KeyFileError(f"{where} {error}") from None
        return cls._from_members(members, where, clock)

    @classmethod
    def _from_members(cls, members: Mapping[str, object], where: str, clock: Clock | None) -> Credential:
        chain, key = members.get("chain"), members.get("holder_key")
        if not isinstance(chain, list):
            raise KeyFileError(f"{where} holds no credential")
        try:
            held = None if key is None else mapping("holder_key", key)
            return cls.from_token(cast("list[str]", chain), held, clock=clock)
        except (TokenRejected, ConfigError) as error:
            raise KeyFileError(f"{where} holds no credential: {error}") from None

    def to_json(self) -> str:
        """Return what `save` writes, private key included, for the environment of another process."""
        return json.dumps(self._to_members())

    def _to_members(self) -> dict[str, object]:
        if self._closed:
            raise TokenRejected("credential_closed", "The credential was closed.")
        key = {} if self._key is None else {"holder_key": self._key.private_jwk()}
        return {"chain": list(self._chain), **key}

    def close(self) -> None:
        """Forget the private key: every later use is denied, also by a task that still runs."""
        self._closed = True
        self._key = None

    def __copy__(self) -> Credential:
        return self

    def __deepcopy__(self, memo: object) -> Credential:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("credentials are not pickled; use save and load")

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"expires {self.expires_at.isoformat()}"
        return f"<Credential {self.token_id} of {shown(self.agent)}, {state}>"
