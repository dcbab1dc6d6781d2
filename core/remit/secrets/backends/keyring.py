"""`keyring://service/username`: the keyring of the operating system."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from remit.errors import ConfigError
from remit.secrets.backend import BackendFailure, check_extra
from remit.secrets.silence import silence

if TYPE_CHECKING:
    from remit.secrets.reference import Reference

__all__ = ["Keyring"]

_PARTS: Final = 2
_SPACE: Final = re.compile(r"\s")


class Keyring:
    """Whatever keyring is the default one of this process (`keyring.get_keyring()`).

    It counts as remote: a keyring may be a service, and may wait until somebody unlocks it.
    """

    remote: Final = True

    def check(self, reference: Reference) -> None:
        """Accept `keyring://service/username`.

        Raises:
            ConfigError: for anything else, or when the package is not installed.
        """
        reference.check_parts()
        if len(reference.segments()) != _PARTS or _SPACE.search(reference.path):
            raise ConfigError("keyring:// must name a service and a username: keyring://service/username")
        check_extra("keyring", "keyring")

    def read(self, reference: Reference) -> str | None:
        """Return the password, or None when there is none.

        Raises:
            BackendFailure: when there is no keyring, or it is locked.
        """
        keyring: Any = import_module("keyring")
        errors: Any = import_module("keyring.errors")
        service, username = reference.segments()
        try:
            with silence():
                password: str | None = keyring.get_password(service, username)
        except errors.NoKeyringError:
            raise BackendFailure("there is no keyring here") from None
        except (errors.KeyringLocked, errors.InitError):
            raise BackendFailure("the keyring is locked") from None
        return password
