"""An issuer in another process: tokens over HTTP, for keys that are made here.

Invariants:

- the private holder key is made here and stays here;
- what comes is compared with what was asked for, before anybody gets it (`remit.remote.delivery`);
- the admin token and the client's secret are in no message, `repr` or pickle.
"""

from __future__ import annotations

import json
import time
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from remit.encoding import canonicalize
from remit.forks import renew_in_child
from remit.grant import holder_of
from remit.names import check_clock, check_name, check_reason
from remit.remote.anchors import RemoteAnchors
from remit.remote.asked import Asked
from remit.remote.delivery import received
from remit.remote.feed import RevocationFeed
from remit.remote.http import JSON, Http, NoAnswer
from remit.remote.listing import page_of
from remit.remote.refusals import members_of, unavailable
from remit.remote.requests import admin_body, client_form, exchange_form
from remit.remote.signin import SignIn

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import NoReturn, Self

    from remit.capability import Limit
    from remit.credential import Credential
    from remit.encoding import JsonObject
    from remit.grant import Capabilities, Secrets
    from remit.ledger import Ledger, LiveToken
    from remit.names import Clock, Duration

__all__ = ["RemoteIssuer"]

_MOST: Final = 4 * 1024 * 1024
"""Bytes of an answer: a page of a thousand tokens is far smaller."""
_PAGE: Final = 1_000
_FORM: Final = "application/x-www-form-urlencoded"


