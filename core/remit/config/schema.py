"""The tables of a policy file and their keys, as models of pydantic.

Loaded on use: nothing else in Remit needs pydantic. What a model says is which keys there are, which
must be there, and who reads each; what a value may be is said by `remit.config.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from remit.capability import Capability, Limit
from remit.config import settings
from remit.config.locate import Place
from remit.config.misfit import Misfit, kind_of
from remit.config.settings import Effect
from remit.config.source import Problems
from remit.errors import shown
from remit.names import check_name, check_uri, seconds
from remit.proof import MAX_WINDOW
from remit.token import MAX_DEPTH

__all__ = [
    "AgentTable",
    "AuditTable",
    "CapabilityTable",
    "GuardTable",
    "IssuerTable",
    "LedgerTable",
    "ServiceTable",
    "Table",
    "read_table",
]

MAX_SECRETS_TTL: Final = 3600
_M = TypeVar("_M", bound="Table")


def _by(read: Callable[..., Any], **bounds: int) -> PlainValidator:
    """Return the validator that calls `read` with the key's name and the value."""

    def validate(value: object, info: ValidationInfo) -> Any:
        return read(info.field_name, value, **bounds)

    return PlainValidator(validate)


_Seconds = Annotated[int, _by(seconds)]
_Path = Annotated[str, _by(settings.read_path)]
_Reference = Annotated[str, _by(settings.read_reference)]
_Flag = Annotated[bool, _by(settings.read_flag)]
_Names = Annotated[list[str], _by(settings.read_names)]
_Name = Annotated[str, _by(check_name)]


class Table(BaseModel):
    """A table, none of whose keys is unknown."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class IssuerTable(Table):
    """`[issuer]`: who issues tokens, and which issuers a guard trusts."""

    uri: Annotated[str, _by(check_uri)] | None = None
    key: _Path | None = None
    passphrase: _Reference | None = None
    anchors: Annotated[list[str], _by(settings.read_anchors)] | None = None
    max_ttl: _Seconds | None = None


class LedgerTable(Table):
    """`[ledger]`: where shared state is."""

    url: Annotated[str, _by(settings.read_url)] | None = None
    fresh: Annotated[int | dict[str, int], _by(settings.read_fresh)] | None = None


class AuditTable(Table):
    """`[audit]`: where records of decisions go."""

    path: _Path
    key: _Path | None = None
    passphrase: _Reference | None = None
    every: Annotated[int, _by(settings.read_whole, least=2, most=1_000_000)] | None = None
    max_bytes: Annotated[int, _by(settings.read_whole, least=4096, most=1 << 50)] | None = None
    keep: Annotated[int, _by(settings.read_whole, least=1, most=1_000_000)] | None = None
    fsync: _Flag | None = None
    arguments: Annotated[dict[str, list[str]], _by(settings.read_lists)] | None = None


class GuardTable(Table):
    """`[guard]`: how a guard made from this file checks."""

    audience: _Names | None = None
    require_proof_audience: _Flag = False
    require_chain_audience: _Flag = False
    max_ttl: _Seconds | None = None
    proof_window: Annotated[int, _by(seconds, maximum=MAX_WINDOW)] | None = None
    secrets_ttl: Annotated[int, _by(seconds, maximum=MAX_SECRETS_TTL)] | None = None


class ServiceTable(Table):
    """`[service]`: the issuing service."""

    admin_token: _Reference | None = None
    audience: _Names | None = None
    url: Annotated[str, _by(settings.read_base_url)] | None = None
    require_nonce: _Flag = False


class CapabilityTable(Table):
    """`[capabilities.NAME]`: a capability that there is."""

    effect: Annotated[Effect, _by(settings.read_effect)] | None = None
    fresh: _Seconds | None = None
    description: Annotated[str, _by(settings.read_text)] | None = None


class AgentTable(Table):
    """`[agents.NAME]`: what an agent is granted."""

    capabilities: Annotated[list[Capability], _by(settings.read_capabilities)] | None = None
    scope: Annotated[list[str], _by(settings.read_names)] | None = None
    secrets: Annotated[dict[str, list[str] | None], _by(settings.read_granted_secrets)] | None = None
    ttl: _Seconds | None = None
    limits: Annotated[dict[str, Limit], _by(settings.read_limits)] | None = None
    delegate_only: _Names | None = None
    max_depth: Annotated[int, _by(settings.read_whole, least=0, most=MAX_DEPTH)] = 0
    audience: _Names | None = None
    session: _Name | None = None
    task: _Name | None = None
    client_secret: _Reference | None = None


_BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")


def read_table(
    model: type[_M], value: object, place: Place, problems: Problems
) -> tuple[_M | None, set[str]]:
    """Return the table at `place`, and the keys whose values it lacks because they make no sense.

    What is wrong goes to `problems`, so that the rest of the file can be looked at all the same.

    Returns:
        None for the table when what is left of it is none.
    """
    if not isinstance(value, dict):
        problems.add(place, f"{_name(place)} must be a table, not {kind_of(value)}")
        return None, set(model.model_fields)
    given: dict[str, Any] = dict(value)  # pyright: ignore[reportUnknownArgumentType]  # TOML has keys of text
    broken: set[str] = set()
    while True:
        table, errors = _validated(model, given)
        for error in errors:
            if error["loc"][0] not in broken:  # its value was taken out, so that it is missing
                _complain(model, error, place, problems)
        wrong = {str(error["loc"][0]) for error in errors} & given.keys()
        broken |= wrong
        if table is not None or not wrong or any(error["type"] == "missing" for error in errors):
            return table, broken
        given = {key: inner for key, inner in given.items() if key not in wrong}


def _validated(model: type[_M], given: dict[str, Any]) -> tuple[_M | None, list[ErrorDetails]]:
    try:
        return model.model_validate(given), []
    except ValidationError as error:
        return None, error.errors(include_url=False, include_input=False)


def _complain(model: type[Table], error: ErrorDetails, place: Place, problems: Problems) -> None:
    key = str(error["loc"][0]) if error["loc"] else ""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Misfit):
        for inner, text in cause.problems:
            problems.add((*place, key, *inner), text)
    elif cause is not None:
        problems.add((*place, key), str(cause))
    elif error["type"] == "missing":
        problems.add(place, f"{_name(place)} needs {key}")
    else:  # every value has a reader of its own, so what pydantic itself refuses is a key
        hint = problems.hint(key, model.model_fields)
        problems.add((*place, key), f"unknown key {shown(key)} in {_name(place)}{hint}")


def _name(place: Place) -> str:
    parts = [str(part) for part in place]
    return f"[{'.'.join(part if _BARE.fullmatch(part) else shown(part) for part in parts)}]"
