"""`aws://name?region=…&stage=…#field`: AWS Secrets Manager.

The place of a secret is its name or its whole ARN. Credentials, and the region when neither the ARN nor an
option gives it, come from where boto3 looks for them.
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

__all__ = ["Aws"]

_NAME: Final = r"[A-Za-z0-9/_+=.@-]{1,512}"
_PLACE: Final = re.compile(
    rf"{_NAME}|arn:aws[a-z-]{{0,20}}:secretsmanager:(?P<region>[a-z0-9-]{{1,32}}):[0-9]{{12}}:secret:{_NAME}",
    re.ASCII,
)
_OPTIONS: Final = {
    "region": re.compile(r"[a-z0-9-]{1,32}", re.ASCII),
    "stage": re.compile(r"[A-Za-z0-9/_+=.@!-]{1,256}", re.ASCII),
    "version": re.compile(r"[A-Za-z0-9-]{32,64}", re.ASCII),
}
_CODES: Final = {
    "AccessDeniedException": "access is denied",
    "DecryptionFailure": "the key that protects it cannot be used",
    "ExpiredTokenException": "the AWS credentials have expired",
    "InvalidRequestException": "it is being deleted, or is in no state to be read",
    "InvalidSignatureException": "the AWS credentials are refused",
    "ThrottlingException": "there were too many requests",
    "UnrecognizedClientException": "the AWS credentials are refused",
}


class Aws:
    """AWS Secrets Manager, through one boto3 client a region.

    Args:
        client: what makes the client for a region, or for the default one when that is None; by
            default one with short time-outs and one retry.
    """

    remote: Final = True

    def __init__(self, client: Callable[[str | None], Any] | None = None) -> None:
        self._make = _client if client is None else client
        self._clients: dict[str | None, Any] = {}
        self._lock = threading.Lock()

    def check(self, reference: Reference) -> None:
        """Accept `aws://name` and `aws://arn`, with `region`, `stage` or `version`, and a `#field`.

        Raises:
            ConfigError: for anything else, or when the package is not installed.
        """
        reference.check_parts(options=tuple(_OPTIONS), takes_field=True)
        place = _PLACE.fullmatch(reference.path)
        if place is None:
            raise ConfigError("aws:// must name a secret by its name, or by its whole ARN")
        for name, value in reference.options.items():
            if not _OPTIONS[name].fullmatch(value):
                raise ConfigError(f"aws:// has a {name} that there cannot be")
        if {"stage", "version"} <= {*reference.options}:
            raise ConfigError("aws:// takes a stage or a version, not both")
        if place["region"] and reference.options.get("region", place["region"]) != place["region"]:
            raise ConfigError("aws:// names another region than its ARN does")
        check_extra("aws", "boto3")

    def read(self, reference: Reference) -> str | None:
        """Return the secret, or one field of it; None when there is none.

        Raises:
            BackendFailure: when AWS cannot be reached, refuses, or keeps something else there.
        """
        errors: Any = import_module("botocore.exceptions")
        wanted = {"SecretId": reference.path}
        for option, parameter in (("stage", "VersionStage"), ("version", "VersionId")):
            if option in reference.options:
                wanted[parameter] = reference.options[option]
        try:
            client = self._client(reference)
            with silence():
                answer: dict[str, Any] = client.get_secret_value(**wanted)
        except errors.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code == "ResourceNotFoundException":
                return None
            raise BackendFailure(_CODES.get(code, "AWS answered with an error")) from None
        except errors.NoRegionError:
            raise BackendFailure("no region is set: add ?region=… or set AWS_REGION") from None
        except (errors.NoCredentialsError, errors.PartialCredentialsError):
            raise BackendFailure("there are no AWS credentials here") from None
        except (errors.ConnectTimeoutError, errors.ReadTimeoutError):
            raise BackendFailure("AWS did not answer in time") from None
        except (errors.ConnectionError, errors.HTTPClientError):
            raise BackendFailure("AWS cannot be reached") from None
        kept = answer.get("SecretString", answer.get("SecretBinary"))
        return None if kept is None else content(kept, reference.field)

    def _client(self, reference: Reference) -> Any:
        place = _PLACE.fullmatch(reference.path)
        region = (place["region"] if place else None) or reference.options.get("region")
        with self._lock:  # making one is slow, and not safe for threads
            client = self._clients.get(region)
            if client is None:
                client = self._clients[region] = self._make(region)
            return client


def _client(region: str | None) -> Any:
    session: Any = import_module("boto3.session").Session()
    config: Any = import_module("botocore.config").Config(
        connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
    )
    return session.client("secretsmanager", region_name=region, config=config)
