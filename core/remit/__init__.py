"""Remit: capability tokens for AI agents.

Each agent gets its own short-lived, signed token that says which tools it may call, with which
arguments, how often, until when and with which secrets; it is checked inside the tool call.
"""

from remit._version import __version__
from remit.anchor import TrustAnchor
from remit.audit import AuditRecord, AuditSink, MemoryAudit
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
from remit.ledger import Ledger, MemoryLedger, Revocation
from remit.parameters import secret
from remit.permit import Permit
from remit.proof import Presentation
from remit.secrets import Secret, Secrets

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
    "KeyFileError",
    "Ledger",
    "Limit",
    "LimitExceeded",
    "MaxLength",
    "MemoryAudit",
    "MemoryLedger",
    "NotOneOf",
    "OneOf",
    "Path",
    "Permit",
    "Prefix",
    "Presentation",
    "Range",
    "RemitError",
    "Revocation",
    "Secret",
    "SecretDenied",
    "Secrets",
    "Subset",
    "Token",
    "TokenRejected",
    "TrustAnchor",
    "Url",
    "__version__",
    "bind_tool",
    "capability_of",
    "requires_capability",
    "secret",
    "unbound",
]
