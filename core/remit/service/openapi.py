"""The OpenAPI document: what each route says of itself, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

__all__ = ["ADMIN", "described", "document", "json_body"]

ADMIN: Final[list[dict[str, list[str]]]] = [{"adminToken": []}]
"""The `security` of a route for the administrator."""

_ERROR: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "What went wrong. On the OAuth face it has `error` and `error_description` as well.",
    "required": ["code", "reason"],
    "properties": {
        "code": {"type": "string", "description": "For a program; stable."},
        "reason": {"type": "string", "description": "One sentence."},
    },
    "example": {"code": "invalid_request", "reason": "The body is not JSON."},
}
_SECURITY_SCHEMES: Final[Mapping[str, Any]] = {
    "adminToken": {"type": "http", "scheme": "bearer", "description": "The admin token of the service."},
}
_REFERENCE: Final[Mapping[str, Any]] = {"$ref": "#/components/schemas/Error"}
_EVERYWHERE: Final = (400, 408, 413, 431, 503)
"""Errors that any route may answer with."""


def error_response(status: int) -> dict[str, Any]:
    """Return how an error is described."""
    phrase = HTTPStatus(status).phrase
    return {"description": phrase, "content": {"application/json": {"schema": dict(_REFERENCE)}}}


def described(
    answer: Mapping[str, Any],
    *errors: int,
    example: object = None,
    status: int = 200,
    description: str = "Done.",
) -> dict[int | str, dict[str, Any]]:
    """Return what a route says of its answers, for `responses=`.

    Args:
        answer: the JSON schema of its answer.
        *errors: the statuses of errors that not every route has.
        example: an answer.
        status: the status of the answer.
        description: what the answer means.
    """
    media: dict[str, Any] = {"schema": dict(answer)}
    if example is not None:
        media["example"] = example
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": description, "content": {"application/json": media}}
    }
    return {**found, **{error: error_response(error) for error in errors}}


def json_body(schema: Mapping[str, Any], examples: Mapping[str, object]) -> dict[str, Any]:
    """Return what a route says of the JSON it takes, for `openapi_extra=`.

    Args:
        schema: its JSON schema.
        examples: bodies by what they show.
    """
    shown = {name.replace(" ", "-"): {"summary": name, "value": value} for name, value in examples.items()}
    content = {"application/json": {"schema": dict(schema), "examples": shown}}
    return {"requestBody": {"required": True, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application, with what holds for every route."""
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=None
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = dict(_ERROR)
    components.setdefault("securitySchemes", {}).update(_SECURITY_SCHEMES)
    for path in made.get("paths", {}).values():
        for method, operation in path.items():
            _complete(method, operation)
    return made


def _complete(method: str, operation: dict[str, Any]) -> None:
    responses: dict[str, Any] = operation.setdefault("responses", {})
    responses.pop("422", None)  # what FastAPI would answer with, and this service never does
    for response in responses.values():
        content: dict[str, Any] = response.get("content", {})
        if content.get("application/json") == {"schema": {}}:  # FastAPI adds it
            del content["application/json"]
            if not content:
                del response["content"]
    errors: list[int] = [*_EVERYWHERE]
    if "requestBody" in operation:
        errors.append(415)
    if method != "get":
        errors.append(403)  # what another site's page has a browser ask
    if "security" in operation:
        errors += [401, 429]
    for status in errors:
        responses.setdefault(str(status), error_response(status))
