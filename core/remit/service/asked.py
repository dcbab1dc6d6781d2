"""What is asked for when a token is to be issued: keys, scopes, capabilities, limits, read strictly.

Whatever is not understood is refused, and says so: a restriction that is skipped would be authority given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from remit.capability import SECRET_PREFIX, Capability, Limit
from remit.config.misfit import Misfit, filled_table
from remit.config.settings import read_granted_secrets, read_limits, read_names
from remit.config.source import nearest
from remit.encoding import EncodingError, b64url_decode, b64url_encode
from remit.errors import ConfigError, shown
from remit.keys import PublicKey, public_key
from remit.names import DEFAULT_MAX_TTL, DEFAULT_TTL, MAX_NAME, check_name, seconds
from remit.service.details import BAD_DETAILS, BAD_SCOPE, DETAILS_TYPE
from remit.service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from remit.config import Config, IssueKeywords
    from remit.encoding import JsonObject, JsonValue

__all__ = [
    "check_declared",
    "check_honoured",
    "check_members",
    "invalid",
    "read_details",
    "read_issue",
    "read_public_key",
    "read_scope",
]

T = TypeVar("T")

_MEMBERS: Final = (
    "subject_pubkey", "scope", "authorization_details", "expires_in_seconds", "agent", "secrets", "limits",
    "session", "task", "audience", "max_depth", "delegate_only",
)  # fmt: skip
_RESTRICTIONS: Final = (
    "agent", "audience", "resource", "session", "task", "expires_in", "expires_in_seconds", "not_before",
    "max_depth", "limits", "delegate_only", "secrets",
)  # fmt: skip
"""Parameters of forms that would narrow a token, or say whose it is."""
_TARGETS: Final = ("audience", "resource")
_MEMBER: Final = re.compile(r"[a-z][a-z_]{0,31}")
_HEX: Final = re.compile(r"[0-9a-f]{64}|[0-9A-F]{64}")
_BASE64: Final = re.compile(r"([A-Za-z0-9+/]{43}|[A-Za-z0-9_-]{43})=?")
_TO_URL: Final = str.maketrans("+/", "-_")
_MAX_SCOPE: Final = 64 * MAX_NAME


def invalid(reason: str, *, code: str = "invalid_request") -> ServiceError:
    """Return the error of a request that makes no sense."""
    return ServiceError(400, code, reason)


def check_members(document: JsonObject, known: Iterable[str]) -> None:
    """Refuse members that are not known, by name.

    Raises:
        ServiceError: 400, when there are some.
    """
    names = list(known)
    unknown = sorted(document.keys() - set(names))
    if unknown:
        name = unknown[0] if _MEMBER.fullmatch(unknown[0]) else None  # else it may be a token, or worse
        if name is None:
            raise invalid("The body has an unknown member.")
        close = nearest(name, names)
        hint = "." if close is None else f", did you mean {shown(close)}?"
        raise invalid(f"The body has an unknown member {shown(name)}{hint}")


def check_honoured(form: Mapping[str, str], honoured: Iterable[str] = ()) -> None:
    """Refuse a restriction that is asked for and that the token would not have.

    Parameters that mean nothing here are ignored, as RFC 6749, Section 3.2, has it.

    Args:
        form: the parameters of a request to the OAuth face.
        honoured: the restrictions that the token will have.

    Raises:
        ServiceError: 400 `invalid_request`, or `invalid_target` (RFC 8707, Section 2) for where it may be
            used.
    """
    for name in _RESTRICTIONS:
        if name in form and name not in honoured:
            code = "invalid_target" if name in _TARGETS else "invalid_request"
            raise invalid(f"{name} cannot be asked for with this grant_type; leave it out.", code=code)


def read_issue(config: Config, document: JsonObject) -> tuple[IssueKeywords, PublicKey]:
    """Return what `POST /v1/tokens` asks for: keywords of `Issuer.issue`, and the key of the holder.

    Without `scope` and `authorization_details`, an agent of the policy file gets what that grants it.

    Raises:
        ServiceError: 400, when something in it makes no sense or is not granted to anybody here.
    """
    check_members(document, _MEMBERS)
    if "subject_pubkey" not in document:
        raise invalid("subject_pubkey is missing: the agent's Ed25519 public key, 32 bytes.")
    holder = read_public_key(document["subject_pubkey"])
    agent = holder.thumbprint
    if "agent" in document:
        agent = _read(check_name, "agent", document["agent"])
    keywords = _granted(config, agent, document)
    terms = _terms(document)
    if "secrets" in terms:
        _check_secrets(config, terms["secrets"])
    granted = {capability.name for capability in keywords["capabilities"]}
    for name in terms.get("delegate_only", ()):
        if name not in granted:  # an issuer would grant it beside the others
            raise invalid(f"delegate_only: capability {shown(name)} is not granted here.")
    keywords.update(cast("IssueKeywords", terms))
    keywords.setdefault("ttl", min(seconds("ttl", DEFAULT_TTL), _max_ttl(config)))
    if "expires_in_seconds" in document:
        keywords["ttl"] = _read_ttl(config, document["expires_in_seconds"])
    return keywords, holder


def _granted(config: Config, agent: str, document: JsonObject) -> IssueKeywords:
    if "scope" in document and "authorization_details" in document:
        raise invalid("Name either scope or authorization_details, not both.")
    if "scope" in document:
        return {"agent": agent, "capabilities": read_scope(config, document["scope"])}
    if "authorization_details" in document:
        return {"agent": agent, "capabilities": read_details(config, document["authorization_details"])}
    if agent not in config.agents:
        raise invalid("Name a scope or authorization_details, or an agent of the policy file.")
    return config.grant(agent)


def _terms(document: JsonObject) -> dict[str, Any]:
    readers: Mapping[str, Callable[[str, object], Any]] = {
        "secrets": _secrets,
        "limits": _limits,
        "session": check_name,
        "task": check_name,
        "audience": read_names,
        "max_depth": _depth,
        "delegate_only": read_names,
    }
    return {name: _read(read, name, document[name]) for name, read in readers.items() if name in document}


def _read(read: Callable[[str, object], T], name: str, value: object) -> T:
    try:
        return read(name, value)
    except (ConfigError, Misfit) as error:  # neither quotes more than a name
        text = str(error)
        said = text if text.startswith(name) else f"{name}: {text}"
        raise invalid(said if said.endswith((".", "?")) else f"{said}.") from None


def _secrets(what: str, value: object) -> list[str] | dict[str, list[str]]:
    found = read_granted_secrets(what, value)
    if isinstance(value, list):
        return list(found)
    return {name: tools or [] for name, tools in found.items()}


def _check_secrets(config: Config, names: Iterable[str]) -> None:
    for name in names:
        if name not in config.references:
            raise invalid(f"There is no secret {shown(name)} in the policy file.")


def _limits(what: str, value: object) -> dict[str, Limit]:
    limits: dict[str, Limit] = {}
    for name, spelled in filled_table(what, value).items():
        wire = cast("JsonObject", spelled) if isinstance(spelled, dict) else {}
        if isinstance(wire.get("rate"), dict):
            limits[name] = _parsed_limit(name, wire)  # as it stands in a token
        else:
            limits.update(read_limits(what, {name: cast("object", spelled)}))
    return limits


def _parsed_limit(name: str, wire: JsonObject) -> Limit:
    try:
        return Limit.parse(wire)
    except EncodingError as error:
        raise ConfigError(f"limits of {shown(name)}: it {error}") from None


def _depth(what: str, value: object) -> int:
    if type(value) is not int:
        raise ConfigError(f"{what} must be a whole number")
    return value


def _max_ttl(config: Config) -> int:
    most = config.tables.issuer.max_ttl
    return seconds("max_ttl", DEFAULT_MAX_TTL) if most is None else most


def _read_ttl(config: Config, value: JsonValue) -> int:
    most = _max_ttl(config)
    if type(value) is not int or not 0 < value <= most:
        raise invalid(f"expires_in_seconds must be a whole number from 1 to {most}.")
    return value


def read_public_key(text: object) -> PublicKey:
    """Return the Ed25519 public key that `text` spells: 32 bytes in hex, base64 or base64url.

    No text spells a key in two of these: one has 64 characters, the others 43, or 44 with the padding.

    Raises:
        ServiceError: 400, when it spells none, or one that is not sound (see `remit.keys`).
    """
    code = "invalid_public_key"
    if not isinstance(text, str):
        raise invalid("subject_pubkey must be text.", code=code)
    try:
        return public_key({"kty": "OKP", "crv": "Ed25519", "x": b64url_encode(_key_bytes(text))})
    except EncodingError as error:
        raise invalid(f"subject_pubkey {error}.", code=code) from None


def _key_bytes(text: str) -> bytes:
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    if _BASE64.fullmatch(text):
        return b64url_decode(text.removesuffix("=").translate(_TO_URL))
    raise EncodingError("is not 32 bytes in hex, base64 or base64url")


def read_scope(config: Config, value: object) -> list[Capability]:
    """Return what scopes bundle that are named in text, separated by blanks, or in a list.

    Raises:
        ServiceError: 400 `invalid_scope`, when there is none, one is unknown, or two of them grant a
            capability with different arguments.
    """
    names = value.split(" ") if isinstance(value, str) and len(value) <= _MAX_SCOPE else value
    if not isinstance(names, list):
        raise invalid(
            "scope must be names of scopes, separated by blanks, or a list of them.", code=BAD_SCOPE
        )
    granted: dict[str, Capability] = {}
    wanted = [name for name in cast("list[object]", names) if name != ""]
    if not wanted:
        raise invalid("scope names nothing.", code=BAD_SCOPE)
    for name in wanted:
        bundle = config.scopes.get(name) if isinstance(name, str) else None
        if bundle is None:
            close = nearest(name, config.scopes) if isinstance(name, str) else None
            hint = "." if close is None else f", did you mean {shown(close)}?"
            raise invalid(f"There is no scope {shown(name)}{hint}", code=BAD_SCOPE)
        for capability in bundle:
            if granted.setdefault(capability.name, capability) != capability:
                reason = f"Two scopes grant {shown(capability.name)} with different arguments."
                raise invalid(reason, code=BAD_SCOPE)
    return list(granted.values())


def read_details(config: Config, details: object) -> list[Capability]:
    """Return the capabilities that authorization details ask for (RFC 9396, AAT draft Section 6.1).

    Raises:
        ServiceError: 400 `invalid_authorization_details`, when they are not one entry of the type
            `attenuating_agent_token` with tools that make sense and that somebody may be granted.
    """
    entry: object = None
    if isinstance(details, list) and len(cast("list[object]", details)) == 1:
        entry = cast("list[object]", details)[0]
    if not isinstance(entry, dict) or cast("JsonObject", entry).get("type") != DETAILS_TYPE:
        reason = f"authorization_details must be a list of one object of the type {DETAILS_TYPE}."
        raise invalid(reason, code=BAD_DETAILS)
    members = cast("JsonObject", entry)
    tools = members.get("tools")
    if members.keys() != {"type", "tools"} or not isinstance(tools, dict) or not tools:
        raise invalid("authorization_details must have type and tools, and nothing else.", code=BAD_DETAILS)
    capabilities: list[Capability] = []
    for name, wire in tools.items():
        try:
            capabilities.append(_capability(name, wire))
        except ConfigError as error:
            raise invalid(f"authorization_details: {error}.", code=BAD_DETAILS) from None
        except EncodingError as error:
            raise invalid(f"authorization_details: {shown(name)} {error}.", code=BAD_DETAILS) from None
    check_declared(config, capabilities)
    return capabilities


def _capability(name: str, wire: JsonValue) -> Capability:
    if name.startswith(SECRET_PREFIX):
        raise ConfigError(f"{shown(name)} is a secret, which is asked for in secrets")
    Capability(name)  # refuses names that are blank, or that hold a wildcard
    return Capability.parse(name, wire)


def check_declared(config: Config, capabilities: Iterable[Capability]) -> None:
    """Refuse capabilities that the policy file does not declare, where it declares any.

    Raises:
        ServiceError: 400 `invalid_authorization_details`.
    """
    if not config.capabilities:
        return
    for capability in capabilities:
        if capability.name not in config.capabilities:
            close = nearest(capability.name, config.capabilities)
            hint = "." if close is None else f", did you mean {shown(close)}?"
            raise invalid(
                f"There is no capability {shown(capability.name)} in the policy file{hint}",
                code=BAD_DETAILS,
            )
