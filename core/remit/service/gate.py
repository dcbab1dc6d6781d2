"""Who is asking: the administrator by a bearer token, agents as OAuth clients, and how often they may fail.

Invariants:

- whoever is not let in learns nothing of why: a wrong secret and an unknown name look the same;
- guessing is slow: after `MAX_FAILURES` failures within a minute, nothing that comes from that address is
  looked at. IPv6 is counted by the network of 64 bits, which one customer has;
- what is remembered of failures is bounded, however many addresses fail.
"""

from __future__ import annotations

import binascii
import math
import time
from base64 import b64decode
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, IPv6Network, ip_address
from threading import Lock
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from starlette.requests import Request

from remit.service.errors import ServiceError

if TYPE_CHECKING:
    from remit.config import Agent
    from remit.service.instance import Instance

__all__ = ["MAX_FAILURES", "Failures", "Gate"]

MAX_FAILURES: Final = 20
"""How often sign-in may fail from one address within a minute."""

_WINDOW: Final = 60.0
_ADDRESSES: Final = 10_000
_IPV6_NETWORK: Final = 64
_MAX_CREDENTIAL: Final = 4096
_BEARER: Final = "bearer"
_BASIC: Final = "basic"
_CHALLENGE: Final = 'Bearer realm="remit"'
_BASIC_CHALLENGE: Final = 'Basic realm="remit", charset="UTF-8"'


class Failures:
    """Counts failures by address, in a bounded memory. Safe for threads.

    Args:
        ticks: seconds of a clock that is never set.
    """

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._lock = Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, address: str) -> None:
        """Count a failure."""
        with self._lock:
            times = self._times.setdefault(address, deque(maxlen=MAX_FAILURES))
            times.append(self._ticks())
            self._times.move_to_end(address)
            while len(self._times) > _ADDRESSES:
                self._times.popitem(last=False)  # the one that has not failed for longest

    def pause(self, address: str) -> int:
        """Return after how many seconds an address may try again, 0 for at once."""
        with self._lock:
            times = self._times.get(address)
            if times is None or len(times) < MAX_FAILURES:
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

    def admin(self, request: Request) -> None:
        """Let in the administrator, who shows the admin token as a bearer token (RFC 6750, 2.1).

        Raises:
            ServiceError: 401 without the token, 429 after too many failures.
        """
        address = self._welcome(request)
        scheme, credential = _authorization(request)
        if scheme is None:
            raise ServiceError(
                401,
                "unauthorized",
                "The admin token is needed, as a bearer token.",
                headers={"WWW-Authenticate": _CHALLENGE},
            )
        if scheme != _BEARER or not self._access.is_admin(credential):
            self._note(address, "admin")
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
        address = self._welcome(request)
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
        for name, secret in presented:
            agent = self._access.client(name, secret)
            if agent is not None and form.get("client_id", name) == name:
                return agent
        self._note(address, "client")
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
        address = self._welcome(request)
        if self._access.is_admin(token):
            return True
        self._note(address, "admin")
        return False

    def _welcome(self, request: Request) -> str:
        """Return the address of whoever asks, unless it has failed too often."""
        address = _address(request)
        pause = self._failures.pause(address)
        if pause:
            raise ServiceError(
                429,
                "too_many_failures",
                "Too many failures to sign in from this address; try again later.",
                headers={"Retry-After": str(pause)},
            )
        return address

    def _note(self, address: str, kind: str) -> None:
        self._failures.note(address)
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


def _invalid_client(reason: str) -> ServiceError:
    return ServiceError(401, "invalid_client", reason, headers={"WWW-Authenticate": _BASIC_CHALLENGE})
