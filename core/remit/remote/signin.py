"""What one signs in to the service with: shown nowhere, and sent to the service alone."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote_plus

from remit.errors import ConfigError, shown
from remit.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

__all__ = ["SignIn"]

_PAIR: Final = 2
_TOKEN: Final = re.compile(r"[!-~]{1,4096}", re.ASCII)
_MAX_SECRET: Final = 4096


class SignIn:
    """The administrator's token, a client's name and secret, or neither. Made by `read`."""

    __slots__ = ("_admin", "_basic", "client")

    client: str | None
    """The client's name."""

    def __init__(self, admin: str | None, client: str | None, basic: str | None) -> None:
        self._admin, self.client, self._basic = admin, client, basic

    @classmethod
    def read(cls, admin_token: object, client: object) -> SignIn:
        """Return what somebody signs in with.

        Raises:
            ConfigError: when there are both, or one is none. The message shows nothing of them.
        """
        if admin_token is not None and client is not None:
            raise ConfigError("sign in with admin_token or as a client, not both")
        if admin_token is not None:
            if not isinstance(admin_token, str) or not _TOKEN.fullmatch(admin_token):
                raise ConfigError("admin_token must be printable ASCII without spaces")
            return cls(f"Bearer {admin_token}", None, None)
        if client is None:
            return cls(None, None, None)
        pair = cast("tuple[object, ...]", client) if isinstance(client, tuple | list) else ()
        if len(pair) != _PAIR:
            raise ConfigError("client must be a pair: the agent's name and its secret")
        name, secret = check_name("the client's name", pair[0]), pair[1]
        if not isinstance(secret, str) or not secret.strip() or len(secret) > _MAX_SECRET:
            raise ConfigError(f"the client's secret must be text of 1 to {_MAX_SECRET} characters")
        try:
            both = f"{quote_plus(name)}:{quote_plus(secret)}".encode("ascii")  # RFC 6749, Section 2.3.1
        except UnicodeEncodeError:
            raise ConfigError("the client's name or secret holds a lone surrogate") from None
        return cls(None, name, f"Basic {base64.b64encode(both).decode('ascii')}")

    def admin(self) -> list[tuple[str, str]]:
        """Return the headers of the administrator.

        Raises:
            ConfigError: when somebody else signs in.
        """
        if self._admin is None:
            raise ConfigError("this is for the administrator: RemoteIssuer(url, admin_token=...)")
        return [("authorization", self._admin)]

    def basic(self) -> list[tuple[str, str]]:
        """Return the headers of the client.

        Raises:
            ConfigError: when somebody else signs in.
        """
        if self._basic is None:
            raise ConfigError("this is for a client: RemoteIssuer(url, client=(name, secret))")
        return [("authorization", self._basic)]

    def check_client(self, agent: object, others: Iterable[object]) -> None:
        """Refuse what a client cannot ask for: tokens of others, and terms of its own.

        Raises:
            ConfigError: when there is something of that.
        """
        if agent != self.client:
            raise ConfigError(f"a client gets tokens for itself alone, which is {shown(self.client)}")
        if any(other is not None for other in others):
            raise ConfigError("a client names capabilities alone; the service's policy file says the rest")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("what one signs in with is not pickled or copied")

    def __repr__(self) -> str:
        return "<SignIn>"
