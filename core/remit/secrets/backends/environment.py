"""`env://NAME`: a variable of the environment."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from remit.errors import ConfigError

if TYPE_CHECKING:
    from remit.secrets.reference import Reference

__all__ = ["Environment"]

_NAME: Final = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]{0,255}", re.ASCII)


class Environment:
    """The environment of this process, as it is when a secret is resolved."""

    remote: Final = False

    def check(self, reference: Reference) -> None:
        """Accept `env://NAME`, with a name that an environment can hold.

        Raises:
            ConfigError: for anything else.
        """
        reference.check_parts()
        if not _NAME.fullmatch(reference.path):
            raise ConfigError(
                "env:// must name a variable: letters, digits, '_', '.' and '-', no digit first"
            )

    def read(self, reference: Reference) -> str | None:
        """Return the variable; one that is empty counts as absent."""
        name = reference.path  # of a secret without a reference, this is any text
        return None if "\0" in name or "=" in name else os.environ.get(name) or None
