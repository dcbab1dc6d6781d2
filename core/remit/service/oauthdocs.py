"""What the OAuth endpoints say of themselves in the OpenAPI document, with examples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from remit.service.openapi import described

__all__ = ["INTROSPECT", "REVOKE", "TOKEN"]

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_WHOLE: Final[dict[str, Any]] = {"type": "integer"}
_TOKEN: Final[dict[str, Any]] = {
    "type": "string",
    "minLength": 1,
    "description": "A compact JWS, or the JSON text of a chain (a list) or of a presentation.",
}
_JWS: Final = "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoiYWF0K2p3dCJ9.eyJqdGkiOi4uLn0.c2lnbmF0dXJl"
_KEY: Final = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
_DETAILS: Final[list[dict[str, Any]]] = [{"type": "attenuating_agent_token", "tools": {"prices:read": {}}}]
_OAUTH_CLIENT: Final[list[dict[str, list[str]]]] = [{"oauthClient": []}]
_ANYBODY: Final[list[dict[str, list[str]]]] = [{"adminToken": []}, *_OAUTH_CLIENT]


def _form(
    required: list[str], properties: Mapping[str, Any], examples: Mapping[str, object]
) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": dict(properties)}
    shown = {name.replace(" ", "-"): {"summary": name, "value": value} for name, value in examples.items()}
    content = {"application/x-www-form-urlencoded": {"schema": schema, "examples": shown}}
    return {"requestBody": {"required": True, "content": content}}


_PARAMETERS: Final[dict[str, Any]] = {
    "grant_type": {
        "type": "string",
        "enum": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
    },
    "req_cnf": {
        "type": "string",
        "description": "The key of the holder: the JSON text of {'jwk': {...}} (AAT draft, Section 6.1.2).",
    },
    "authorization_details": {"type": "string", "description": "What is asked for, as JSON text (RFC 9396)."},
    "scope": {"type": "string", "description": "What is asked for, by the names of scopes and capabilities."},
    "client_id": {"type": "string", "description": "The agent's name."},
    "client_secret": _TEXT,
    "subject_token": {"type": "string", "description": "For an exchange: the JSON text of a presentation."},
    "subject_token_type": _TEXT,
    "requested_token_type": _TEXT,
    "agent": {
        "type": "string",
        "description": "For an exchange alone, as all that follows: the name of the new holder.",
    },
    "audience": {"type": "string", "description": "Where alone the token may be used."},
    "session": _TEXT,
    "task": _TEXT,
    "expires_in_seconds": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
    "max_depth": {"type": "string", "pattern": "^[0-8]$"},
}
_ISSUED: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["access_token", "token_type", "expires_in", "scope", "authorization_details"],
    "properties": {
        "access_token": _TEXT,
        "token_type": {"type": "string", "const": "aat"},
        "expires_in": _WHOLE,
        "scope": _TEXT,
        "authorization_details": {"type": "array", "items": {"type": "object"}},
        "issued_token_type": _TEXT,
    },
}
_INTROSPECTED: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["active"],
    "properties": {
        "active": {"type": "boolean"},
        "scope": {"type": "string", "description": "What the holder may use itself."},
        "authorization_details": {
            "type": "array",
            "items": {"type": "object"},
            "description": "The same with constraints, and the secrets that may be resolved with it.",
        },
        "delegate_only": {
            "type": "array",
            "items": _TEXT,
            "description": "What the holder may only pass on.",
        },
        "limits": {
            "type": "object",
            "description": "For each capability of the scope that is limited, the limits of every token of"
            " the chain that states some, root first. All of them hold, for all that descends from it.",
            "additionalProperties": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["jti"],
                    "properties": {
                        "jti": _TEXT,
                        "max_uses": _WHOLE,
                        "rate": {"type": "object"},
                        "budget": {"type": "object"},
                    },
                },
            },
        },
    },
}

TOKEN: Final[dict[str, Any]] = {
    "summary": "Issue a token to a client, or exchange a chain",
    "responses": described(
        _ISSUED,
        401,
        429,
        description="The token, which is for the key in req_cnf alone.",
        example={
            "access_token": _JWS,
            "token_type": "aat",
            "expires_in": 600,
            "scope": "prices:read",
            "authorization_details": _DETAILS,
        },
    ),
    "openapi_extra": {
        **_form(
            ["grant_type"],
            _PARAMETERS,
            {
                "by client credentials": {
                    "grant_type": "client_credentials",
                    "client_id": "pricing-agent",
                    "client_secret": "the secret of pricing-agent",
                    "authorization_details": json.dumps(_DETAILS),
                    "req_cnf": json.dumps({"jwk": _KEY}),
                }
            },
        ),
        "security": [*_OAUTH_CLIENT, {}],
    },
}
INTROSPECT: Final[dict[str, Any]] = {
    "summary": "Say what a token is good for",
    "responses": described(_INTROSPECTED, example={"active": False}),
    "openapi_extra": {
        **_form(["token"], {"token": _TOKEN, "token_type_hint": _TEXT}, {"a token": {"token": _JWS}}),
        "security": _ANYBODY,
    },
}
REVOKE: Final[dict[str, Any]] = {
    "summary": "Revoke a token",
    "responses": {200: {"description": "It is revoked, or is none that this client could have revoked."}},
    "openapi_extra": {
        **_form(["token"], {"token": _TOKEN, "token_type_hint": _TEXT}, {"a token": {"token": _JWS}}),
        "security": _ANYBODY,
    },
}
