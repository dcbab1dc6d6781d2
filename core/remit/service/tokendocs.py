"""What the routes for tokens say of themselves in the OpenAPI document, with examples."""

from __future__ import annotations

from typing import Any, Final

from remit.service.openapi import ADMIN, described, json_body

__all__ = ["ISSUE", "LIST", "NONCE", "REVOKE", "VERIFY"]

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_NAME: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 256}
_NAMES: Final[dict[str, Any]] = {"type": "array", "items": _NAME, "minItems": 1, "uniqueItems": True}
_SECONDS: Final[dict[str, Any]] = {"type": "integer", "description": "Seconds since the epoch."}
_TOKEN: Final[dict[str, Any]] = {"type": "string", "description": "A token: a compact JWS."}
_CHAIN: Final[dict[str, Any]] = {"type": "array", "items": _TOKEN, "description": "Tokens, root first."}
_KEY: Final = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
_ID: Final = "0197f3a2-5c1e-7b44-9d7e-2f1c6a0b8e55"
_JWS: Final = "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoiYWF0K2p3dCJ9.eyJqdGkiOi4uLn0.c2lnbmF0dXJl"


def _object(required: list[str], properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, **more}


_LIMIT: Final = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        "max_uses": {"type": "integer", "minimum": 1},
        "rate": {
            "anyOf": [
                {"type": "string", "description": "Such as 10/m."},
                _object(
                    ["uses", "seconds"],
                    {"uses": {"type": "integer"}, "seconds": {"type": "integer"}},
                    additionalProperties=False,
                ),
            ]
        },
        "budget": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}},
    },
}
_DETAILS: Final = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1,
    "description": "RFC 9396: capabilities as they stand in a token (AAT draft, Section 3.3).",
    "items": _object(
        ["type", "tools"],
        {
            "type": {"type": "string", "const": "attenuating_agent_token"},
            "tools": {
                "type": "object",
                "minProperties": 1,
                "description": "Capability to its constraints: argument to constraint; {} allows any.",
                "additionalProperties": {"type": "object"},
            },
        },
        additionalProperties=False,
    ),
}
_ISSUE_REQUEST: Final = _object(
    ["subject_pubkey"],
    {
        "subject_pubkey": {
            "type": "string",
            "description": "The agent's Ed25519 public key: 32 bytes in base64url, base64 or hex.",
        },
        "scope": {
            "description": "Scopes of the policy file, separated by blanks, or in a list.",
            "anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}],
        },
        "authorization_details": _DETAILS,
        "expires_in_seconds": {"type": "integer", "minimum": 1},
        "agent": {**_NAME, "description": "Its name; the thumbprint of its key by default."},
        "secrets": {"anyOf": [_NAMES, {"type": "object", "additionalProperties": _NAMES}]},
        "limits": {"type": "object", "minProperties": 1, "additionalProperties": _LIMIT},
        "session": _NAME,
        "task": _NAME,
        "audience": {"anyOf": [_NAME, _NAMES]},
        "max_depth": {"type": "integer", "minimum": 0, "maximum": 8},
        "delegate_only": {"anyOf": [_NAME, _NAMES]},
    },
    additionalProperties=False,
)
_ISSUED: Final = _object(
    ["token", "token_id", "expires_at", "scope", "subject_pubkey", "agent"],
    {
        "token": _TOKEN,
        "token_id": _TEXT,
        "expires_at": _SECONDS,
        "scope": {"type": "string", "description": "Scopes it covers, then its capabilities by name."},
        "subject_pubkey": _TEXT,
        "agent": _TEXT,
    },
)
_VERIFY_REQUEST: Final = _object(
    [],
    {
        "token": {"anyOf": [_TOKEN, _CHAIN]},
        "aat_chain": _CHAIN,
        "aat_pop": {"type": "string", "description": "The proof of possession; needed with tool."},
        "tool": {"type": "string", "description": "Which tool is called; the call is charged."},
        "arguments": {"type": "object", "description": "The arguments that will be executed."},
        "agent": {"type": "string", "description": "Who calls; another's token is denied."},
        "session": _TEXT,
        "task": _TEXT,
    },
    additionalProperties=False,
    oneOf=[{"required": ["token"]}, {"required": ["aat_chain"]}],
    dependentRequired={"aat_pop": ["tool"], "arguments": ["tool"]},
)
_VERIFIED: Final = _object(
    ["scope", "expires_at", "subject_pubkey", "agent", "token_id", "chain", "issuer", "capabilities"],
    {
        "scope": _TEXT,
        "expires_at": _SECONDS,
        "subject_pubkey": {"type": "string", "description": "The holder's key, in base64url."},
        "agent": _TEXT,
        "token_id": _TEXT,
        "chain": {"type": "array", "items": _TEXT, "description": "The identifier of every token."},
        "issuer": _TEXT,
        "capabilities": {"type": "array", "items": _TEXT},
        "tool": _TEXT,
    },
)
_LIVE: Final = _object(
    ["token_id", "agent", "issuer", "holder", "issued_at", "expires_at", "capabilities", "revoked"],
    {
        "token_id": _TEXT,
        "agent": _TEXT,
        "issuer": _TEXT,
        "holder": {"type": "string", "description": "The thumbprint (RFC 7638) of the holder's key."},
        "issued_at": _SECONDS,
        "expires_at": _SECONDS,
        "capabilities": {"type": "array", "items": _TEXT},
        "session": _TEXT,
        "task": _TEXT,
        "revoked": {"type": "boolean"},
    },
)
_PAGE: Final = _object(
    ["tokens", "next"],
    {
        "tokens": {"type": "array", "items": _LIVE},
        "next": {"type": ["string", "null"], "description": "The cursor of the next page."},
    },
)
_REVOKED: Final = _object(
    ["token_id", "revoked", "already"],
    {
        "token_id": _TEXT,
        "revoked": {"type": "boolean", "const": True},
        "already": {"type": "boolean", "description": "Whether it was revoked before."},
    },
)
_NONCE: Final = _object(["nonce", "expires_at"], {"nonce": _TEXT, "expires_at": _SECONDS})

