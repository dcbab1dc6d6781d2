"""Who is asking: the administrator by a bearer token, agents as OAuth clients, and how often they may fail.

Invariants:

- whoever is not let in learns nothing of why: a wrong secret and an unknown name look the same;
- guessing is slow: after `MAX_FAILURES` failures within a minute, nothing that comes from that address under
  that name is looked at. IPv6 is counted by the network of 64 bits, which one customer has;
- whoever fails keeps nobody out but themselves: the administrator and each client are counted by themselves,
  whether or not there is such a client;
- what is remembered of failures is bounded, however many addresses and names fail.
"""

from __future__ import annotations

import binascii
import math
import secrets
import time
from base64 import b64decode
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from starlette.requests import Request

from remit.service.errors import ServiceError

if TYPE_CHECKING:
    from remit.config import Agent
    from remit.service.instance import Instance

__all__ = ["MAX_FAILED_VERIFICATIONS", "MAX_FAILURES", "Failures", "Gate"]

MAX_FAILURES: Final = 20
"""How often sign-in may fail from one address, under one name, within a minute."""
MAX_FAILED_VERIFICATIONS: Final = 300
"""How many tokens that are no good one address may have verified within a minute."""

_WINDOW: Final = 60.0
_KEPT: Final = 10_000
_KEPT_OF_VERIFICATIONS: Final = 2_000
_NAME_BYTES: Final = 1
"""Of the hash of a client's name: as many names as that tells apart are counted for one address."""
_ADMIN: Final = "admin"
_IPV6_NETWORK: Final = 64
_MAX_CREDENTIAL: Final = 4096
_BEARER: Final = "bearer"
_BASIC: Final = "basic"
_CHALLENGE: Final = 'Bearer realm="remit"'
_BASIC_CHALLENGE: Final = 'Basic realm="remit", charset="UTF-8"'


class Failures:
    """Counts failures by who failed, in a bounded memory. Safe for threads.

    Args:
        ticks: seconds of a clock that is never set.
        most: how many there may be within a minute.
        kept: of how many it is remembered.
    """

    def __init__(
        self, ticks: Callable[[], float] = time.monotonic, *, most: int = MAX_FAILURES, kept: int = _KEPT
    ) -> None:
        self._ticks, self._most, self._kept = ticks, most, kept
        self._lock = Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, who: str) -> None:
        """Count a failure."""
        with self._lock:
            times = self._times.setdefault(who, deque(maxlen=self._most))
            times.append(self._ticks())
            self._times.move_to_end(who)
            while len(self._times) > self._kept:
                self._times.popitem(last=False)  # the one that has not failed for longest

    def pause(self, who: str) -> int:
        """Return after how many seconds they may try again, 0 for at once."""
        with self._lock:
            times = self._times.get(who)
            if times is None or len(times) < self._most:
                return 0
            left = _WINDOW - (self._ticks() - times[0])
        return max(0, math.ceil(left))


