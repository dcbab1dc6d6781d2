"""The OpenAPI document, and what a tool finds that tries the service by it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from starlette.testclient import TestClient

from remit.service import create_app

from .support import ADMIN, Deployment

EXAMPLES = 5
"""Requests of each kind for each operation; those that the schema's corners ask for come on top."""


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    deployment = Deployment.make(tmp_path_factory.mktemp("openapi") / "deployment")
    with deployment.client() as client:
        yield client.get("/openapi.json").json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation, by method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    found = dict(operations(document))
    for name, operation in found.items():
        assert operation["summary"], name
        assert operation["tags"], name
    assert {
        "POST /v1/tokens",
        "GET /v1/tokens",
        "POST /v1/tokens/verify",
        "DELETE /v1/tokens/{token_id}",
        "GET /v1/nonce",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    } <= set(found)


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for media in operation.get("requestBody", {}).get("content", {}).values():
            assert media.get("examples") or media.get("example"), name


def test_every_json_answer_of_this_face_has_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        content = operation["responses"].get("200", {}).get("content", {})
        if "application/json" in content and " /v1/" in name:
            assert content["application/json"].get("example"), name


def test_every_operation_says_how_it_fails(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert {"400", "413", "503"} <= set(operation["responses"]), name
        assert "422" not in operation["responses"], name


def test_the_examples_of_the_document_work(deployment: Deployment, admin: dict[str, str]) -> None:
    with deployment.client() as client:
        document = client.get("/openapi.json").json()
        body = document["paths"]["/v1/tokens"]["post"]["requestBody"]["content"]["application/json"]
        for name, example in body["examples"].items():
            response = client.post("/v1/tokens", headers=admin, json=example["value"])
            assert response.status_code == 200, name


def test_there_are_no_pages_that_load_scripts_from_elsewhere(client: TestClient) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404


class FromAnywhere:
    """Has each request come from another address, as whoever fails too often is not looked at any more."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._numbers = itertools.count()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        number = next(self._numbers)
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        await self._app({**scope, "client": (address, 50_000)}, receive, send)


def tried(document: dict[str, Any], app: Any, config: SchemathesisConfig) -> Any:
    """The document as schemathesis reads it, which takes `application/jwt` for a kind of JSON."""
    for _, operation in operations(document):
        for response in operation["responses"].values():
            response.get("content", {}).get("application/jwt", {}).pop("schema", None)
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = app
    return schema


def test_schemathesis_finds_nothing(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends what the document allows and what it does not, and compares the answers with the document."""
    monkeypatch.chdir(tmp_path)
    deployment = Deployment.make(tmp_path / "deployment")
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "headers": {"Authorization": f"Bearer {ADMIN}"},
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
            # A schema cannot say which scopes there are, or which keys are of small order.
            "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "401", "403"]}},
        }
    )
    failures: dict[str, str] = {}
    statuses: dict[int, int] = {}
    with deployment.instance() as instance:
        app = FromAnywhere(create_app(instance))
        for event in from_schema(tried(deepcopy(document), app, config)).execute():
            assert not isinstance(event, events.NonFatalError | events.FatalError), event
            if not isinstance(event, events.ScenarioFinished):
                continue
            for interaction in event.recorder.interactions.values():
                if interaction.response is not None:
                    status = interaction.response.status_code
                    statuses[status] = statuses.get(status, 0) + 1
            for checks in event.recorder.checks.values():
                for check in checks:
                    if check.failure_info is not None:
                        found = check.failure_info.failure
                        title = f"{found.operation}: {found.title}"
                        failures[title] = f"{found.message}\n{check.failure_info.code_sample}"
    assert not failures, json.dumps(failures, indent=2)
    assert 500 not in statuses
    assert statuses[200] > 50  # it got somewhere
    assert statuses[400] > 100