class RemoteIssuer:
    """Issues through a service: `RemoteIssuer(url, admin_token=...)`, or as an OAuth client.

    Where the service refuses, its refusal comes out as Remit's own: a `Denied` with its code, or a
    `ConfigError` with its reason when the request makes no sense to it, or whoever asks is not let in.
    Where it cannot be reached, or answers with nothing that can be used, that is a `TokenRejected` with
    `ledger_unavailable`; something may then have been issued that nobody got, and that expires by itself.

    Args:
        url: the service's base URL; `https`, or `http` on this machine.
        admin_token: the administrator's token, for any agent and capability that the service allows.
        client: the name and the secret of an agent, which signs in for its own tokens.
        timeout: how long one exchange may take, in seconds.
        ca_file: the certificates (PEM) that the server's must lead to; those of the system by default.
        clock: seconds since the epoch; `time.time` by default. Credentials keep it.

    Raises:
        ConfigError: when an argument makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        admin_token: str | None = None,
        client: tuple[str, str] | None = None,
        timeout: Duration = 5,
        ca_file: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._signin = SignIn.read(admin_token, client)
        self._reached: dict[str, Any] = {"timeout": timeout, "ca_file": ca_file}
        self._http = Http(url, **self._reached)
        self._clock: Clock = time.time if clock is None else check_clock(clock)
        self._anchors: RemoteAnchors | None = None
        self._lock = Lock()
        renew_in_child(self)

    def renew(self) -> None:
        """Have a lock of its own in a process that was forked."""
        self._lock = Lock()

    # ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────

    def issue(
        self,
        agent: str,
        capabilities: Capabilities | None = None,
        *,
        secrets: Secrets | None = None,
        ttl: Duration | None = None,
        session: str | None = None,
        task: str | None = None,
        audience: str | Iterable[str] | None = None,
        holder: Mapping[str, object] | None = None,
        max_depth: int | None = None,
        limits: Mapping[str, Limit] | None = None,
        delegate_only: Capabilities | None = None,
    ) -> Credential:
        """Have a root token issued, and return it with its holder key, which is made here.

        All is as for `Issuer.issue`. A client gets tokens for itself alone: it may ask for fewer
        capabilities than the service's policy file grants it, and all else is as the file says.

        Args:
            agent: the agent's name; a client's own.
            capabilities: what it may do; by default what the service's policy file grants the agent,
                with the file's terms where nothing is said here.
            secrets: names of secrets, or names mapped to the capabilities they may be resolved from.
            ttl: how long it lives; ten minutes by default.
            session: binds the token to a session.
            task: binds the token to a task.
            audience: the enforcement points where it may be used.
            holder: the public JWK of the agent's own key; by default the agent gets a fresh key.
            max_depth: how many times it may be delegated; 0 by default.
            limits: capability name to `Limit`.
            delegate_only: capabilities the agent may pass on but not use itself.

        Raises:
            ConfigError: when an argument makes no sense, here or to the service.
            Denied: when the service refuses or cannot answer, or the token is not what was asked for.
        """
        public, private = holder_of(holder)
        if self._signin.client is not None:
            others = (secrets, ttl, session, task, audience, max_depth, limits, delegate_only)
            self._signin.check_client(agent, others)
            asked = Asked.by_client(public, agent, capabilities)
            said = self._post("/token", client_form(asked), self._signin.basic())
            return received(said.get("access_token"), asked, private, self._clock)
        asked = Asked.by_admin(
            public,
            agent,
            capabilities,
            secrets=secrets,
            ttl=ttl,
            session=session,
            task=task,
            audience=audience,
            max_depth=max_depth,
            limits=limits,
            delegate_only=delegate_only,
        )
        said = self._ask("POST", "/v1/tokens", self._signin.admin(), canonicalize(admin_body(asked)), JSON)
        return received(said.get("token"), asked, private, self._clock)

    def exchange(
        self,
        credential: Credential,
        agent: str,
        capabilities: Capabilities,
        *,
        ttl: Duration | None = None,
        session: str | None = None,
        task: str | None = None,
        audience: str | None = None,
        holder: Mapping[str, object] | None = None,
        max_depth: int = 0,
    ) -> Credential:
        """Exchange a credential for a root token that another key holds, and that is narrower (RFC 8693).

        The new chain is short again, and is revoked with the old one. Nobody needs to sign in: the
        credential's key proves, for this one request, that whoever asks holds it.

        Args:
            credential: what is exchanged, with its private key.
            agent: the new holder's name.
            capabilities: what the new token is to grant; secrets come along where they are resolved from
                these. What the chain limits, or may only pass on, is delegated instead.
            ttl: how long it lives; by default as long as the credential.
            session: binds it to a session.
            task: binds it to a task.
            audience: the enforcement point where it may be used.
            holder: the public JWK of the new holder's own key; by default it gets a fresh key.
            max_depth: how many times it may be delegated; 0 by default.

        Raises:
            ConfigError: when an argument makes no sense, here or to the service.
            Denied: when the service refuses or cannot answer, the credential cannot prove anything, or the
                token is not what was asked for.
        """
        public, private = holder_of(holder)
        asked = Asked.for_chain(
            public,
            credential,
            agent,
            capabilities,
            ttl=ttl,
            session=session,
            task=task,
            audience=audience,
            max_depth=max_depth,
        )
        nonce = self._ask("GET", "/v1/nonce", ()).get("nonce")
        if not isinstance(nonce, str):
            raise unavailable(NoAnswer("gave no nonce"))
        form, proved = exchange_form(asked, nonce)
        presentation = credential.present_for_exchange(proved, audience=credential.issuer, nonce=nonce)
        form["subject_token"] = json.dumps(presentation.to_dict())
        said = self._post("/token", form, ())
        return received(said.get("access_token"), asked, private, self._clock)

    def revoke(self, token_id: str, *, reason: str | None = None) -> bool:
        """Revoke a token at the service, and with it every token derived from it. For the administrator.

        Args:
            token_id: its `jti`.
            reason: why; kept with the revocation, and not published.

        Returns:
            True when this is new, False when it was done already.

        Raises:
            ConfigError: when the identifier is blank, or this signed in as no administrator.
            Denied: when the service refuses or cannot answer.
        """
        path = f"/v1/tokens/{quote(check_name('a token id', token_id), safe='')}"
        why = check_reason(reason)
        query = "" if why is None else f"?{urlencode({'reason': why})}"
        already = self._ask("DELETE", f"{path}{query}", self._signin.admin()).get("already")
        if type(already) is not bool:
            raise unavailable(NoAnswer("does not say whether it was revoked"))
        return not already

    def tokens(self, *, agent: str | None = None) -> Iterator[LiveToken]:
        """Yield the root tokens that have neither expired nor been revoked. For the administrator.

        Args:
            agent: whose; everybody's by default.

        Raises:
            ConfigError: when this signed in as no administrator.
            Denied: when the service refuses or cannot answer.
        """
        query = {"limit": str(_PAGE)}
        if agent is not None:
            query["agent"] = check_name("agent", agent)
        seen: set[str] = set()
        while True:
            said = self._ask("GET", f"/v1/tokens?{urlencode(query)}", self._signin.admin())
            try:
                page, cursor = page_of(said)
            except NoAnswer as error:
                raise unavailable(error) from None
            yield from page
            if cursor is None:
                return
            if cursor in seen:
                raise unavailable(NoAnswer("lists the same tokens again"))
            seen.add(cursor)
            query["cursor"] = cursor

    # ── what guards need ────────────────────────────────────────────────────────────────────────────────────

    def anchors(self) -> RemoteAnchors:
        """Return the trust anchors that the service publishes, the same each time: `Guard(trust=...)`.

        Raises:
            ConfigError: when there are no keys to be had now.
        """
        with self._lock:
            if self._anchors is None:
                self._anchors = RemoteAnchors(self._http.url, **self._reached)
            return self._anchors

    def feed(self, ledger: Ledger | None = None) -> RevocationFeed:
        """Return a ledger that follows the service's revocations: `Guard(ledger=...)`.

        Args:
            ledger: where all else is kept; in memory by default.

        Raises:
            ConfigError: when there are no keys to be had now.
        """
        return RevocationFeed(
            self._http.url, trust=self.anchors(), ledger=ledger, clock=self._clock, **self._reached
        )

    # ── requests ────────────────────────────────────────────────────────────────────────────────────────────

    def _post(self, path: str, form: Mapping[str, str], headers: Iterable[tuple[str, str]]) -> JsonObject:
        return self._ask("POST", path, headers, urlencode(form).encode("ascii"), _FORM)

    def _ask(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]],
        content: bytes | None = None,
        kind: str | None = None,
    ) -> JsonObject:
        sent = [("accept", JSON), *headers]
        if kind is not None:
            sent.append(("content-type", kind))
        try:
            answer = self._http.ask(method, path, most=_MOST, headers=sent, content=content)
        except NoAnswer as error:
            raise unavailable(error) from None
        return members_of(answer)

    def close(self) -> None:
        """Disconnect. It may be used again afterwards."""
        with self._lock:
            anchors = self._anchors
        self._http.close()
        if anchors is not None:
            anchors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a RemoteIssuer holds what it signs in with, and is not pickled or copied")

    def __repr__(self) -> str:
        return f"<RemoteIssuer {self._http.url}>"