_ISSUED_EXAMPLE: Final = {
    "token": _JWS,
    "token_id": _ID,
    "expires_at": 1_800_000_600,
    "scope": "READ prices:read orders:read",
    "subject_pubkey": _KEY,
    "agent": "pricing-agent",
}


def _query(name: str, about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": about, "schema": schema}


ISSUE: Final[dict[str, Any]] = {
    "summary": "Issue a token",
    "responses": described(_ISSUED, example=_ISSUED_EXAMPLE, description="The token, which is kept nowhere."),
    "openapi_extra": {
        "security": ADMIN,
        **json_body(
            _ISSUE_REQUEST,
            {
                "scopes of the policy file": {
                    "subject_pubkey": _KEY,
                    "agent": "pricing-agent",
                    "scope": "READ",
                    "expires_in_seconds": 600,
                },
                "capabilities": {
                    "subject_pubkey": _KEY,
                    "authorization_details": [
                        {
                            "type": "attenuating_agent_token",
                            "tools": {
                                "trades:propose": {"amount": {"constraint_type": "range", "max": 1000}}
                            },
                        }
                    ],
                    "limits": {"trades:propose": {"max_uses": 3, "budget": {"amount": 2500}}},
                },
                "what the policy file grants": {"subject_pubkey": _KEY, "agent": "pricing-agent"},
            },
        ),
    },
}
VERIFY: Final[dict[str, Any]] = {
    "summary": "Verify a token, or a call with its proof",
    "responses": described(
        _VERIFIED,
        401,
        403,
        429,
        example={
            **{name: value for name, value in _ISSUED_EXAMPLE.items() if name != "token"},
            "chain": [_ID],
            "issuer": "https://auth.acme.example",
            "capabilities": ["prices:read", "orders:read"],
        },
        description="It is good, or the call is allowed.",
    ),
    "openapi_extra": json_body(
        _VERIFY_REQUEST,
        {
            "a token": {"token": _JWS},
            "a call": {
                "aat_chain": [_JWS],
                "aat_pop": _JWS,
                "tool": "prices:read",
                "arguments": {"symbol": "ACME"},
            },
        },
    ),
}
REVOKE: Final[dict[str, Any]] = {
    "summary": "Revoke a token, and what was derived from it",
    "responses": described(_REVOKED, example={"token_id": _ID, "revoked": True, "already": False}),
    "openapi_extra": {
        "security": ADMIN,
        "parameters": [_query("reason", "Why; kept with it.", {"type": "string", "maxLength": 1000})],
    },
}
LIST: Final[dict[str, Any]] = {
    "summary": "List the tokens that have not expired",
    "responses": described(
        _PAGE,
        example={
            "tokens": [
                {
                    "token_id": _ID,
                    "agent": "pricing-agent",
                    "issuer": "https://auth.acme.example",
                    "holder": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                    "issued_at": 1_800_000_000,
                    "expires_at": 1_800_000_600,
                    "capabilities": ["prices:read", "orders:read"],
                    "revoked": False,
                }
            ],
            "next": None,
        },
    ),
    "openapi_extra": {
        "security": ADMIN,
        "parameters": [
            _query("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": 1000}),
            _query("cursor", "What came as next with the page before.", {"type": "string", "minLength": 4}),
            _query("agent", "Only tokens of this agent.", _TEXT),
        ],
    },
}
NONCE: Final[dict[str, Any]] = {
    "summary": "Get a nonce for a proof",
    "responses": described(
        _NONCE,
        example={"nonce": "1800000300.p2xJ0c9-1QmZ3vNf.b64url-of-32-bytes", "expires_at": 1_800_000_300},
    ),
}
