"""`vault://mount/path#field`: HashiCorp Vault and OpenBao, KV version 1 and 2.

Where the server is, and the token for it, come from the environment, as for the command lines of the two:
`BAO_ADDR`, `BAO_TOKEN`, `BAO_NAMESPACE` and `BAO_CACERT` when `BAO_ADDR` is set, otherwise the same with
`VAULT_`. The two are not mixed: no token goes to the other server. Without a token in the environment,
`~/.vault-token` is read.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from remit.errors import ConfigError
from remit.secrets.backend import BackendFailure, check_extra
from remit.secrets.silence import silence

if TYPE_CHECKING:
    from remit.secrets.reference import Reference

__all__ = ["Vault"]

_PATH: Final = re.compile(r"[!-~]+", re.ASCII)
_FIELD: Final = re.compile(r"[!-~]+(?: [!-~]+)*", re.ASCII)
_ADDRESS: Final = re.compile(r"https?://[!-~]+", re.ASCII)
_TIMEOUTS: Final = (3, 5)
"""Seconds to connect, and to wait for an answer."""
_MAX_TOKEN: Final = 4096


class Vault:
    """A server that is asked anew each time, with the token that is in the environment then."""

    remote: Final = True

    def check(self, reference: Reference) -> None:
        """Accept `vault://mount/path`, and with a `#field`.

        Raises:
            ConfigError: for anything else, or when the package is not installed.
        """
        reference.check_parts(takes_field=True)
        if len(reference.segments()) == 1:
            raise ConfigError("vault:// must name a mount and a path in it: vault://mount/path#field")
        if not _PATH.fullmatch(reference.path) or not _FIELD.fullmatch(reference.field or "-"):
            raise ConfigError("vault:// holds spaces or letters that are not ASCII")
        check_extra("vault", "hvac")

    def read(self, reference: Reference) -> str | None:
        """Return a field of a KV secret, or None when there is no such path or field.

        Raises:
            BackendFailure: when the server is not told, cannot be reached, is sealed, refuses the
                token, or holds something else there.
        """
        hvac: Any = import_module("hvac")
        requests: Any = import_module("requests.exceptions")
        client: Any = _client(hvac)
        try:
            with silence():
                fields = _fields(client, reference.path)
        except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
            raise BackendFailure("the server refuses the token, or the token may not read this") from None
        except hvac.exceptions.VaultDown:
            raise BackendFailure("the server is sealed or not ready") from None
        except hvac.exceptions.VaultError:
            raise BackendFailure("the server answered with an error") from None
        except requests.SSLError:
            raise BackendFailure("the server's certificate is not trusted") from None
        except requests.Timeout:
            raise BackendFailure("the server did not answer in time") from None
        except requests.ConnectionError:
            raise BackendFailure("the server cannot be reached") from None
        finally:
            client.adapter.close()
        return None if fields is None else _field(fields, reference.field)


def _client(hvac: Any) -> Any:
    """Return a client as the environment describes it."""
    product = "BAO" if os.environ.get("BAO_ADDR") else "VAULT"
    told = {
        part: os.environ.get(f"{product}_{part}") or None for part in ("ADDR", "TOKEN", "NAMESPACE", "CACERT")
    }
    if told["ADDR"] is None:
        raise BackendFailure("neither VAULT_ADDR nor BAO_ADDR is set")
    if not _ADDRESS.fullmatch(told["ADDR"]):
        raise BackendFailure(f"{product}_ADDR is no http or https address")
    token = told["TOKEN"] or _token_file()
    if token is None:
        raise BackendFailure(f"{product}_TOKEN is not set, and there is no ~/.vault-token")
    return hvac.Client(
        url=told["ADDR"],
        token=token,
        namespace=told["NAMESPACE"],
        verify=told["CACERT"] or True,
        timeout=_TIMEOUTS,
    )


def _token_file() -> str | None:
    try:
        with (Path.home() / ".vault-token").open("rb") as file:
            text = file.read(_MAX_TOKEN).decode("ascii")
    except (OSError, RuntimeError, UnicodeDecodeError):  # RuntimeError: nobody's home is known
        return None
    return text.strip() or None


def _fields(client: Any, path: str) -> Any:
    """Return the fields at a path, however its mount keeps them; None when there is nothing."""
    mounted: Any = client.read(f"sys/internal/ui/mounts/{path}")
    if mounted is None:
        return None
    about: Any = mounted["data"]
    mount = str(about["path"])
    if about["type"] not in {"kv", "generic"}:
        raise BackendFailure("the path is in no KV mount")
    options: dict[str, Any] = about.get("options") or {}
    inside = path.removeprefix(mount)
    if options.get("version", "1") == "1":
        answer = client.read(path)
        return None if answer is None else answer["data"]
    answer = client.read(f"{mount}data/{inside}")
    return None if answer is None else answer["data"]["data"]


def _field(fields: Any, name: str | None) -> str | None:
    if not isinstance(fields, dict):
        raise BackendFailure("the server holds no fields there")
    held = cast("dict[object, object]", fields)
    if name is None and len(held) != 1:
        raise BackendFailure(f"there are {len(held)} fields: the reference must name one, as in #field")
    value = next(iter(held.values())) if name is None else held.get(name)
    if value is not None and not isinstance(value, str):
        raise BackendFailure("the field is not text")
    return value
