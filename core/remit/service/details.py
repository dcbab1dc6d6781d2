"""Authorization details and scopes as they are asked for and granted, and the key that is to hold a token."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from remit.capability import SECRET_PREFIX, Capability
from remit.encoding import EncodingError, parse_object
from remit.errors import shown
from remit.grant import RESERVED
from remit.keys import public_key
from remit.service.errors import ServiceError

if TYPE_CHECKING:
    from remit.encoding import JsonObject, JsonValue

__all__ = [
    "BAD_DETAILS",
    "BAD_SCOPE",
    "DETAILS",
    "DETAILS_TYPE",
    "SCOPE",
    "check_secrets",
    "check_within",
    "details_in",
    "holder_in",
    "scope_in",
    "scope_of",
]

DETAILS: Final = "authorization_details"
DETAILS_TYPE: Final = "attenuating_agent_token"
"""The type of authorization details that grants tools (AAT draft, Section 3.3)."""
SCOPE: Final = "scope"
BAD_DETAILS: Final = "invalid_authorization_details"
BAD_SCOPE: Final = "invalid_scope"

_MEMBERS: Final = frozenset({"type", "tools"})
_SCOPE_TOKEN: Final = re.compile(r"[!#-\[\]-~]+", re.ASCII)


def details_in(text: str) -> tuple[list[Capability], list[Capability]]:
    """Return what the JSON text of `authorization_details` names: one object, with its tools.

    Returns:
        The capabilities, and the secrets among the tools, as they stand in what was granted before.

    Raises:
        ServiceError: 400 `invalid_authorization_details`, also for a type or a member that nobody knows
            (RFC 9396, Section 5).
    """
    try:
        # Strict parsing is of objects, so the list is put into one.
        members = parse_object(f'{{"{DETAILS}":{text}}}'.encode("utf-8", "surrogatepass"))
    except EncodingError as error:
        raise _bad_details(f"{error}") from None
    details = members[DETAILS]
    if len(members) != 1 or not isinstance(details, list) or len(details) != 1:
        raise _bad_details("is not a JSON list of one object")
    named = _tools(details[0])
    secrets = [tool for tool in named if tool.name.startswith(SECRET_PREFIX)]
    if len(secrets) == len(named):
        raise _bad_details("names no tools but secrets, which come with the tools they are granted for")
    return [tool for tool in named if not tool.name.startswith(SECRET_PREFIX)], secrets


def _tools(entry: JsonValue) -> list[Capability]:
    if not isinstance(entry, dict) or entry.get("type") != DETAILS_TYPE or entry.keys() != _MEMBERS:
        raise _bad_details(f"must have the type {DETAILS_TYPE} and tools, and nothing else")
    tools = entry["tools"]
    if not isinstance(tools, dict) or not tools:
        raise _bad_details("names no tools")
    found: list[Capability] = []
    for name, wire in tools.items():
        if name.startswith(RESERVED):
            raise _bad_details(f"names {shown(name)}, which no token grants")
        try:
            found.append(Capability.parse(name, wire))
        except EncodingError as error:
            raise _bad_details(f"has a tool {shown(name)} that {error}") from None
    return found


def _bad_details(problem: str) -> ServiceError:
    return ServiceError(400, BAD_DETAILS, f"{DETAILS} {problem}.")


def scope_in(
    text: str, scopes: Mapping[str, Iterable[Capability]], held: Mapping[str, Capability]
) -> list[Capability]:
    """Return the capabilities of a `scope` (RFC 6749, Section 3.3).

    Args:
        text: names of scopes, or of capabilities as they are held, separated by single blanks.
        scopes: the scopes that may be named, with their capabilities.
        held: what whoever asks has, by name.

    Raises:
        ServiceError: 400 `invalid_scope`.
    """
    found: dict[str, Capability] = {}
    for name in text.split(" "):
        if not _SCOPE_TOKEN.fullmatch(name):
            raise ServiceError(400, BAD_SCOPE, "scope is not a list of names with a blank between two.")
        bundle = scopes.get(name)
        if bundle is None and name not in held:
            raise ServiceError(400, BAD_SCOPE, f"The scope {shown(name)} is not granted.")
        for capability in [held[name]] if bundle is None else bundle:
            found[capability.name] = capability
    return list(found.values())


def check_within(held: Mapping[str, Capability], asked: Iterable[Capability], code: str) -> None:
    """Refuse capabilities that are not within those that are held.

    Raises:
        ServiceError: 400 with `code`.
    """
    for capability in asked:
        granted = held.get(capability.name)
        if granted is None:
            raise ServiceError(400, code, f"{shown(capability.name)} is not granted.")
        widening = granted.widening(capability)
        if widening is not None:
            raise ServiceError(400, code, f"{shown(capability.name)} {widening.problem}.")


def check_secrets(
    held: Mapping[str, Capability], coming: Mapping[str, Capability], asked: Iterable[Capability]
) -> None:
    """Refuse secrets that are not within those that are held, or that ask for less than comes along.

    They come with the tools that they are granted for, and naming them changes nothing.

    Args:
        held: the secrets that whoever asks has, as capabilities by name.
        coming: those that come with the tools that are asked for.
        asked: those that are named.

    Raises:
        ServiceError: 400 `invalid_authorization_details`.
    """
    named = list(asked)
    check_within(held, named, BAD_DETAILS)
    for secret in named:
        comes = coming.get(secret.name)
        if comes is not None and secret.widening(comes) is not None:
            reason = f"{shown(secret.name)} comes with its tools, and cannot be narrowed here; leave it out."
            raise ServiceError(400, BAD_DETAILS, reason)


def holder_in(text: str | None) -> JsonObject:
    """Return the public JWK in `req_cnf`, `{"jwk": {...}}` (AAT draft, Section 6.1.2).

    Raises:
        ServiceError: 400 `invalid_request`, when there is none that is sound.
    """
    problem = "is missing: the key that is to hold the token"
    try:
        members = {} if text is None else parse_object(text.encode("utf-8", "surrogatepass"))
        jwk = members.get("jwk")
        if len(members) == 1 and isinstance(jwk, dict):
            public_key(jwk)
            return jwk
        if members:
            problem = "must be an object with a jwk, and nothing else"
    except EncodingError as error:
        problem = str(error)
    raise ServiceError(400, "invalid_request", f"req_cnf {problem}.")


def scope_of(scopes: Mapping[str, Collection[Capability]], granted: Mapping[str, Capability]) -> str:
    """Return what is granted as a scope: the scopes that it covers entirely, then capabilities by name.

    A name that cannot stand in a scope, as with a blank in it, is left out.
    """
    covered = [
        name
        for name, bundle in scopes.items()
        if all(tool.name in granted and granted[tool.name].widening(tool) is None for tool in bundle)
    ]
    return " ".join(filter(_SCOPE_TOKEN.fullmatch, [*covered, *granted]))
