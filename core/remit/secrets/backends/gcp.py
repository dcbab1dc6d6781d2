"""`gcp://project/secret/version`: Google Cloud Secret Manager.

Credentials are the application default ones. Without a version the latest one is read.
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

__all__ = ["Gcp"]

_PLACE: Final = re.compile(
    r"(?P<project>[a-z0-9][a-z0-9.:-]{0,99})/(?P<secret>[A-Za-z0-9_-]{1,255})"
    r"(?:/(?P<version>[A-Za-z0-9_-]{1,63}))?",
    re.ASCII,
)
_TIMEOUT: Final = 8.0


class Gcp:
    """Google Cloud Secret Manager, through one client.

    Args:
        client: what makes the client; by default one that speaks REST: it holds no thread and no
            connection that a forked process could break.
    """

    remote: Final = True

    def __init__(self, client: Callable[[], Any] | None = None) -> None:
        self._make = _client if client is None else client
        self._made: Any = None
        self._lock = threading.Lock()

    def check(self, reference: Reference) -> None:
        """Accept `gcp://project/secret` and `gcp://project/secret/version`, with a `#field` or without.

        Raises:
            ConfigError: for anything else, or when the package is not installed.
        """
        reference.check_parts(takes_field=True)
        if not _PLACE.fullmatch(reference.path):
            raise ConfigError(
                "gcp:// must name a project and a secret, then perhaps a version: gcp://project/secret"
            )
        check_extra("gcp", "google.cloud.secretmanager")

    def read(self, reference: Reference) -> str | None:
        """Return the secret, or one field of it; None when there is none.

        Raises:
            BackendFailure: when Google cannot be reached, refuses, or keeps something else there.
        """
        api: Any = import_module("google.api_core.exceptions")
        auth: Any = import_module("google.auth.exceptions")
        requests: Any = import_module("requests.exceptions")
        try:
            client = self._client()
            with silence():
                answer: Any = client.access_secret_version(
                    name=_name(reference), retry=None, timeout=_TIMEOUT
                )
        except api.NotFound:
            return None
        except (api.Forbidden, api.Unauthorized):
            raise BackendFailure("access is denied") from None
        except (api.BadRequest, api.PreconditionFailed):
            raise BackendFailure(
                "the version is disabled or destroyed, or there cannot be such a one"
            ) from None
        except api.GoogleAPICallError:
            raise BackendFailure("Google answered with an error") from None
        except auth.GoogleAuthError:
            raise BackendFailure("there are no Google credentials here, or they are refused") from None
        except requests.Timeout:
            raise BackendFailure("Google did not answer in time") from None
        except requests.ConnectionError:
            raise BackendFailure("Google cannot be reached") from None
        return content(bytes(answer.payload.data), reference.field)

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


def _name(reference: Reference) -> str:
    project, secret, *version = reference.segments()
    return f"projects/{project}/secrets/{secret}/versions/{version[0] if version else 'latest'}"


def _client() -> Any:
    return import_module("google.cloud.secretmanager").SecretManagerServiceClient(transport="rest")