class Gate:
    """Lets in who may ask.

    Args:
        instance: knows who has access.
        noted: called with `admin` or `client` when somebody failed to sign in.
        ticks: as for `Failures`.
    """

    def __init__(
        self,
        instance: Instance,
        *,
        noted: Callable[[str], None] | None = None,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = instance.access
        self._noted = noted
        self._failures = Failures(ticks)
        self._verifications = Failures(ticks, most=MAX_FAILED_VERIFICATIONS, kept=_KEPT_OF_VERIFICATIONS)
        self._salt = secrets.token_bytes()  # nobody picks names that are counted with another's

    def admin(self, request: Request) -> None:
        """Let in the administrator, who shows the admin token as a bearer token (RFC 6750, 2.1).

        Raises:
            ServiceError: 401 without the token, 429 after too many failures.
        """
        self._welcome(request, [_ADMIN])
        scheme, credential = _authorization(request)
        if scheme is None:
            raise ServiceError(
                401,
                "unauthorized",
                "The admin token is needed, as a bearer token.",
                headers={"WWW-Authenticate": _CHALLENGE},
            )
        if scheme != _BEARER or not self._access.is_admin(credential):
            self._note(request, [_ADMIN], "admin")
            raise ServiceError(
                401,
                "unauthorized",
                "This is not the admin token.",
                headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
            )

    def client(self, request: Request, form: Mapping[str, str]) -> Agent:
        """Let in an OAuth client, by `client_secret_basic` or `client_secret_post` (RFC 6749, 2.3.1).

        Args:
            request: the request.
            form: the parameters in its body.

        Raises:
            ServiceError: 401 `invalid_client`, 400 when there are two ways to sign in at once, 429 after
                too many failures.
        """
        scheme, credential = _authorization(request)
        if scheme is not None and "client_secret" in form:
            raise ServiceError(400, "invalid_request", "Sign in by the header or by the body, not by both.")
        if scheme is None:
            if "client_secret" not in form:
                raise _invalid_client("The client must sign in.")
            presented = [(form.get("client_id", ""), form["client_secret"])]
        else:
            presented = _basic(credential) if scheme == _BASIC else []
            named = form.get("client_id")
            if presented and named is not None and named not in [name for name, _ in presented]:
                raise ServiceError(400, "invalid_request", "The header and the body name two clients.")
        names = [self._counted(name) for name, _ in presented] or [self._counted("")]
        self._welcome(request, names)
        for name, secret in presented:
            agent = self._access.client(name, secret)
            if agent is not None and form.get("client_id", name) == name:
                return agent
        self._note(request, names, "client")
        raise _invalid_client("There is no such client, or this is not its secret.")

    def admin_or_client(self, request: Request, form: Mapping[str, str]) -> Agent | None:
        """Let in the administrator, for whom it returns None, or an OAuth client.

        Raises:
            ServiceError: as `admin` and `client`.
        """
        if _authorization(request)[0] == _BEARER:
            self.admin(request)
            return None
        return self.client(request, form)

    def signed_in(self, request: Request, token: str) -> bool:
        """Tell whether `token`, from the console's form, is the admin token.

        Raises:
            ServiceError: 429 after too many failures.
        """
        self._welcome(request, [_ADMIN])
        if self._access.is_admin(token):
            return True
        self._note(request, [_ADMIN], "admin")
        return False

    def verifier(self, request: Request) -> None:
        """Let in whoever wants something verified, which anybody may.

        Raises:
            ServiceError: 429 after too many `failed_verification`.
        """
        pause = self._verifications.pause(_address(request))
        if pause:
            raise _too_many("Too many tokens from this address were no good; try again later.", pause)

    def failed_verification(self, request: Request) -> None:
        """Count a token, or a proof, that was no good."""
        self._verifications.note(_address(request))

    def _counted(self, name: str) -> str:
        """Return under what a client's name is counted."""
        digest = blake2b(name.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=_NAME_BYTES)
        return f"client {digest.hexdigest()}"

    def _welcome(self, request: Request, names: Iterable[str]) -> None:
        """Refuse who has failed too often."""
        address = _address(request)
        pause = max(self._failures.pause(f"{name} {address}") for name in names)
        if pause:
            raise _too_many("Too many failures to sign in from this address; try again later.", pause)

    def _note(self, request: Request, names: Iterable[str], kind: str) -> None:
        address = _address(request)
        for name in set(names):
            self._failures.note(f"{name} {address}")
        if self._noted is not None:
            self._noted(kind)


def _address(request: Request) -> str:
    host = "" if request.client is None else request.client.host
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host  # a socket of this machine
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((int(address), _IPV6_NETWORK), strict=False))
    return str(address)


def _authorization(request: Request) -> tuple[str | None, str]:
    """Return the scheme, in lower case, and the credential; no scheme where there is no such header.

    What is malformed is a scheme that nothing accepts.
    """
    given = request.headers.getlist("authorization")
    if not given:
        return None, ""
    scheme, _, credential = given[0].partition(" ")
    credential = credential.strip(" ")
    if len(given) > 1 or not credential.isascii() or len(credential) > _MAX_CREDENTIAL:
        return "", ""
    return scheme.lower(), credential


def _basic(credential: str) -> list[tuple[str, str]]:
    """Return the names and secrets that a client may mean to sign in with; none where it is malformed.

    They ought to be form-encoded (RFC 6749, Section 2.3.1). Much software sends them as they are
    (RFC 7617), and what has a `+` or a `%` in it does not say which.
    """
    try:
        name, colon, secret = b64decode(credential, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return []
    if not colon:
        return []
    as_sent = (name, secret)
    try:
        decoded = (unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict"))
    except ValueError:
        return [as_sent]
    return list(dict.fromkeys([decoded, as_sent]))


def _too_many(reason: str, pause: int) -> ServiceError:
    return ServiceError(429, "too_many_failures", reason, headers={"Retry-After": str(pause)})


def _invalid_client(reason: str) -> ServiceError:
    return ServiceError(401, "invalid_client", reason, headers={"WWW-Authenticate": _BASIC_CHALLENGE})
