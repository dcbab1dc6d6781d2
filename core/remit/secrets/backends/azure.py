"""`azure://vault-name/secret/version`: Azure Key Vault.

A vault is named, and is then one of the public cloud, or is given as a whole host of one of the clouds
below: a token for a vault is sent to no other place. Credentials come from where `DefaultAzureCredential`
looks for them. Without a version the latest one is read.
"""

from __future__ import annotations

import re
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from remit.errors import ConfigError
from remit.secrets.backend import BackendFailure, check_extra
from remit.secrets.backends.content import content
from remit.secrets.silence import silence

if TYPE_CHECKING:
    from collections.abc import Callable

    from remit.secrets.reference import Reference

__all__ = ["Azure"]

_PUBLIC: Final = "vault.azure.net"
_CLOUDS: Final = (_PUBLIC, "vault.azure.cn", "vault.usgovcloudapi.net")
_PLACE: Final = re.compile(
    r"(?P<vault>(?=[A-Za-z0-9-]{3,24}[./])[A-Za-z](?:-?[A-Za-z0-9])+)(?:\.(?P<cloud>[a-z.]+))?"
    r"/(?P<secret>[A-Za-z0-9-]{1,127})(?:/(?P<version>[0-9a-f]{32}))?",
    re.ASCII,
)


class Azure:
    """Azure Key Vault, through one client a vault.

    Args:
        client: what makes the client for the URL of a vault; by default one with short time-outs and
            one retry.
    """

    remote: Final = True

    def __init__(self, client: Callable[[str], Any] | None = None) -> None:
        self._make = _client if client is None else client
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def check(self, reference: Reference) -> None:
        """Accept `azure://vault/secret` and `azure://vault/secret/version`, with a `#field` or without.

        Raises:
            ConfigError: for anything else, or when the packages are not installed.
        """
        reference.check_parts(takes_field=True)
        place = _PLACE.fullmatch(reference.path)
        if place is None:
            raise ConfigError(
                "azure:// must name a vault and a secret, then perhaps a version of 32 digits: azure://vault/secret"
            )
        if (place["cloud"] or _PUBLIC) not in _CLOUDS:
            raise ConfigError(f"azure:// must name a vault, or a host that ends in {', '.join(_CLOUDS)}")
        check_extra("azure", "azure.keyvault.secrets", "azure.identity")

    def read(self, reference: Reference) -> str | None:
        """Return the secret, or one field of it; None when there is none.

        Raises:
            BackendFailure: when Azure cannot be reached, refuses, or keeps something else there.
        """
        errors: Any = import_module("azure.core.exceptions")
        vault, secret, *version = reference.segments()
        try:
            client = self._client(f"https://{vault if '.' in vault else f'{vault}.{_PUBLIC}'}")
            with silence():
                kept: str | None = client.get_secret(secret, *version).value
        except errors.ResourceNotFoundError:
            return None
        except errors.ClientAuthenticationError:
            raise BackendFailure("there are no Azure credentials here, or they are refused") from None
        except errors.HttpResponseError as error:
            denied = error.status_code in {401, 403}
            raise BackendFailure("access is denied" if denied else "Azure answered with an error") from None
        except errors.ServiceResponseError:
            raise BackendFailure("Azure did not answer in time") from None
        except errors.ServiceRequestError:
            raise BackendFailure("Azure cannot be reached") from None
        return None if kept is None else content(kept, reference.field)

    def _client(self, vault: str) -> Any:
        with self._lock:
            client = self._clients.get(vault)
            if client is None:
                client = self._clients[vault] = self._make(vault)
            return client


def _client(vault: str) -> Any:
    identity: Any = import_module("azure.identity")
    secrets: Any = import_module("azure.keyvault.secrets")
    times: dict[str, Any] = {"connection_timeout": 3, "read_timeout": 5, "retry_total": 1}
    credential = identity.DefaultAzureCredential(process_timeout=5, **times)
    return secrets.SecretClient(vault_url=vault, credential=credential, **times)
