"""What a policy file says, and what is made of it: issuer, anchors, ledger, secrets, audit, guard, grants.

Invariants:

- a `Config` was checked as a whole: what it grants, `Issuer.issue` accepts;
- it holds references to secrets and never their values, which are asked for when they are needed;
- it opens nothing by itself: each method opens anew what it returns, and the caller owns it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict
from urllib.parse import quote, unquote

from remit.anchor import TrustAnchor
from remit.config.settings import SCHEMES, Effect
from remit.config.source import Source, nearest
from remit.errors import ConfigError, Denied, RemitError, shown
from remit.guard import Guard
from remit.issue import Issuer
from remit.ledger import open_ledger
from remit.secrets import Secrets
from remit.trust import WatchedAnchors

if TYPE_CHECKING:
    from remit.capability import Capability, Limit
    from remit.config.schema import AuditTable, GuardTable, IssuerTable
    from remit.ledger import Ledger
    from remit.names import Clock
    from remit.record import AuditSink
    from remit.trust import AnchorSource

__all__ = ["DEFAULT_LEDGER", "Agent", "Config", "DeclaredCapability", "IssueKeywords", "Service"]

DEFAULT_LEDGER: Final = "sqlite:///remit.db"
_SQLITE: Final = "sqlite:///"
_RESOLVED: Final = "it"
_ANCHORS_EVERY: Final = 60.0
"""Seconds after which anchor files are read anew, also when no token names a key that is not known."""
_ANCHOR_FILE: Final = re.compile(r"[^.].*\.json")


class IssueKeywords(TypedDict):
    """Keywords of `Issuer.issue`, those that the file does not set left out."""

    agent: str
    capabilities: list[Capability]
    secrets: NotRequired[dict[str, list[str]]]
    ttl: NotRequired[int]
    session: NotRequired[str]
    task: NotRequired[str]
    audience: NotRequired[list[str]]
    max_depth: NotRequired[int]
    limits: NotRequired[dict[str, Limit]]
    delegate_only: NotRequired[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What the file grants to one agent, scopes included."""

    name: str
    capabilities: tuple[Capability, ...]
    """Every capability, those of its scopes after its own."""
    scope: tuple[str, ...] = ()
    """The scopes it is granted."""
    secrets: Mapping[str, tuple[str, ...]]
    """Secret name to the capabilities it may be resolved from."""
    limits: Mapping[str, Limit]
    """Capability name to limit."""
    delegate_only: tuple[str, ...] = ()
    ttl: int | None = None
    """Seconds; None for the usual ten minutes."""
    max_depth: int = 0
    audience: tuple[str, ...] = ()
    session: str | None = None
    task: str | None = None
    client_secret: str | None = None
    """A reference, for `Config.resolve`, to what it signs in to the service with as an OAuth client."""

    def keywords(self) -> IssueKeywords:
        """Return the keywords of `Issuer.issue` for this agent, new objects each time."""
        keywords = IssueKeywords(agent=self.name, capabilities=list(self.capabilities))
        if self.secrets:
            keywords["secrets"] = {name: list(tools) for name, tools in self.secrets.items()}
        if self.ttl is not None:
            keywords["ttl"] = self.ttl
        if self.session is not None:
            keywords["session"] = self.session
        if self.task is not None:
            keywords["task"] = self.task
        if self.audience:
            keywords["audience"] = list(self.audience)
        if self.max_depth:
            keywords["max_depth"] = self.max_depth
        if self.limits:
            keywords["limits"] = dict(self.limits)
        if self.delegate_only:
            keywords["delegate_only"] = list(self.delegate_only)
        return keywords


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredCapability:
    """A capability as `[capabilities]` declares it."""

    name: str
    effect: Effect | None = None
    fresh: int | None = None
    """Its staleness bound, in seconds."""
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What `[service]` says."""

    admin_token: str | None = None
    """A reference, for `Config.resolve`; never the token itself."""
    audience: tuple[str, ...] = ()
    """Names of enforcement points, besides its own, for which it verifies proofs."""
    url: str | None = None
    """Where it is reached; the issuer's URI when that is an `http` or `https` URL."""
    require_nonce: bool = False
    """Whether a proof that it verifies must carry a nonce of its own."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Tables:
    """The tables of a file that hold settings, as they were read. Not shown: a URL may hold a password."""

    issuer: IssuerTable
    ledger_url: str
    fresh: int | Mapping[str, int] | None
    audit: AuditTable | None
    guard: GuardTable


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Config:
    """A policy file that was read and makes sense. Made by `remit.config.load`."""

    source: Source
    """The file's text, and where in it everything stands."""
    tables: Tables
    agents: Mapping[str, Agent]
    """Agent name to what it is granted."""
    scopes: Mapping[str, tuple[Capability, ...]]
    """Scope name to the capabilities it bundles."""
    capabilities: Mapping[str, DeclaredCapability]
    """What `[capabilities]` declares; empty when there is no such table."""
    references: Mapping[str, str]
    """Secret name to reference, as `[secrets]` has it."""
    service: Service

    @property
    def path(self) -> Path:
        """The file, as it was named."""
        return self.source.path

    @property
    def uri(self) -> str | None:
        """The issuer's URI, if the file names it."""
        return self.tables.issuer.uri

    @property
    def key_path(self) -> Path | None:
        """The issuer's private key file, if the file names one."""
        return self._path(self.tables.issuer.key)

    @property
    def anchor_paths(self) -> list[Path]:
        """The files that hold trust anchors: those named, and the `*.json` in folders that are named.

        Raises:
            ConfigError: when a folder cannot be read, or has none.
        """
        paths: list[Path] = []
        for i, name in enumerate(self.tables.issuer.anchors or ()):
            path = self.source.folder / name
            if not path.is_dir():
                paths.append(path)
                continue
            try:
                found = sorted(file for file in path.iterdir() if _ANCHOR_FILE.fullmatch(file.name))
            except OSError as error:
                raise self._refusal(
                    f"anchors: {shown(name)}: {error.strerror}", "issuer", "anchors", i
                ) from None
            if not found:
                raise self._refusal(
                    f"anchors: the folder {shown(name)} has no *.json in it", "issuer", "anchors", i
                )
            paths += found
        return paths

    @property
    def audit_path(self) -> Path | None:
        """The file that audit records go to, if there is one."""
        return None if self.tables.audit is None else self._path(self.tables.audit.path)

    def grant(self, agent: str) -> IssueKeywords:
        """Return what `Issuer.issue` takes for an agent: `issuer.issue(**config.grant("pricing-agent"))`.

        Raises:
            ConfigError: when the file has no such agent.
        """
        found = self.agents.get(agent) if isinstance(agent, str) else None
        if found is None:
            close = nearest(agent, self.agents) if isinstance(agent, str) else None
            hint = "" if close is None else f", did you mean {shown(close)}?"
            raise ConfigError(f"{self.source.name}: there is no agent {shown(agent)}{hint}")
        return found.keywords()

    def issuer(
        self, *, audit: AuditSink | None = None, ledger: Ledger | None = None, clock: Clock | None = None
    ) -> Issuer:
        """Return the issuer, with its private key.

        Args:
            audit: where it records what it issues; by default where the file says.
            ledger: where it notes what it issues; by default the one that the file names.
            clock: seconds since the epoch; `time.time` by default.

        Raises:
            ConfigError: when the file names no key, its passphrase cannot be had, or the key is
                another issuer's than the file says.
            KeyFileError: when the key file cannot be used.
        """
        settings = self.tables.issuer
        if settings.key is None:
            raise self._refusal("[issuer] names no key, so nothing can be issued here", "issuer")
        options: dict[str, Any] = {} if settings.max_ttl is None else {"max_ttl": settings.max_ttl}
        issuer = Issuer.load(
            self.source.folder / settings.key,
            passphrase=self._passphrase(settings.passphrase, "issuer"),
            audit=self.audit() if audit is None else audit,
            ledger=self.ledger() if ledger is None else ledger,
            clock=clock,
            **options,
        )
        if settings.uri is not None and issuer.uri != settings.uri:
            raise self._refusal(
                f"uri is {shown(settings.uri)}, and the key is that of {shown(issuer.uri)}", "issuer", "uri"
            )
        return issuer

    def anchors(self) -> list[TrustAnchor]:
        """Return the trust anchors, each once.

        Without `anchors` in the file, the issuer's own is taken from its private key, which a guard
        on another machine should not have: `remit doctor` says so.

        Raises:
            ConfigError: when the file names neither anchors nor a key, or a folder has none.
            KeyFileError: when an anchor file cannot be used.
        """
        if self.tables.issuer.anchors is not None:
            return list(dict.fromkeys(TrustAnchor.load(path) for path in self.anchor_paths))
        settings = self.tables.issuer
        if settings.key is None:
            raise self._refusal("[issuer] names no anchors, so no token can be trusted here", "issuer")
        key = self.source.folder / settings.key
        return [Issuer.load(key, passphrase=self._passphrase(settings.passphrase, "issuer")).anchor]

    def ledger(self) -> Ledger:
        """Return the ledger, opened; without `[ledger]`, a SQLite file `remit.db` beside the policy file.

        Raises:
            ConfigError: when its URL is none that Remit or a plug-in opens, or it cannot be opened.
        """
        return open_ledger(self.ledger_url())

    def ledger_url(self) -> str:
        """Return the ledger's URL, which may hold a password: do not show it.

        A relative SQLite path is one beside the policy file.

        Raises:
            ConfigError: when the file has a reference to it that cannot be resolved.
        """
        url = self.tables.ledger_url
        if url.partition("://")[0] in SCHEMES:
            url = self._resolved(url, "ledger", "url")
        path = unquote(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else "/"
        return url if path.startswith("/") or not path else _SQLITE + quote(str(self.source.folder / path))

    def secrets(self) -> Secrets:
        """Return where secrets are kept; relative `file://` references start from the policy file's folder.

        Raises:
            ConfigError: when a reference makes no sense to its backend, or the backend is not installed.
        """
        ttl = self.tables.guard.secrets_ttl
        options: dict[str, Any] = {} if ttl is None else {"ttl": ttl}
        return Secrets(self.references, root=self.source.folder, **options)

    def audit(self) -> AuditSink | None:
        """Return the audit file, opened, or None when the file has no `[audit]`.

        Raises:
            ConfigError: when it cannot be opened, or its passphrase cannot be had.
            KeyFileError: when the key that signs its checkpoints cannot be used.
        """
        settings = self.tables.audit
        if settings is None:
            return None
        from remit.audit import JsonlAudit

        names = ("every", "max_bytes", "keep", "fsync")
        options: dict[str, Any] = {
            name: value for name in names if (value := getattr(settings, name)) is not None
        }
        if settings.key is not None:
            passphrase = self._passphrase(settings.passphrase, "audit")
            options["signer"] = Issuer.load(self.source.folder / settings.key, passphrase=passphrase)
        return JsonlAudit(self.source.folder / settings.path, **options)

    def watched_anchors(self) -> WatchedAnchors:
        """Return the trust anchors, which are read anew when a token names a key that none of them has.

        Raises:
            ConfigError: when the file names neither anchors nor a key, or a folder has none.
            KeyFileError: when an anchor file cannot be used.
        """
        return WatchedAnchors(self.anchors, every=_ANCHORS_EVERY, waits=False)

    def guard(
        self,
        *,
        trust: AnchorSource | None = None,
        ledger: Ledger | None = None,
        audit: AuditSink | None = None,
        audience: Iterable[str] = (),
        clock: Clock | None = None,
    ) -> Guard:
        """Return a guard that checks as the file says.

        Args:
            trust: instead of the anchors that the file names.
            ledger: instead of the one that the file names.
            audit: instead of the one that the file names.
            audience: names of this enforcement point besides those that the file has.
            clock: seconds since the epoch; `time.time` by default.

        Raises:
            ConfigError: when something that the file names cannot be opened.
            KeyFileError: when an anchor file cannot be used.
        """
        settings = self.tables.guard
        options: dict[str, Any] = {
            "audience": list(dict.fromkeys([*(settings.audience or ()), *audience])) or None,
            "max_ttl": settings.max_ttl,
            "proof_window": settings.proof_window,
            "fresh": self.tables.fresh,
            "record_arguments": None if self.tables.audit is None else self.tables.audit.arguments,
        }
        return Guard(
            self.watched_anchors() if trust is None else trust,
            ledger=self.ledger() if ledger is None else ledger,
            secrets=self.secrets(),
            audit=self.audit() if audit is None else audit,
            clock=clock,
            require_proof_audience=settings.require_proof_audience,
            require_chain_audience=settings.require_chain_audience,
            **{name: value for name, value in options.items() if value is not None},
        )

    def resolve(self, reference: str) -> str:
        """Return the value that a reference of this file stands for: keep it out of logs.

        Raises:
            ConfigError: when it is no reference that Remit or a plug-in knows.
            SecretDenied: when the backend does not have it, or fails.
        """
        return Secrets({_RESOLVED: reference}, root=self.source.folder).fetch(_RESOLVED)

    def _resolved(self, reference: str, *place: str) -> str:
        try:
            return self.resolve(reference)
        except RemitError as error:
            why = error.reason if isinstance(error, Denied) else str(error)
        raise self._refusal(f"{place[-1]} cannot be had: {why}", *place)

    def _passphrase(self, reference: str | None, table: str) -> str | None:
        return None if reference is None else self._resolved(reference, table, "passphrase")

    def _path(self, path: str | None) -> Path | None:
        return None if path is None else self.source.folder / path

    def _refusal(self, text: str, *place: str | int) -> ConfigError:
        return ConfigError(f"{self.source.where(*place)}: {text}")

    def __repr__(self) -> str:
        return f"<Config {self.source.name}: {len(self.agents)} agents, {len(self.scopes)} scopes>"
