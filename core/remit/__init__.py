"""Remit: capability tokens for AI agents.

Each agent gets its own short-lived, signed token that says which tools it may call, with which
arguments, how often, until when and with which secrets; it is checked inside the tool call.
"""

from typing import TYPE_CHECKING

from remit._version import __version__
from remit.anchor import TrustAnchor
from remit.audit import AuditRecord, AuditSink, MemoryAudit
from remit.binder import ToolBinder
from remit.binding import unbound
from remit.capability import Capability, Limit
from remit.constraints import (
    AllOf,
    AnyOf,
    Anything,
    Cidr,
    Constraint,
    Contains,
    Each,
    Email,
    Exact,
    Fields,
    MaxLength,
    NotOneOf,
    OneOf,
    Path,
    Prefix,
    Range,
    Subset,
    Url,
)
from remit.credential import Credential
from remit.decision import Decision, Token
from remit.decorator import bind_tool, capability_of, requires_capability
from remit.errors import (
    AttenuationError,
    CapabilityDenied,
    ConfigError,
    DenialCode,
    Denied,
    KeyFileError,
    LimitExceeded,
    RemitError,
    SecretDenied,
    TokenRejected,
)
from remit.guard import Guard
from remit.issue import Issuer
from remit.ledger import Ledger, LiveToken, MemoryLedger, Revocation, open_ledger
from remit.parameters import secret
from remit.permit import Permit
from remit.proof import Presentation
from remit.secrets import Secret, Secrets

if TYPE_CHECKING:
    from remit.audit import JsonlAudit, LoggingAudit, OpenTelemetryAudit, SqliteAudit, TeeAudit
    from remit.config import wallet_from_config
    from remit.ledger.postgres import PostgresLedger
    from remit.ledger.redis import RedisLedger
    from remit.ledger.sqlite import SqliteLedger
    from remit.remote.anchors import RemoteAnchors
    from remit.remote.feed import RevocationFeed
    from remit.remote.issuer import RemoteIssuer

__all__ = [
    "AllOf",
    "AnyOf",
    "Anything",
    "AttenuationError",
    "AuditRecord",
    "AuditSink",
    "Capability",
    "CapabilityDenied",
    "Cidr",
    "ConfigError",
    "Constraint",
    "Contains",
    "Credential",
    "Decision",
    "DenialCode",
    "Denied",
    "Each",
    "Email",
    "Exact",
    "Fields",
    "Guard",
    "Issuer",
    "JsonlAudit",
    "KeyFileError",
    "Ledger",
    "Limit",
    "LimitExceeded",
    "LiveToken",
    "LoggingAudit",
    "MaxLength",
    "MemoryAudit",
    "MemoryLedger",
    "NotOneOf",
    "OneOf",
    "OpenTelemetryAudit",
    "Path",
    "Permit",
    "PostgresLedger",
    "Prefix",
    "Presentation",
    "Range",
    "RedisLedger",
    "RemitError",
    "RemoteAnchors",
    "RemoteIssuer",
    "Revocation",
    "RevocationFeed",
    "Secret",
    "SecretDenied",
    "Secrets",
    "SqliteAudit",
    "SqliteLedger",
    "Subset",
    "TeeAudit",
    "Token",
    "TokenRejected",
    "ToolBinder",
    "TrustAnchor",
    "Url",
    "__version__",
    "bind_tool",
    "capability_of",
    "open_ledger",
    "requires_capability",
    "secret",
    "unbound",
    "wallet_from_config",
]

_LAZY = {
    "JsonlAudit": "remit.audit",
    "LoggingAudit": "remit.audit",
    "OpenTelemetryAudit": "remit.audit",
    "PostgresLedger": "remit.ledger.postgres",
    "RedisLedger": "remit.ledger.redis",
    "RemoteAnchors": "remit.remote.anchors",
    "RemoteIssuer": "remit.remote.issuer",
    "RevocationFeed": "remit.remote.feed",
    "SqliteAudit": "remit.audit",
    "SqliteLedger": "remit.ledger.sqlite",
    "TeeAudit": "remit.audit",
    "wallet_from_config": "remit.config",
}
"""What needs a database, a client or an extra is imported when it is asked for, not with Remit."""


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'remit' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
